"""Every weight of a model comes from its files, and every weight in them finds its place, or the model is refused."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import xtune
from xtune.errors import ModelError
from xtune.models.load import refuse_incomplete
from xtune.models.placement import left_out

UP = "model.layers.1.mlp.up_proj.weight"


def keys(change: Callable[[dict], dict]) -> Callable[[Path], None]:
    """Writes the weights again with other names or values."""

    def damage(folder: Path) -> None:
        file = folder / "model.safetensors"
        save_file(change(load_file(file)), file, metadata={"format": "pt"})

    return damage


def config(**values) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | values))

    return damage


def content(write: Callable[[Path], object]) -> Callable[[Path], None]:
    return lambda folder: write(folder / "model.safetensors") and None


def pickled(change: Callable[[dict], dict]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        (folder / "model.safetensors").unlink()
        torch.save(change(weights), folder / "pytorch_model.bin")

    return damage


def sharded(then: Callable[[Path], object]) -> Callable[[Path], None]:
    """Splits the weights over three files, and damages the first."""

    def damage(folder: Path) -> None:
        weights = list(load_file(folder / "model.safetensors").items())
        (folder / "model.safetensors").unlink()
        places = {}
        for number in range(3):
            name = f"model-{number + 1:05}-of-00003.safetensors"
            part = dict(weights[number::3])
            save_file(part, folder / name, metadata={"format": "pt"})
            places |= dict.fromkeys(part, name)
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
        then(folder / "model-00001-of-00003.safetensors")

    return damage


def shorten(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 1000)


def without(part: str) -> Callable[[dict], dict]:
    return lambda weights: {key: value for key, value in weights.items() if part not in key}


def prefixed(prefix: str) -> Callable[[dict], dict]:
    return lambda weights: {prefix + key: value for key, value in weights.items()}


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"


class Code:
    def __reduce__(self):
        return os.mkdir, ("code_was_run",)


DAMAGES = {
    "torch.compile's prefix": (
        keys(prefixed("_orig_mod.")),
        r"21 weights are not in its files.* first is `lm_head\.weight`; .*begin with `_orig_mod\.` \(torch\.compile\)",
    ),
    "a prefix of nobody": (keys(prefixed("student.net.")), r"21 weights .* begin with `student\.net\.`: rename them"),
    "a matrix of a layer": (keys(without(UP)), rf"1 weight is not in its files.*`{UP}`; download the model again"),
    "an untied head": (keys(without("lm_head")), r"1 weight is not in its files.*`lm_head\.weight`"),
    "a whole layer": (keys(without("layers.1.")), r"9 weights .* num_hidden_layers=2, the files seem to hold 1"),
    "a config of fewer layers": (
        config(num_hidden_layers=1),
        r"9 weights are in its files that its class has no place for.*`model\.layers\.1\.input_layernorm\.weight`; "
        r"config\.json has num_hidden_layers=1, the files hold 2",
    ),
    "a config of more layers": (config(num_hidden_layers=4), r"18 weights are not .* seem to hold 2: take the config"),
    "a config of another width": (
        config(intermediate_size=96),
        r"6 weights are of another shape.*down_proj\.weight`, 64 x 128 in its files and 64 x 96 by its config\.json",
    ),
    "a weight that nobody knows": (
        keys(lambda weights: {**weights, "gate.extra": torch.zeros(3)}),
        r"1 weight is in its files that its class has no place for: the first is `gate\.extra`",
    ),
    "a shortened file": (content(shorten), r"model\.safetensors` \([\d,]+ bytes\) is damaged or was not downloaded"),
    "a start alone": (content(lambda file: os.truncate(file, 1000)), "is damaged or was not downloaded whole"),
    "an empty file": (content(lambda file: file.write_bytes(b"")), r"model\.safetensors` is empty; download it again"),
    "a pointer": (content(lambda file: file.write_text(POINTER)), "is a pointer of Git LFS, not the weights; run git"),
    "other bytes": (content(lambda file: file.write_bytes(b"<html>" * 900)), "is damaged or was not downloaded whole"),
    "another name": (
        content(lambda file: file.rename(file.with_name("consolidated.safetensors"))),
        r"has no weights .* with consolidated\.safetensors, which transformers does not read",
    ),
    "a shard that is not there": (
        sharded(Path.unlink),
        r"1 of the 3 files that model\.safetensors\.index\.json names are not in .* `model-00001-of-00003\.safetens",
    ),
    "a shard that is a pointer": (
        sharded(lambda file: file.write_text(POINTER)),
        r"weight file `.*model-00001-of-00003\.safetensors` is a pointer of Git LFS",
    ),
    "a shortened shard": (sharded(shorten), r"model-00001-of-00003\.safetensors` \(.* is damaged"),
    "an index of nothing": (
        sharded(lambda file: file.with_name("model.safetensors.index.json").write_text('{"weight_map": {}}')),
        "index of weights .* names no files",
    ),
    "an index that is no index": (
        sharded(lambda file: file.with_name("model.safetensors.index.json").write_text("[1, 2")),
        "index of weights .* is broken JSON",
    ),
    "a .bin without a matrix": (pickled(without(UP)), rf"1 weight is not in its files.*`{UP}`"),
    "a .bin with code": (pickled(lambda weights: {**weights, "x": Code()}), "holds code or objects beside tensors"),
    "a .bin of something else": (pickled(lambda weights: [1, 2]), "cannot be loaded: "),
}


@pytest.fixture(scope="module")
def untied(tiny_model, tmp_path_factory) -> Path:
    """The tiny model, whose head is one of its own."""
    folder = tmp_path_factory.mktemp("untied") / "base"
    shutil.copytree(tiny_model, folder)
    assert "lm_head.weight" in load_file(folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("name", DAMAGES)
def test_a_model_that_is_not_whole_is_refused_wherever_it_is_loaded(untied, tmp_path, monkeypatch, name):
    damage, told = DAMAGES[name]
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "base"
    shutil.copytree(untied, folder)
    damage(folder)
    ways = {
        "check": lambda: refuse_incomplete(folder),
        "load": lambda: xtune.load_model(folder),
        "4 bits": lambda: xtune.load_model(folder, quantization=4),
        "8 bits": lambda: xtune.load_model(folder, quantization=8),
    }
    for way, load in ways.items():
        with pytest.raises(ModelError, match=told) as caught:
            load()
        assert "\n" not in str(caught.value), way
    assert not (tmp_path / "code_was_run").exists()


@pytest.mark.parametrize(
    "harmless",
    [
        lambda folder: None,
        sharded(lambda file: None),
        pickled(dict),
        keys(lambda weights: {key.removeprefix("model."): value for key, value in weights.items()}),
        keys(lambda weights: {**weights, "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8)}),
        keys(lambda weights: {**weights, "mtp.layers.0.mlp.up_proj.weight": torch.ones(8, 8)}),
        keys(lambda weights: {**weights, "v_head.summary.weight": torch.ones(1, 64)}),
    ],
    ids=["plain", "sharded", "bin", "of the inner model", "rotary tables", "ahead", "value head"],
)
def test_what_is_whole_gives_the_weights_in_the_files(untied, tmp_path, harmless):
    folder = tmp_path / "base"
    shutil.copytree(untied, folder)
    stored = load_file(folder / "model.safetensors")
    harmless(folder)
    refuse_incomplete(folder)
    loaded = xtune.load_model(folder).state_dict()
    assert loaded.keys() == stored.keys()
    assert stored and all(torch.equal(loaded[key], stored[key]) for key in stored)


def test_a_head_that_is_tied_need_not_be_there(untied, tmp_path):
    folder = tmp_path / "base"
    shutil.copytree(untied, folder)
    keys(without("lm_head"))(folder)
    config(tie_word_embeddings=True)(folder)
    refuse_incomplete(folder)
    model = xtune.load_model(folder)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    keys(without("embed_tokens"))(folder)  # now neither is there
    with pytest.raises(ModelError, match=r"2 weights are not .* `lm_head\.weight`"):
        xtune.load_model(folder)
    with pytest.raises(ModelError, match=r"2 weights are not .* `lm_head\.weight`"):
        refuse_incomplete(folder)


@pytest.mark.parametrize("kind", ["Qwen3Moe", "Mixtral", "GPT2", "GPTNeoX", "Olmo2", "Cohere2", "Gemma3", "Phi3"])
def test_every_family_is_compared_as_it_is_loaded(kind, tmp_path):
    """The names of experts, transposed matrices, prefixes and ties are transformers' affair: nothing is found odd."""
    import transformers

    sizes = {"vocab_size": 96, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "head_dim": 8}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "moe_intermediate_size": 32, "pad_token_id": 0}
    name = {"Gemma3": "Gemma3TextConfig"}.get(kind, f"{kind}Config")
    torch.manual_seed(0)
    model = getattr(transformers, f"{kind}LMHeadModel" if kind == "GPT2" else f"{kind}ForCausalLM")(
        getattr(transformers, name)(**sizes, **heads)
    )
    model.save_pretrained(tmp_path)
    refuse_incomplete(tmp_path)
    loaded = xtune.load_model(tmp_path).state_dict()
    made = model.state_dict()
    assert made and all(torch.equal(value, loaded[key]) for key, value in made.items())
    stored = load_file(tmp_path / "model.safetensors")
    for lost in [key for key in stored if "1." in key and ("mlp" in key or "moe" in key)][:6]:
        save_file({key: stored[key] for key in stored if key != lost}, tmp_path / "model.safetensors")
        for load in (refuse_incomplete, xtune.load_model):
            with pytest.raises(ModelError, match=r"is not whole: 1 weight is "):
                load(tmp_path)


def test_layers_that_only_predict_ahead_may_be_left_out():
    from transformers import DeepseekV3Config

    config = DeepseekV3Config(num_hidden_layers=3, num_nextn_predict_layers=1)
    assert left_out("model.layers.3.mlp.up_proj.weight", config)
    assert not left_out("model.layers.4.mlp.up_proj.weight", config)
    assert not left_out("model.layers.2.mlp.up_proj.weight", config)
