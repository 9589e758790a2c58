"""Both spellings: what transformers 4 reads is added to what 5 wrote, and what 5 reads stays the same."""

import pytest
from transformers import AutoConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from xtune.export.config_file import write_config
from xtune.export.spelling import MODELS, both_spellings, tokenizer_spelling

LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LAYERS = {
    "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
    "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
}
CASES = {
    "plain": (
        {"model_type": "llama", "rope_parameters": {"rope_type": "default", "rope_theta": 5e5}},
        {"rope_theta": 5e5, "rope_scaling": None},
    ),
    "scaled": (
        {"model_type": "llama", "rope_parameters": {"rope_theta": 5e5, **LLAMA3}, "dtype": "bfloat16"},
        {"rope_theta": 5e5, "rope_scaling": LLAMA3, "torch_dtype": "bfloat16"},
    ),
    "part of a head": (
        {"model_type": "glm", "rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}},
        {"rope_theta": 1e4, "partial_rotary_factor": 0.5, "rope_scaling": None},
    ),
    "two kinds of layers": (
        {"model_type": "gemma3_text", "rope_parameters": LAYERS},
        {"rope_theta": 1e6, "rope_local_base_freq": 1e4, "rope_scaling": {"rope_type": "linear", "factor": 8.0}},
    ),
    "names of its own": (
        {"model_type": "gpt_neox", "rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.25}},
        {"rotary_emb_base": 1e4, "rotary_pct": 0.25},
    ),
    "fields of its own": (
        {"model_type": "olmo2", "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
        {"rope_scaling": {"type": "linear", "factor": 2.0}},
    ),
    "experts": ({"model_type": "qwen3_moe", "num_local_experts": 4}, {"num_experts": 4}),
}


@pytest.mark.parametrize(("newer", "older"), CASES.values(), ids=CASES)
def test_the_older_spelling_is_added(newer, older):
    found = both_spellings(newer)
    assert found.items() >= newer.items() and found.items() >= older.items()
    (part,) = (both_spellings({"text_config": newer})[key] for key in ("text_config",))
    assert part == found


def test_what_is_spelled_the_older_way_alone_stays_as_it_is():
    older = {"model_type": "llama", "rope_theta": 1e4, "rope_scaling": LLAMA3, "torch_dtype": "float16"}
    assert both_spellings(older) == older


@pytest.mark.parametrize(
    "kind", sorted({*MODELS, "llama", "qwen2", "qwen3", "mistral", "phi3", "glm4", "olmo2", "cohere2"})
)
def test_transformers_5_reads_the_same_with_both(kind, tmp_path):
    assert kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    CONFIG_MAPPING[kind]().save_pretrained(tmp_path)
    before = AutoConfig.from_pretrained(tmp_path).to_dict()
    assert "rope_parameters" in before
    write_config(tmp_path, AutoConfig.from_pretrained(tmp_path).to_diff_dict())
    assert AutoConfig.from_pretrained(tmp_path).to_dict().items() >= before.items()


@pytest.mark.parametrize(
    ("settings", "read_by_both"),
    [
        (
            {"tokenizer_class": "TokenizersBackend", "extra_special_tokens": ["<x>"]},
            {"tokenizer_class": "PreTrainedTokenizerFast", "additional_special_tokens": ["<x>"]},
        ),
        (
            {"tokenizer_class": "Qwen2Tokenizer", "extra_special_tokens": {"image_token": "<x>"}},
            {"tokenizer_class": "Qwen2Tokenizer", "extra_special_tokens": {"image_token": "<x>"}},
        ),
        (
            {"additional_special_tokens": ["<y>"], "errors": "replace"},
            {"additional_special_tokens": ["<y>"], "errors": "replace"},
        ),
    ],
)
def test_a_tokenizers_settings_are_those_that_both_read(settings, read_by_both):
    assert tokenizer_spelling(settings) == read_by_both
