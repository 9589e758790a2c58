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


Pair = Annotated[tuple[float, float], BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)]
PositiveInt = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]


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
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    attention: Literal["auto", "sdpa", "eager", "flash_attention_2"] = "auto"
    tokenizer: str | None = Field(default=None, description="where the tokenizer is, if not beside the model")


class DataSettings(Settings):
    path: str = Field(description="hub id, local file, folder or glob, or package:MODULE/FILE")
    split: str = Field(default="train", description="split of a hub data set; a local file has none")
    subset: str | None = Field(default=None, description="configuration name of a hub data set")
    sheet: str | None = Field(default=None, description="sheet of a workbook; None is the first")
    mapper: str = Field(default="auto", description="registry name; auto recognises the format from the columns")
    options: dict[str, Any] = Field(default_factory=dict, description="keyword options of the mapper, such as columns")
    system: str | None = Field(default=None, description="system message of rows that carry none")
    weight: float = Field(default=1.0, gt=0, description="share of this set: 0.5 takes every other row, 2 each twice")
    limit: PositiveInt | None = Field(default=None, description="take only this many rows, from the start")


class OptimizerSettings(Settings):
    name: str = "adamw"
    lr: float = Field(default=2e-4, gt=0)
    betas: Pair = (0.9, 0.999)
    eps: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float | None = Field(default=1.0, gt=0, description="gradient norm is clipped to it; None: not")
    lora_plus_ratio: float | None = Field(default=None, gt=0, description="lr of LoRA B over that of A (LoRA+)")


class ScheduleSettings(Settings):
    name: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_ratio: Fraction = 0.0
    warmup_steps: Annotated[int, Field(ge=0)] | None = Field(default=None, description="takes the place of the ratio")
    min_lr: float = Field(default=0.0, ge=0)


class TrainSettings(Settings):
    batch_size: PositiveInt = Field(default=1, description="rows (or packs) a device takes at once")
    accumulate: PositiveInt = Field(default=1, description="micro-batches a step")
    epochs: float = Field(default=1.0, gt=0)
    max_steps: PositiveInt | None = Field(default=None, description="takes the place of epochs")
    gradient_checkpointing: bool | Literal["auto"] = "auto"
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
    system: str = ""
    max_new_tokens: PositiveInt = 128
    patience: PositiveInt | None = Field(default=None, description="stop after so many evaluations without a gain")


class Config(Settings):
    """All that a run needs, by name and value. See docs/configs.md for what people change."""

    model: ModelSettings
    template: str
    tuning: ComponentSettings
    distributed: str | ComponentSettings = "auto"
    data: Annotated[list[DataSettings], Field(min_length=1)]
    max_length: PositiveInt = Field(default=2048, description="tokens a sample, and a pack, may have")
    pack: bool = True
    too_long: Literal["drop_turns", "truncate", "error"] = "drop_turns"
    learn: Literal["assistant", "last", "all"] = "assistant"
    deduplicate: bool = False
    optimizer: OptimizerSettings = OptimizerSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    train: TrainSettings = TrainSettings()
    checkpoint: CheckpointSettings = CheckpointSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    visualizers: list[str] = Field(default_factory=list, description="mmengine backends, such as TensorboardVisBackend")
    seed: Annotated[int, Field(ge=0)] = 0
