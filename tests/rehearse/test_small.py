"""What a rehearsal works on: small models, tokenizers and rows, and the choice of configs."""

from __future__ import annotations

import pytest
from covering import cover

from xtune.conversation import Turn
from xtune.errors import ConfigError
from xtune.mappers.chat import conversation
from xtune.mappers.single_turn import medical
from xtune.registries import components
from xtune.rehearse.small_data import ROWS, at_hand, example_rows, write_rows
from xtune.rehearse.small_model import small_model, small_sizes
from xtune.rehearse.small_tokenizer import make_tokenizer, tokenizer_at_hand
from xtune.sources.source import READERS, open_source

MODELS = components([]).models
TEMPLATES = components([]).templates


def shape(sizes):
    """What of an architecture its sizes decide."""
    heads, kv_heads = sizes["num_attention_heads"], sizes["num_key_value_heads"]
    wider = heads * sizes.get("head_dim", sizes["hidden_size"] // heads) > sizes["hidden_size"]
    kept = ("model_type", "tie_word_embeddings", "attention_bias", "alibi", "norm_head", "first_k_dense_replace")
    return heads == kv_heads, kv_heads == 1, wider, sizes.get("q_lora_rank") is None, [sizes.get(key) for key in kept]


@pytest.mark.parametrize("name", MODELS)
def test_small_sizes_keep_what_distinguishes_an_architecture(name):
    small = small_sizes(MODELS[name].config)
    assert shape(small) == shape(MODELS[name].config)
    assert small["hidden_size"] % 64 == small["intermediate_size"] % 64 == 0 and small["num_hidden_layers"] == 2


def test_a_small_model_is_the_same_every_time_and_leaves_the_generator_alone():
    import torch

    tokenizer = make_tokenizer(TEMPLATES["chatml"], ["some words"])
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    models = [small_model(MODELS["qwen3_8b"].config, tokenizer) for _ in range(2)]
    assert torch.equal(torch.rand(4), expected)
    first, second = (model.state_dict() for model in models)
    assert first and all(torch.equal(first[name], second[name]) for name in first)
    assert type(models[0]).__name__ == "Qwen3ForCausalLM" and models[0].vocab_size % 64 == 0 <= len(tokenizer)


def test_a_model_without_a_class_is_told():
    tokenizer = make_tokenizer(TEMPLATES["chatml"], ["some words"])
    with pytest.raises(ConfigError) as error:
        small_model({**MODELS["llama2_7b"].config, "model_type": "llamma"}, tokenizer)
    assert str(error.value) == (
        "this model cannot be loaded without code from its own folder, which xtune never runs: got model type llamma, "
        "of which neither transformers nor xtune has a class; choose another model"
    )


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_made_tokenizer_has_every_control_token_and_loses_no_text(name):
    template = TEMPLATES[name]
    tokenizer = make_tokenizer(template, ["héllo 你好 world"])
    for token in (*template.control, *template.markup, *template.stop):
        assert tokenizer.encode(token, add_special_tokens=False) == [tokenizer.convert_tokens_to_ids(token)]
    assert tokenizer.decode(tokenizer.encode("Grüße, 世界 🙂", add_special_tokens=False)) == "Grüße, 世界 🙂"
    assert len({tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id}) == 4


def test_example_rows_stand_under_the_configs_columns():
    rows = example_rows("medical", medical, {"question": "Frage"})
    assert len(rows) == ROWS and all({"Frage", "Answer"} <= row.keys() for row in rows)
    assert len({medical(row, question="Frage") for row in rows}) == ROWS


def test_roles_and_flags_are_not_lengthened():
    row = example_rows("conversation", conversation, {})[2]
    assert conversation(row).turns[-2:] == (Turn("user", "Of Chile? 1 2 3"), Turn("assistant", "Santiago.", False))


@pytest.mark.parametrize(
    ("like", "sheet", "name"),
    [("a/b.xlsx", "Data", "rows.xlsx"), ("b.json", None, "rows.json"), ("owner/set", None, "rows.jsonl")],
)
def test_rows_are_written_in_the_format_of_the_data(tmp_path, like, sheet, name):
    rows = [{"q": "1 é", "a": "2"}, {"q": "3", "a": "4"}]
    file = write_rows(rows, tmp_path / "rows", like, sheet)
    assert file.name == name
    assert [row.values for row in open_source(file, sheet=sheet)] == rows


def test_what_is_at_hand(tmp_path, tiny_model):
    assert at_hand("package:xtune/catalogue/rows/everyday.jsonl", "train", READERS)
    assert not at_hand("tatsu-lab/alpaca", "train", READERS)
    assert not at_hand(str(tmp_path / "none.jsonl"), "train", READERS)
    assert tokenizer_at_hand(str(tiny_model)) == str(tiny_model)
    assert tokenizer_at_hand("nobody/has-this") is None and tokenizer_at_hand("/no/such/folder") is None


def test_a_cover_has_every_member_and_nothing_in_vain():
    sets = {"a": {1, 2}, "b": {2, 3, 4}, "c": {4}, "d": {5, 1}, "e": {5}}
    chosen = cover(sets)
    assert set().union(*(sets[name] for name in chosen)) == {1, 2, 3, 4, 5}
    assert chosen == ["b", "d"]
