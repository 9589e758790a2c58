"""LoRA (arXiv:2106.09685) and its quantized forms, through peft."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from xtune.foreign import foreign
from xtune.models.count import Matrix
from xtune.quantization.bits import Fp4, Int8, Nf4
from xtune.quantization.quantization import Quantization
from xtune.tuning.taken_out import METHODS, expect_taken_out, start_from_base
from xtune.tuning.targets import find_targets
from xtune.tuning.tuning import Tuning, TuningError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Lora(Tuning):
    """Low-rank adapters on a frozen base."""

    freezes_base: ClassVar[bool] = True

    rank: int = Field(default=64, gt=0, le=2**16, description="inner dimension of an adapter")
    alpha: float = Field(default=16, gt=0, description="an adapter's output is scaled by alpha / rank")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="on an adapter's input, while training")
    targets: Literal["all-linear"] | list[str] = Field(
        default="all-linear", description="what gets adapters: every linear layer but the head, or names"
    )
    use_rslora: bool = Field(default=False, description="scale by alpha / sqrt(rank), arXiv:2312.03732")
    use_dora: bool = Field(default=False, description="weight-decomposed adapters, arXiv:2402.09353")
    init: Literal["default", "gaussian", "pissa", "olora"] = Field(
        default="default", description="how A and B start; pissa is arXiv:2404.02948, olora arXiv:2406.01775"
    )
    train_also: list[str] = Field(default_factory=list, description="modules trained whole, such as embed_tokens")

    def adapted(self, linear: Sequence[Matrix]) -> list[Matrix]:
        names = {target.rpartition(".")[2] for target in self.targets}
        return [matrix for matrix in linear if self.targets == "all-linear" or matrix.name in names]

    @property
    def starts_from_base(self) -> bool:
        return self.init in METHODS

    @property
    def adapter_rank(self) -> int:
        return self.rank

    @property
    def adapter_dropout(self) -> float:
        return self.dropout

    def prepare(self, model: PreTrainedModel) -> PreTrainedModel:
        if self.use_dora and getattr(model, "is_loaded_in_8bit", False) and model.device.type == "cpu":
            raise TuningError(  # peft loses the scales of 8-bit weights there
                "DoRA on 8-bit weights needs a CUDA device: got cpu; set tuning.name=qlora or lora"
            )
        from peft import LoraConfig, TaskType, get_peft_model

        for parameter in model.parameters():
            parameter.requires_grad_(False)
        for name in self.train_also:
            refuse_untrainable(model, name)
        targets = find_targets(model, self.targets, dropout=self.dropout)
        config = LoraConfig(
            task_type=TaskType.CAUSAL_LM,
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=targets.modules,
            target_parameters=targets.parameters or None,
            use_rslora=self.use_rslora,
            use_dora=self.use_dora,
            init_lora_weights="gaussian" if self.init == "gaussian" else True,
            modules_to_save=self.train_also or None,
        )
        hint = "check tuning.rank and tuning.targets; all-linear fits every model"
        with foreign("tuning cannot be applied to this model", TuningError, hint):
            tuned = get_peft_model(model, config)
        if self.starts_from_base:
            expect_taken_out(tuned)
        return tuned

    def begin(self, model: PreTrainedModel) -> None:
        if self.starts_from_base:
            start_from_base(model, self.init)


def refuse_untrainable(model: PreTrainedModel, name: str) -> None:
    """Raises TuningError where `name`, of `train_also`, is no module of `model` or one whose weights are quantized."""
    found = [module for path, module in model.named_modules() if path.endswith(name)]
    if not found:
        raise TuningError(f"tuning.train_also names no module of this model: got {name}; try embed_tokens or lm_head")
    if any(not weight.is_floating_point() for module in found for weight in module.parameters()):
        raise TuningError(
            f"tuning.train_also names quantized weights, which cannot be trained whole: got {name}; "
            f"take it out, or set tuning.name=lora"
        )


class QLora(Lora):
    """LoRA on a base whose linear layers hold 4-bit weights (arXiv:2305.14314): `lora` with quantization nf4 or fp4."""

    bits: Literal[4] = 4
    quant_type: Literal["nf4", "fp4"] = "nf4"
    double_quant: bool = Field(default=True, description="quantize the quantization constants too")

    def base_quantization(self) -> Quantization:
        return {"nf4": Nf4, "fp4": Fp4}[self.quant_type](double_quant=self.double_quant)


class Int8Lora(Lora):
    """LoRA on a base whose linear layers hold 8-bit weights: `lora` with quantization int8."""

    def base_quantization(self) -> Quantization:
        return Int8()
