"""How the base is quantized: said by the config, by a tuning's name, or by a plugin, and judged alike."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from transformers import BitsAndBytesConfig

import xtune
from xtune.errors import ConfigError, UnknownName
from xtune.names import load_config
from xtune.plugins.checks import Plugin
from xtune.quantization.bits import Fp4, Int8, Nf4
from xtune.quantization.quantization import Quantization
from xtune.registries import BUILTINS, Components
from xtune.resolve import resolve

CONFIG = "smollm2_135m_instruct_lora_alpaca_e3"


def run_of(found=None, name=CONFIG, **overrides):
    return resolve(load_config(name, overrides), found or Components([]))


@pytest.mark.parametrize(
    ("overrides", "wanted"),
    [
        ({}, Quantization()),
        ({"quantization": "none"}, Quantization()),
        ({"quantization": "nf4"}, Nf4()),
        ({"quantization": {"name": "fp4", "double_quant": False}}, Fp4(double_quant=False)),
        ({"quantization": "int8"}, Int8()),
    ],
)
def test_the_config_says_how_the_base_is_held(overrides, wanted):
    assert run_of(**overrides).quantization == wanted


@pytest.mark.parametrize(
    ("tuning", "quantization"), [("qlora", "nf4"), ("int8_lora", "int8")], ids=["four bits", "eight bits"]
)
def test_the_old_names_are_lora_on_such_a_base(tuning, quantization):
    old = run_of(name=f"smollm2_135m_instruct_{tuning}_alpaca_e3")
    new = run_of(quantization=quantization)
    assert old.quantization == new.quantization
    assert (
        old.quantization.load_options(torch.bfloat16).to_dict()
        == BitsAndBytesConfig(
            **{
                4: {
                    "load_in_4bit": True,
                    "bnb_4bit_quant_type": "nf4",
                    "bnb_4bit_use_double_quant": True,
                    "bnb_4bit_compute_dtype": torch.bfloat16,
                },
                8: {"load_in_8bit": True},
            }[old.quantization.bits]
        ).to_dict()
    )


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        (CONFIG, {"quantization": "nf3"}, r"unknown quantization: got `nf3`; did you mean nf4"),
        (CONFIG, {"quantization": {"name": "int8", "double_quant": True}}, r"quantization int8: unknown key"),
        (
            CONFIG,
            {"quantization": "nf4", "tuning.init": "pissa"},
            r"nf4 holds quantized; set tuning.init=default",
        ),
        (
            "smollm2_135m_instruct_full_alpaca_e3",
            {"quantization": "int8"},
            r"quantized weights cannot be trained: got tuning.name=full and quantization=int8; set tuning.name=lora",
        ),
        (
            "smollm2_135m_instruct_qlora_alpaca_e3",
            {"quantization": "int8"},
            r"quantization=int8 and tuning.name=qlora ask for different weights of the base; set tuning.name=lora",
        ),
    ],
)
def test_what_cannot_be_is_one_line(name, overrides, message):
    with pytest.raises((ConfigError, UnknownName), match=message):
        run_of(name=name, **overrides)


class Ternary(Quantization):
    """A plugin's own."""

    def bytes_per_weight(self, width):
        return 0.2


class OldWay(xtune.Tuning):
    """A plugin's tuning from before quantization was a component."""

    def quantization(self, compute_dtype):
        return {"compute": compute_dtype}


def test_a_plugin_adds_one_and_an_old_plugin_still_counts():
    @xtune.hookimpl
    def register_quantizations(quantizations):
        quantizations.add("ternary", Ternary)

    @xtune.hookimpl
    def register_strategies(strategies):
        strategies.add("old_way", OldWay)

    module = SimpleNamespace(register_quantizations=register_quantizations, register_strategies=register_strategies)
    found = Components([Plugin("xtune-ternary", "1", module)])
    assert run_of(found, quantization="ternary").quantization == Ternary()
    options = {"tuning": {"name": "old_way"}}
    assert run_of(found, **options).quantization.load_options(torch.float16) == {"compute": torch.float16}


def test_a_deepspeed_file_that_a_plugin_registers_is_found_by_its_name(tmp_path, monkeypatch):
    package = tmp_path / "zero_plugin"
    package.mkdir()
    (package / "__init__.py").write_text("")
    settings = {"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}}
    (package / "my_zero.json").write_text(json.dumps(settings))
    monkeypatch.syspath_prepend(str(tmp_path))

    @xtune.hookimpl
    def register_configs(configs):
        configs.add_package("zero_plugin")

    found = Components([Plugin("xtune-zero", "1", SimpleNamespace(register_configs=register_configs))], BUILTINS)
    run = run_of(found, distributed="my_zero")
    assert (run.distributed.sharded, run.distributed.offloaded) == ({"optimizer", "gradients"}, {"optimizer"})
