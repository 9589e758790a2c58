"""A merged model's folder is the base's, file by file and key by key, but for what the merge is about."""

import json
import re

import pytest
import torch
from bases import (
    BESIDE,
    CHATML,
    NOT_OF_THE_MODEL,
    SCALING,
    add_tensors,
    change,
    logits,
    publish,
    random_adapter,
    stored,
    write,
)
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

import xtune
from xtune.errors import ModelError
from xtune.export.merge import merge
from xtune.registries import components
from xtune.templates.jinja import to_jinja

WEIGHTS = re.compile(r"(pytorch_)?model[-.]")
SMALL = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


@pytest.fixture
def make(tiny_model, tmp_path):
    """A published base model of transformers' Llama: make(config=..., **options of save_pretrained)."""

    def made(spelled_for=4, template=CHATML, config=None, dtype=torch.float32, **saving):
        size = len(AutoTokenizer.from_pretrained(tiny_model))
        torch.manual_seed(0)
        rope = {"rope_parameters": {"rope_theta": 500000.0, **SCALING}}
        model = LlamaForCausalLM(LlamaConfig(vocab_size=size, **SMALL, **rope, **(config or {})))
        model.to(dtype).save_pretrained(tmp_path / "base", **saving)
        publish(tmp_path / "base", tiny_model, spelled_for=spelled_for, template=template)
        return tmp_path / "base"

    return made


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def same_files(base, out, *but):
    """That `out` has the files of `base`, byte by byte, but for weights and those named."""
    kept = {name for name in files(base) if name not in NOT_OF_THE_MODEL and not WEIGHTS.match(name)}
    assert files(out) - {"xtune_template.json"} >= kept
    assert not files(out) & set(NOT_OF_THE_MODEL)
    changed = {name for name in kept if (base / name).read_bytes() != (out / name).read_bytes()}
    assert changed == set(but)


def test_what_the_merge_is_not_about_stays_as_it_is(make, tmp_path):
    base = make(max_shard_size="60KB")
    index = json.loads((base / "model.safetensors.index.json").read_text())
    last = max(index["weight_map"].values())
    add_tensors(base / last, **{"mtp.layers.0.weight": torch.ones(3)})
    index["weight_map"]["mtp.layers.0.weight"] = last
    (base / "model.safetensors.index.json").write_text(json.dumps(index))
    wanted = random_adapter(base, tmp_path / "adapter", "yi_chat")
    merge(str(base), tmp_path / "adapter", tmp_path / "out")
    same_files(base, tmp_path / "out")
    assert files(tmp_path / "out") == {*BESIDE, *filter(WEIGHTS.match, files(base))} - {"model.gguf"} | {
        *("config.json", "tokenizer.json", "tokenizer_config.json", "xtune_template.json")
    }
    before, after = stored(base), stored(tmp_path / "out")
    assert len(before) > 2
    assert {file: set(tensors) for file, tensors in before.items()} == {f: set(t) for f, t in after.items()}
    for file, tensors in before.items():
        for name, tensor in tensors.items():
            assert torch.equal(tensor, after[file][name]) == ("q_proj" not in name)
    assert (logits(AutoModelForCausalLM.from_pretrained(tmp_path / "out")) - wanted).abs().max() < 1e-6
    written = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert written["weight_map"] == index["weight_map"]
    assert written["metadata"].keys() == index["metadata"].keys()


def test_every_tensor_keeps_its_own_dtype(make, tmp_path):
    base = make(dtype=torch.bfloat16)
    name = "model.layers.0.input_layernorm.weight"
    add_tensors(base / "model.safetensors", **{name: torch.full((64,), 1 + 2**-20)})
    change(base / "config.json", torch_dtype="float16")  # which is not so, and nobody's business here
    random_adapter(base, tmp_path / "adapter", None)
    merge(str(base), tmp_path / "adapter", tmp_path / "out")
    same_files(base, tmp_path / "out")
    before, after = stored(base)["model.safetensors"], stored(tmp_path / "out")["model.safetensors"]
    assert {key: value.dtype for key, value in after.items()} == {key: value.dtype for key, value in before.items()}
    merge(str(base), tmp_path / "adapter", tmp_path / "wide", dtype="float32")
    assert {value.dtype for value in stored(tmp_path / "wide")["model.safetensors"].values()} == {torch.float32}
    same_files(base, tmp_path / "wide", "config.json")
    config = json.loads((base / "config.json").read_text())
    assert json.loads((tmp_path / "wide" / "config.json").read_text()) == config | {"torch_dtype": "float32"}


@pytest.mark.parametrize("sharded", [True, False])
def test_pickled_weights_become_safetensors_of_like_names(make, sharded, tmp_path):
    base = make(max_shard_size="60KB" if sharded else "1GB")
    weight_map = {}
    for file, tensors in stored(base).items():
        name = file.replace("model", "pytorch_model").replace(".safetensors", ".bin")
        torch.save(tensors, base / name)
        weight_map |= dict.fromkeys(tensors, name)
        (base / file).unlink()
    if sharded:
        (base / "model.safetensors.index.json").unlink()
        index = {"metadata": {}, "weight_map": weight_map}
        (base / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    wanted = random_adapter(base, tmp_path / "adapter", None)
    merge(str(base), tmp_path / "adapter", tmp_path / "out")
    same_files(base, tmp_path / "out")
    found = {name: file for file, tensors in stored(tmp_path / "out").items() for name in tensors}
    renamed = {name: file.replace("pytorch_", "").replace(".bin", ".safetensors") for name, file in weight_map.items()}
    assert found == renamed and (len(set(found.values())) > 1) == sharded
    assert (logits(AutoModelForCausalLM.from_pretrained(tmp_path / "out")) - wanted).abs().max() < 1e-6


@pytest.mark.parametrize("stores_head", [True, False])
@pytest.mark.parametrize("target", ["q_proj", "lm_head", "embed_tokens"])
def test_tied_weights_are_written_as_the_base_has_them_or_once_each(make, target, stores_head, tmp_path):
    base = make(config={"tie_word_embeddings": True})
    if stores_head:
        add_tensors(
            base / "model.safetensors",
            **{"lm_head.weight": stored(base)["model.safetensors"]["model.embed_tokens.weight"].clone()},
        )
    wanted = random_adapter(base, tmp_path / "adapter", None, target_modules=["q_proj", target])
    merge(str(base), tmp_path / "adapter", tmp_path / "out")
    untied = target != "q_proj"
    same_files(base, tmp_path / "out", *(["config.json"] if untied else []))
    tensors = stored(tmp_path / "out")["model.safetensors"]
    assert ("lm_head.weight" in tensors) == (stores_head or untied)
    if untied:
        config = json.loads((base / "config.json").read_text())
        assert json.loads((tmp_path / "out" / "config.json").read_text()) == config | {"tie_word_embeddings": False}
    elif stores_head:
        assert torch.equal(tensors["lm_head.weight"], tensors["model.embed_tokens.weight"])
    assert (logits(AutoModelForCausalLM.from_pretrained(tmp_path / "out")) - wanted).abs().max() < 1e-5


def test_names_without_the_part_in_front_stay_so(tiny_model, tmp_path):
    base = tmp_path / "base"
    size = len(AutoTokenizer.from_pretrained(tiny_model))
    config = GPT2Config(vocab_size=size, n_embd=16, n_layer=1, n_head=2, n_positions=64, bos_token_id=1, eos_token_id=2)
    GPT2LMHeadModel(config).save_pretrained(base)
    publish(base, tiny_model, spelled_for=5)
    tensors = stored(base)["model.safetensors"]
    (base / "model.safetensors").unlink()
    from safetensors.torch import save_file

    short = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    save_file(short | {"h.0.attn.bias": torch.ones(1, 1)}, base / "model.safetensors", metadata={"format": "pt"})
    wanted = random_adapter(base, tmp_path / "adapter", None, target_modules=["c_attn"], fan_in_fan_out=True)
    merge(str(base), tmp_path / "adapter", tmp_path / "out")
    assert stored(tmp_path / "out")["model.safetensors"].keys() == {*short, "h.0.attn.bias"}
    assert (logits(AutoModelForCausalLM.from_pretrained(tmp_path / "out")) - wanted).abs().max() < 1e-5


def test_of_names_that_do_not_fit_nothing_stale_is_kept(make, tmp_path, monkeypatch, caplog):
    base = make()
    random_adapter(base, tmp_path / "adapter", None)
    from xtune.export import layout

    real = layout.stored_tensors
    renamed = {".mlp.": ".other."}
    monkeypatch.setattr(
        layout, "stored_tensors", lambda m: {k.replace(*next(iter(renamed.items()))): v for k, v in real(m).items()}
    )
    merge(str(base), tmp_path / "adapter", tmp_path / "out")
    assert not [name for name in stored(tmp_path / "out")["model.safetensors"] if ".mlp." in name]
    assert "6 tensors of the base are left out: the model has none like model.layers.0.mlp." in caplog.text


TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]


@pytest.mark.parametrize("place", ["settings", "file", "both"])
@pytest.mark.parametrize(("template", "kept"), [("yi_chat", True), ("chatml", False), (None, True)])
def test_the_bases_own_chat_template_stays_where_it_gives_the_trained_ids(
    make, template, kept, place, tmp_path, caplog
):
    base = make(template=None if place == "file" else CHATML)
    if place != "settings":
        write(base, "chat_template.jinja", CHATML)
        write(base, "additional_chat_templates/rag.jinja", "{{ messages }}")
    random_adapter(base, tmp_path / "adapter", template)
    merge(str(base), tmp_path / "adapter", tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    text = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tools=TOOLS, tokenize=False)
    assert ("weather" in text) == kept
    said = "the tokenizer's own chat template gives other ids than the trained one, which is written in its place"
    assert caplog.text.count(said) == (0 if kept else 1)
    if kept:
        same_files(base, tmp_path / "out")
    else:
        ours = to_jinja(components([]).templates[template])
        settings = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
        assert settings.get("chat_template") == (None if place == "file" else ours)
        assert (tmp_path / "out" / "chat_template.jinja").read_text() == ours
        assert not (tmp_path / "out" / "additional_chat_templates").exists()


def test_a_base_without_a_chat_template_gets_the_trained_one(make, tmp_path, caplog):
    base = make(template=None)
    random_adapter(base, tmp_path / "adapter", "yi_chat")
    merge(str(base), tmp_path / "adapter", tmp_path / "out")
    same_files(base, tmp_path / "out")
    assert (tmp_path / "out" / "chat_template.jinja").read_text() == to_jinja(components([]).templates["yi_chat"])
    assert "chat template" not in caplog.text


def test_a_tokenizer_of_the_adapters_own_is_the_one_that_goes_along(make, tmp_path):
    base = make()
    random_adapter(base, tmp_path / "adapter", "yi_chat")
    own = AutoTokenizer.from_pretrained(base)
    own.save_pretrained(tmp_path / "adapter")  # the same one, as transformers 5 writes it
    merge(str(base), tmp_path / "adapter", tmp_path / "same")
    same_files(base, tmp_path / "same")
    own.eos_token = "<|endoftext|>"
    own.save_pretrained(tmp_path / "adapter")
    merge(str(base), tmp_path / "adapter", tmp_path / "other")
    assert xtune.load_tokenizer(tmp_path / "other").eos_token == "<|endoftext|>"
    assert json.loads((tmp_path / "other" / "config.json").read_text()) == json.loads(
        (base / "config.json").read_text()
    )


def test_a_multimodal_model_stays_whole(tiny_model, tmp_path):
    from transformers import Qwen3_5Config, Qwen3_5ForConditionalGeneration

    text = {key: value for key, value in SMALL.items() if key != "intermediate_size"}
    text |= {"head_dim": 16, "intermediate_size": 64, "layer_types": ["full_attention"] * 2, "vocab_size": 260}
    sees = {"hidden_size": 16, "intermediate_size": 16, "depth": 1, "num_heads": 2, "out_hidden_size": 64}
    torch.manual_seed(0)
    Qwen3_5ForConditionalGeneration(Qwen3_5Config(text_config=text, vision_config=sees)).save_pretrained(
        tmp_path / "base"
    )
    publish(tmp_path / "base", tiny_model, spelled_for=5)
    wanted = random_adapter(tmp_path / "base", tmp_path / "adapter", None)
    merge(str(tmp_path / "base"), tmp_path / "adapter", tmp_path / "out")
    before, after = stored(tmp_path / "base")["model.safetensors"], stored(tmp_path / "out")["model.safetensors"]
    assert before.keys() == after.keys() and any("visual" in name for name in after)
    config = json.loads((tmp_path / "base" / "config.json").read_text())
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    for part in ("text_config", "vision_config"):
        assert written[part].items() >= config[part].items()
        assert written.pop(part) is not config.pop(part)
    assert written == config | {"torch_dtype": config["dtype"]}
    assert (logits(xtune.load_model(tmp_path / "out")) - wanted).abs().max() < 1e-5
    assert type(Qwen3_5ForConditionalGeneration.from_pretrained(tmp_path / "out")) is Qwen3_5ForConditionalGeneration


@pytest.mark.parametrize("method", ["bitsandbytes", "gptq", "fp8"])
def test_no_adapter_is_merged_into_quantized_weights(make, method, tmp_path):
    base = make()
    random_adapter(base, tmp_path / "adapter", None)
    change(base / "config.json", quantization_config={"quant_method": method, "load_in_4bit": method[0] == "b"})
    with pytest.raises(
        ModelError, match=rf"is stored in .*{method}.*: no adapter can be merged into it; merge into the model that"
    ):
        merge(str(base), tmp_path / "adapter", tmp_path / "out")
    assert not (tmp_path / "out").exists()
