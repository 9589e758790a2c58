"""LoRA (arXiv:2106.09685) and its quantized forms, through peft."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from xtune.errors import ConfigError
from xtune.tuning.taken_out import METHODS, expect_taken_out, start_from_base
from xtune.tuning.tuning import Tuning

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


class Lora(Tuning):
    """Low-rank adapters on a frozen base."""

    rank: int = Field(default=64, gt=0, description="inner dimension of an adapter")
    alpha: float = Field(default=16, gt=0, description="an adapter's output is scaled by alpha / rank")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="on an adapter's input, while training")
    targets: Literal["all-linear"] | list[str] = Field(
        default="all-linear", description="modules that get adapters: every linear layer but the head, or names"
    )
    use_rslora: bool = Field(default=False, description="scale by alpha / sqrt(rank), arXiv:2312.03732")
    use_dora: bool = Field(default=False, description="weight-decomposed adapters, arXiv:2402.09353")
    init: Literal["default", "gaussian", "pissa", "olora"] = Field(
        default="default", description="how A and B start; pissa is arXiv:2404.02948, olora arXiv:2406.01775"
    )
    train_also: list[str] = Field(default_factory=list, description="modules trained whole, such as embed_tokens")

    def prepare(self, model: PreTrainedModel) -> PreTrainedModel:
        from peft import LoraConfig, TaskType, get_peft_model

        for parameter in model.parameters():
            parameter.requires_grad_(False)
        for name in self.train_also:
            refuse_untrainable(model, name)
        config = LoraConfig(
            task_type=TaskType.CAUSAL_LM,
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=linear_modules(model) if self.targets == "all-linear" else self.targets,
            use_rslora=self.use_rslora,
            use_dora=self.use_dora,
            init_lora_weights="gaussian" if self.init == "gaussian" else True,
            modules_to_save=self.train_also or None,
        )
        try:
            tuned = get_peft_model(model, config)
        except ValueError as error:
            raise ConfigError(f"tuning cannot be applied to this model: {str(error).splitlines()[0]}") from error
        if self.init in METHODS:
            expect_taken_out(tuned)
        return tuned

    def begin(self, model: PreTrainedModel) -> None:
        if self.init in METHODS:
            start_from_base(model, self.init)


def refuse_untrainable(model: PreTrainedModel, name: str) -> None:
    """Raises ConfigError where `name`, of `train_also`, is no module of `model` or one whose weights are quantized."""
    found = [module for path, module in model.named_modules() if path.endswith(name)]
    if not found:
        raise ConfigError(f"tuning.train_also names no module of this model: got {name}; try embed_tokens or lm_head")
    if any(not weight.is_floating_point() for module in found for weight in module.parameters()):
        raise ConfigError(
            f"tuning.train_also names quantized weights, which cannot be trained whole: got {name}; "
            f"take it out, or set tuning.name=lora"
        )


def linear_modules(model: PreTrainedModel) -> str | set[str]:
    """What to give peft for every linear layer but the head.

    The routed experts of an MoE are parameters and no layers: they get no adapters. peft takes "all-linear" for them
    too, as adapters of transformers 4 had them, and then refuses dropout; so there, layers are named.
    """
    from peft import LoraConfig
    from peft.utils.transformers_weight_conversion import convert_peft_config_for_transformers

    probe = LoraConfig(target_modules="all-linear")
    convert_peft_config_for_transformers(probe, model, conversions=None)
    return set(probe.target_modules) if probe.target_parameters else "all-linear"


class QLora(Lora):
    """LoRA on a base whose linear layers hold 4-bit weights (arXiv:2305.14314)."""

    bits: Literal[4] = 4
    quant_type: Literal["nf4", "fp4"] = "nf4"
    double_quant: bool = Field(default=True, description="quantize the quantization constants too")

    def quantization(self, compute_dtype: torch.dtype) -> Any:
        from transformers import BitsAndBytesConfig

        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=self.quant_type,
            bnb_4bit_use_double_quant=self.double_quant,
            bnb_4bit_compute_dtype=compute_dtype,
        )

    def prepare(self, model: PreTrainedModel) -> PreTrainedModel:
        """On CPUs with AVX512-BF16, bitsandbytes repacks a layer's weight the first time that it runs in eval mode, for
        a kernel that has no backward: an evaluation would cut the gradients of all training after it. So it is told
        that this CPU cannot.
        """
        from bitsandbytes.nn import Linear4bit

        for module in model.modules():
            if isinstance(module, Linear4bit):
                module.support_avx512bf16_for_cpu = False
        return super().prepare(model)


class Int8Lora(Lora):
    """LoRA on a base whose linear layers hold 8-bit weights (LLM.int8, arXiv:2208.07339)."""

    def quantization(self, compute_dtype: torch.dtype) -> Any:
        from transformers import BitsAndBytesConfig

        return BitsAndBytesConfig(load_in_8bit=True)

    def prepare(self, model: PreTrainedModel) -> PreTrainedModel:
        if self.use_dora and model.device.type == "cpu":  # peft loses the scales of 8-bit weights there
            raise ConfigError("DoRA on 8-bit weights needs a CUDA device: got cpu; set tuning.name=qlora or lora")
        return super().prepare(model)
