"""Parameter counts against models built on torch's meta device, and against those that the vendors' files have."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from xtune.errors import ModelError
from xtune.estimate.memory import build
from xtune.models.count import matrices, parameters
from xtune.models.spec import ModelSpec
from xtune.registries import Components

MODELS = Components([]).models

PUBLISHED = {
    "baichuan2_7b_base": 7_505_973_248,
    "command_r": 34_980_831_232,
    "deepseek_moe_16b_base": 16_375_728_128,
    "deepseek_r1_distill_qwen_1_5b": 1_777_088_000,
    "deepseek_v2_chat": 235_741_434_880,
    "deepseek_v2_lite": 15_706_484_224,
    "gemma2_9b": 9_241_705_984,
    "gemma3_1b": 999_885_952,
    "gemma_7b": 8_537_680_896,
    "glm4_9b": 9_399_951_360,
    "chatglm3_6b": 6_243_584_000,
    "internlm2_20b": 19_861_149_696,
    "internlm3_8b_instruct": 8_804_241_408,
    "llama2_7b": 6_738_415_616,
    "llama3_1_8b": 8_030_261_248,
    "llama3_2_1b": 1_235_814_400,
    "llama3_2_3b": 3_212_749_824,
    "minicpm_2b": 2_724_880_896,
    "mistral_7b": 7_241_732_096,
    "mixtral_8x7b": 46_702_792_704,
    "phi3_mini_4k_instruct": 3_821_079_552,
    "phi4": 14_659_507_200,
    "qwen1_5_moe_a2_7_b_chat": 14_315_784_192,
    "qwen2_5_0_5b": 494_032_768,
    "qwen2_5_72b": 72_706_203_648,
    "qwen3_30b_a3b": 30_532_122_624,
    "qwen3_8b": 8_190_735_360,
    "qwen_7b": 7_721_324_544,
    "smollm2_135m": 134_515_008,
    "smollm3_3b": 3_075_098_624,
    "starcoder": 15_517_456_384,
    "starcoder2_15b": 15_957_889_024,
    "tinyllama_1_1b": 1_100_048_384,
    "yi_34b": 34_388_917_248,
}
"""What the safetensors headers of these models add up to, as their hub pages show it."""

LAYERS = 3


def shapes() -> dict[str, dict[str, Any]]:
    """The different sizes among the models, with few layers: what a layer holds does not depend on their number."""
    found = {}
    for name, spec in MODELS.items():
        config = {**spec.config, "num_hidden_layers": LAYERS}
        if config not in found.values():
            found[name] = config
    return found


def built(config: dict[str, Any]) -> Any:
    """The model of that config, without memory for its weights."""
    with torch.device("meta"):
        return build(config)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_counts(name: str) -> None:
    assert MODELS[name].parameters == PUBLISHED[name]


@pytest.mark.parametrize(("name", "config"), shapes().items())
def test_counts_are_those_of_the_classes(name: str, config: dict[str, Any]) -> None:
    model = built(config)
    assert parameters(config) == sum(weight.numel() for weight in model.parameters())
    linear = sum(
        sum(weight.numel() for weight in module.parameters())
        for path, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and "lm_head" not in path
    )
    assert sum(matrix.parameters for matrix in matrices(config) if matrix.linear) == linear


@pytest.mark.parametrize("name", ["smollm2_135m", "qwen3_0_6b", "gemma3_270m"])
def test_a_whole_model(name: str) -> None:
    model = built(dict(MODELS[name].config))
    assert MODELS[name].parameters == sum(weight.numel() for weight in model.parameters())


def test_a_plugin_may_give_the_number_alone() -> None:
    facts = {"path": "a/b", "family": "f", "template": "default", "context": 2048, "licence": "MIT"}
    assert ModelSpec(**facts, parameters=7).parameters == 7  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"^model a/b has neither config nor parameters; give it one of them$"):
        ModelSpec(**facts)  # type: ignore[arg-type]
