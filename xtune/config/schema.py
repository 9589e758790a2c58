"""The typed, strict shape of a config: every key, its type, its range and its default.

Sections are immutable. Components are named here and looked up in `xtune.resolve`; the options of a tuning or
distribution strategy and of a mapper are checked there too, against the component itself.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Settings(BaseModel):
    """Base of every section: unknown keys are refused, values are not coerced from other types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())


PositiveInt = Annotated[int, Field(gt=0, lt=2**31)]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Fractions = Annotated[
    tuple[Fraction, Fraction], BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)
]


class ComponentSettings(BaseModel):
    """A component by name, with options that the component itself checks."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    name: str

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class ModelSettings(Settings):
    name: str = Field(description="registry name: which family, template and size this is")
    path: str = Field(description="hub id, local folder or GGUF file")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="what the model computes in; auto is bfloat16 where the device has it, else float32"
    )
    attention: Literal["auto", "sdpa", "eager", "flash_attention_2"] = Field(
        default="auto", description="auto takes the fastest that the machine and the model have"
    )
    tokenizer: str | None = Field(default=None, description="where the tokenizer is, if not beside the model")


class DataSettings(Settings):
    path: str = Field(default="", description="hub id, local file, folder or glob, or package:MODULE/FILE; or --data")
    split: str = Field(default="train", description="split of a hub data set; a local file has none")
    subset: str | None = Field(default=None, description="configuration name of a hub data set")
    sheet: str | None = Field(default=None, description="sheet of a workbook; None is the first")
    mapper: str = Field(default="auto", description="registry name; auto recognises the format from the columns")
    options: dict[str, Any] = Field(default_factory=dict, description="keyword options of the mapper, such as columns")
    system: str | None = Field(default=None, description="system message of rows that carry none")
    weight: float = Field(
        default=1.0, gt=0, le=1000, description="share of this set: 0.5 takes every other row, 2 each twice"
    )
    limit: PositiveInt | None = Field(default=None, description="take only this many rows, from the start")


class OptimizerSettings(Settings):
    name: str = Field(
        default="adamw", description="registry name; 8-bit and paged ones need CUDA, elsewhere they fall back to adamw"
    )
    options: dict[str, Any] = Field(default_factory=dict, description="options that only this optimizer has")
    lr: float = Field(default=2e-4, gt=0, description="learning rate after warm-up")
    betas: Fractions = (0.9, 0.999)
    eps: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float | None = Field(default=1.0, gt=0, description="gradient norm is clipped to it; None: not")
    lora_plus_ratio: float | None = Field(default=None, gt=0, description="lr of LoRA B over that of A (LoRA+)")


class ScheduleSettings(Settings):
    name: str = Field(default="cosine", description="registry name: how the learning rate falls after warm-up")
    warmup_ratio: Fraction = Field(default=0.0, description="share of the steps in which it rises from 0")
    warmup_steps: Annotated[int, Field(ge=0, lt=2**31)] | None = Field(
        default=None, description="takes the place of the ratio"
    )
    min_lr: float = Field(default=0.0, ge=0, description="learning rate that it falls to")


class TrainSettings(Settings):
    batch_size: PositiveInt = Field(default=1, description="rows (or packs) a device takes at once")
    accumulate: PositiveInt = Field(default=1, description="micro-batches a step")
    epochs: float = Field(default=1.0, gt=0, description="times that every row is seen")
    max_steps: PositiveInt | None = Field(default=None, description="takes the place of epochs")
    gradient_checkpointing: bool | Literal["auto"] = Field(
        default="auto", description="compute activations again in backward; auto where they would fill half the memory"
    )
    neftune_alpha: float | None = Field(default=None, gt=0, description="noise on embeddings, arXiv:2310.05914")
    compile: bool | Literal["auto"] = Field(default=False, description="compile decoder layers one by one")


class CheckpointSettings(Settings):
    every: PositiveInt = Field(default=500, description="steps between checkpoints; the last step always has one")
    keep: PositiveInt = Field(default=2, description="newest checkpoints that stay")
    best: bool = Field(default=False, description="also keep the one with the lowest evaluation loss")


class EvaluationSettings(Settings):
    every: PositiveInt = Field(default=500, description="steps between evaluations")
    holdout: Fraction = Field(default=0.0, description="share of the rows, chosen by content hash, kept for evaluation")
    prompts: list[str] = Field(default_factory=list, description="questions answered at start, every N steps and end")
    system: str = Field(default="", description="system message of the prompts")
    max_new_tokens: PositiveInt = Field(default=128, description="tokens of an answer, at most")
    choices: list[DataSettings] = Field(
        default_factory=list, description="multiple-choice questions, such as MMLU's, whose accuracy is measured too"
    )
    patience: PositiveInt | None = Field(default=None, description="stop after so many evaluations without a gain")


class Config(Settings):
    """All that a run needs, by name and value. See docs/configs.md for what people change."""

    model: ModelSettings
    template: str = Field(description="registry name, or a .json file")
    objective: ComponentSettings = Field(
        default=ComponentSettings(name="sft"), description="what is learned from a row; registry name, with its options"
    )
    tuning: ComponentSettings = Field(description="how weights are tuned; registry name, with its options")
    quantization: str | ComponentSettings | None = Field(
        default=None,
        description="of the base model: none, nf4, fp4, int8, alone or with options; null is what the tuning asks for",
    )
    distributed: str | ComponentSettings = Field(
        default="auto", description="registry name, alone or with the options of that strategy"
    )
    data: Annotated[list[DataSettings], Field(min_length=1)]
    max_length: PositiveInt = Field(default=2048, le=2**24, description="tokens a sample, and a pack, may have")
    pack: bool = Field(default=True, description="join several rows to packs of max_length tokens")
    too_long: Literal["drop_turns", "truncate", "error"] = Field(
        default="drop_turns", description="what becomes of conversations of more than max_length tokens"
    )
    learn: Literal["assistant", "last", "all"] = Field(
        default="assistant", description="what is trained on: every answer, the last one, or every token"
    )
    deduplicate: bool = Field(default=False, description="drop conversations that were there before")
    optimizer: OptimizerSettings = OptimizerSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    train: TrainSettings = TrainSettings()
    checkpoint: CheckpointSettings = CheckpointSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    callbacks: list[ComponentSettings] = Field(
        default_factory=list, description="what watches the run beside progress and report; names, with their options"
    )
    visualizers: list[str] = Field(default_factory=list, description="mmengine backends, such as TensorboardVisBackend")
    seed: int = Field(default=0, ge=0, lt=2**32, description="of data order, dropout and initial adapters")

    @property
    def distributed_name(self) -> str:
        return self.distributed if isinstance(self.distributed, str) else self.distributed.name
