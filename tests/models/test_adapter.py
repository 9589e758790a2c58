"""Adapters: loaded whole, or refused with the reason."""

import json
import shutil

import pytest
import torch

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
    with pytest.raises(ModelError, match=r"has no adapter_config\.json: got .*, which is a model"):
        adapter_base(tiny_model)
    with pytest.raises(ModelError, match="which is neither an adapter nor a model"):
        adapter_base(tmp_path)
    broken = tmp_path / "broken"
    shutil.copytree(adapter[0], broken)
    (broken / "adapter_config.json").write_text(json.dumps({"r": 4}))
    with pytest.raises(ModelError, match="adapter config is damaged"):
        adapter_base(broken)
    (broken / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match="adapter folder has no weights"):
        adapter_base(broken)
