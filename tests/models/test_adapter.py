"""Adapters: loaded whole, or refused with the reason."""

import json
import math
import os
import shutil
from pathlib import PurePosixPath

import pytest
import torch
from safetensors.torch import load_file, save_file

import xtune
from xtune.errors import ModelError
from xtune.models.adapter import adapter_base, load_adapter
from xtune.tuning import Lora


@pytest.fixture(scope="module")
def adapter(tiny_model, tmp_path_factory):
    """An adapter of the tiny model whose B is not zero."""
    torch.manual_seed(1)
    model = Lora(rank=4, dropout=0.0).prepare(xtune.load_model(tiny_model))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    folder = tmp_path_factory.mktemp("adapter")
    model.save_pretrained(folder)
    return folder, model.eval()


def test_an_adapter_gives_back_the_trained_function(tiny_model, adapter):
    folder, trained = adapter
    loaded = load_adapter(xtune.load_model(tiny_model), folder)
    ids = torch.arange(3, 40)[None]
    assert torch.equal(loaded(ids).logits, trained(ids).logits)
    assert not torch.equal(loaded(ids).logits, xtune.load_model(tiny_model)(ids).logits)
    assert not loaded.training


def test_an_adapter_of_another_model_is_refused(tiny_model, adapter):
    from transformers import LlamaForCausalLM

    model = xtune.load_model(tiny_model)
    config = model.config
    wide = LlamaForCausalLM(type(config)(**{**config.to_dict(), "intermediate_size": 192}))
    with pytest.raises(ModelError, match=r"does not fit this model: size mismatch.*it was trained on .*tiny"):
        load_adapter(wide, adapter[0])
    shallow = LlamaForCausalLM(type(config)(**{**config.to_dict(), "num_hidden_layers": 1}))
    with pytest.raises(ModelError, match="does not fit this model: 14 weights differ in name"):
        load_adapter(shallow, adapter[0])


def test_folders_that_hold_no_adapter(tiny_model, adapter, tmp_path):
    with pytest.raises(ModelError, match="adapter folder does not exist"):
        adapter_base(tmp_path / "absent")
    with pytest.raises(ModelError, match=r"has no adapter_config\.json: got `.*`, which is a model"):
        adapter_base(tiny_model)
    with pytest.raises(ModelError, match="which is neither an adapter nor a model"):
        adapter_base(tmp_path)
    broken = tmp_path / "broken"
    shutil.copytree(adapter[0], broken)
    (broken / "adapter_config.json").write_text(json.dumps({"r": 4}))
    with pytest.raises(ModelError, match="does not say which model it was trained on; give the model too"):
        adapter_base(broken)
    (broken / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match="adapter folder has no weights"):
        adapter_base(broken)


def tensors(change):
    """Writes the adapter's tensors again, the first of them changed."""

    def damage(folder):
        stored = load_file(folder / "adapter_model.safetensors")
        name = sorted(stored)[0]
        stored[name] = change(stored[name]).contiguous()
        save_file(stored, folder / "adapter_model.safetensors")

    return damage


def settings(**values):
    def damage(folder):
        file = folder / "adapter_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | values))

    return damage


def file(write):
    return lambda folder: write(folder / "adapter_model.safetensors") and None


def one(value):
    def change(tensor):
        tensor[0, 0] = value
        return tensor

    return change


def renamed(change):
    def damage(folder):
        stored = load_file(folder / "adapter_model.safetensors")
        save_file({change(name): tensor for name, tensor in stored.items()}, folder / "adapter_model.safetensors")

    return damage


def pickled(folder):
    torch.save({"a": PurePosixPath("a")}, folder / "adapter_model.bin")
    (folder / "adapter_model.safetensors").unlink()


FIRST = r"`base_model\.model\.model\.layers\.0\.mlp\.down_proj\.lora_A\.weight`"
DAMAGES = {
    "nan": (tensors(one(math.nan)), f"not finite: got 1 of 512 in {FIRST}"),
    "inf": (tensors(one(-math.inf)), f"not finite: got 1 of 512 in {FIRST}"),
    "int8": (tensors(torch.Tensor.char), f"should hold floats of 16 to 64 bits: got `int8` in {FIRST}"),
    "bool": (tensors(torch.Tensor.bool), f"got `bool` in {FIRST}"),
    "complex": (tensors(lambda tensor: tensor.to(torch.complex64)), f"got `complex64` in {FIRST}"),
    "float8": (tensors(lambda tensor: tensor.to(torch.float8_e4m3fn)), f"got `float8_e4m3fn` in {FIRST}"),
    "another rank": (tensors(lambda tensor: tensor[:2]), "does not fit this model: size mismatch"),
    "another width": (tensors(lambda tensor: tensor[:, :9]), "does not fit this model: size mismatch"),
    "one dimension": (tensors(torch.Tensor.flatten), "does not fit this model: size mismatch"),
    "no tensors": (file(lambda path: save_file({}, path)), "holds no weights"),
    "shortened": (
        file(lambda path: os.truncate(path, 5000)),
        r"\(5,000 bytes\) is damaged or was not downloaded whole",
    ),
    "empty": (file(lambda path: path.write_bytes(b"")), "is empty; download it again"),
    "a pointer": (file(lambda path: path.write_text("version https://git-lfs.github.com")), "is a pointer of Git LFS"),
    "a pickle of objects": (pickled, "adapter .* cannot be read: UnpicklingError"),
    "no name fits": (renamed(lambda name: f"student.{name}"), "does not fit this model: 56 weights differ in name"),
    "half of the names fit": (
        renamed(lambda name: name.replace("layers.1.", "layers.7.")),
        "28 weights differ in name",
    ),
    "rank of text": (settings(r="4"), r"adapter_config\.json`: `r` should be a valid integer: got `'4'`"),
    "rank zero": (settings(r=0), "`r` should be greater than 0: got `0`"),
    "alpha nan": (settings(lora_alpha=math.nan), "`NaN` is not a number of JSON"),
    "alpha null": (settings(lora_alpha=None), "`lora_alpha` should be a valid number: got `None`"),
    "targets of numbers": (settings(target_modules=[1]), r"`target_modules\..*should be a valid"),
    "no targets": (settings(target_modules=[]), "does not fit this model: "),
    "targets that are not there": (settings(target_modules=["c_attn"]), "does not fit this model: "),
    "pattern of text": (settings(rank_pattern={"q_proj": "x"}), r"`rank_pattern\..*got `'x'`"),
    "dora of text": (settings(use_dora="yes"), "`use_dora` should be a valid boolean: got `'yes'`"),
    "unheard-of kind": (settings(peft_type="ROLA"), "does not fit this model: .*ROLA"),
    "kind of another task": (settings(task_type="SING"), "does not fit this model: .*SING"),
    "a dropout of 2": (settings(lora_dropout=2), "`lora_dropout` should be less than 1"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_an_adapter_that_is_damaged_or_does_not_fit_is_one_line(tiny_model, adapter, tmp_path, name):
    damage, told = DAMAGES[name]
    folder = tmp_path / "adapter"
    shutil.copytree(adapter[0], folder)
    damage(folder)
    with pytest.raises(ModelError, match=told) as caught:
        load_adapter(xtune.load_model(tiny_model), folder)
    assert "\n" not in str(caught.value)


def test_an_adapter_that_names_no_base_is_loaded_on_the_model_that_is_given(tiny_model, adapter, tmp_path):
    folder = tmp_path / "adapter"
    shutil.copytree(adapter[0], folder)
    settings(base_model_name_or_path=None)(folder)
    ids = torch.arange(3, 40)[None]
    assert torch.equal(load_adapter(xtune.load_model(tiny_model), folder)(ids).logits, adapter[1](ids).logits)
