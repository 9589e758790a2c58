"""Loading models: dtypes, quantization, and every way that a folder can be wrong."""

import json
import shutil

import pytest
import torch

import xtune
from xtune.errors import ModelError
from xtune.models.config_file import stored_dtype
from xtune.models.device import pick_attention, pick_dtype


def test_a_folder_gives_the_model_and_the_tokenizer(tiny_model):
    model, tokenizer = xtune.load_model(tiny_model), xtune.load_tokenizer(tiny_model)
    assert model.dtype == torch.float32 and model.config._attn_implementation == "sdpa"
    assert tokenizer("hi")["input_ids"] == [tokenizer.convert_tokens_to_ids(letter) for letter in "hi"]
    assert stored_dtype(tiny_model) == "float32"


@pytest.mark.parametrize(("quantization", "layer"), [(4, "Linear4bit"), ("nf4", "Linear4bit"), (8, "Linear8bitLt")])
def test_quantized_loading(tiny_model, quantization, layer):
    plain = xtune.load_model(tiny_model)
    model = xtune.load_model(tiny_model, quantization=quantization)
    assert type(model.model.layers[0].mlp.up_proj).__name__ == layer
    ids = torch.arange(3, 40)[None]
    close = torch.cosine_similarity(model(ids).logits.flatten(), plain(ids).logits.flatten(), dim=0)
    assert close > 0.98


def test_dtypes_by_name_and_by_device():
    cpu = torch.device("cpu")
    assert pick_dtype("auto", cpu) is torch.float32
    assert pick_dtype("bfloat16", cpu) is torch.bfloat16 and pick_dtype(torch.float16, cpu) is torch.float16
    with pytest.raises(ModelError, match="unknown dtype: got `bf61`; use auto, float32"):
        pick_dtype("bf61", cpu)


def test_attention_by_name_and_by_device():
    assert pick_attention("auto", torch.device("cpu"), torch.float32) == "sdpa"
    assert pick_attention("auto", torch.device("cpu"), torch.float32, sdpa=False) == "eager"
    assert pick_attention("eager", torch.device("cpu"), torch.float32) == "eager"
    with pytest.raises(ModelError, match="flash attention (is missing|needs a CUDA device)"):
        pick_attention("flash_attention_2", torch.device("cpu"), torch.float32)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("absent_folder", "model does not exist: got `absent_folder`; give a folder"),
        ("./absent/folder", "model does not exist: got `./absent/folder`"),
        ("absent.gguf", "GGUF file does not exist: got `absent.gguf`"),
        ("package:no_such_package/x.gguf", "package `no_such_package` is not installed"),
    ],
)
def test_a_path_that_leads_nowhere(path, message):
    with pytest.raises(ModelError, match=message):
        xtune.load_model(path)


def test_a_hub_that_cannot_be_reached_is_one_line():
    with pytest.raises(ModelError, match="owner/name cannot be loaded: it is not on this machine, and the hub cannot"):
        xtune.load_model("owner/name")


def test_a_folder_without_weights_or_config(tiny_model, tmp_path):
    folder = tmp_path / "模型"
    shutil.copytree(tiny_model, folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"has no weights \(\*\.safetensors, \*\.bin\)"):
        xtune.load_model(folder)
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"has no config\.json"):
        xtune.load_model(folder)
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(ModelError, match=r"has neither a tokenizer nor a config\.json"):
        xtune.load_tokenizer(folder)


def test_code_beside_the_weights_is_never_run(tiny_model, tmp_path):
    folder = tmp_path / "remote"
    shutil.copytree(tiny_model, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "unheard_of", "auto_map": {"AutoConfig": "code.C", "AutoModelForCausalLM": "code.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text("raise SystemExit('remote code was run')")
    with pytest.raises(ModelError, match="needs code from its own folder, which xtune never runs"):
        xtune.load_model(folder)


def test_an_unknown_quantization(tiny_model):
    with pytest.raises(ModelError, match="unknown quantization: got `3`; use 4, 8"):
        xtune.load_model(tiny_model, quantization=3)
