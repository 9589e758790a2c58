"""What lies in an adapter's folder, read and judged before a base model is loaded for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field
from typing_extensions import TypedDict

from xtune.errors import ModelError
from xtune.foreign import foreign, read_json
from xtune.models.weight_files import refuse_damaged

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
AGAIN = "convert it again, or download it again"

Rank = Annotated[int, Field(gt=0)]
Alpha = Annotated[float, Field(allow_inf_nan=False)]
Names = list[str] | None


class AdapterConfig(TypedDict, total=False):
    """The fields of adapter_config.json that decide what an adapter computes; peft takes values of any type."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    base_model_name_or_path: str | None
    peft_type: str
    r: Rank
    lora_alpha: Alpha
    lora_dropout: Annotated[float, Field(ge=0, lt=1)]
    target_modules: Names | str
    target_parameters: Names
    exclude_modules: Names | str
    modules_to_save: Names
    layers_to_transform: list[int] | int | None
    layers_pattern: Names | str
    rank_pattern: dict[str, Rank] | None
    alpha_pattern: dict[str, Alpha] | None
    bias: Literal["none", "all", "lora_only"]
    use_rslora: bool
    use_dora: bool
    fan_in_fan_out: bool
    init_lora_weights: bool | str | None


def check_adapter(folder: str | Path) -> None:
    """Raises ModelError for what load_adapter would, as far as the adapter's files alone show it: in time, before
    minutes of loading the base.
    """
    read_adapter_config(folder)
    read_adapter_weights(folder)


def read_adapter_config(folder: str | Path) -> dict[str, Any]:
    """adapter_config.json of the adapter in `folder`. Raises ModelError where it is damaged or there is no adapter."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ModelError(
            f"adapter folder does not exist: got `{folder}`", "give the folder that convert pth_to_hf wrote"
        )
    file = folder / "adapter_config.json"
    if not file.is_file():
        kind = "a model" if (folder / "config.json").is_file() else "neither an adapter nor a model"
        raise ModelError(
            f"adapter folder has no adapter_config.json: got `{folder}`, which is {kind}",
            "give the folder that convert pth_to_hf wrote",
        )
    if not any((folder / name).is_file() for name in WEIGHTS):
        raise ModelError(
            f"adapter folder has no weights (adapter_model.safetensors): got `{folder}`", "convert it again"
        )
    config: dict[str, Any] = read_json(file, what="adapter config", error=ModelError, hint=AGAIN, shape=AdapterConfig)
    return config


def read_adapter_weights(folder: str | Path) -> dict[str, Tensor]:
    """The tensors of the adapter in `folder`, on the CPU. Raises ModelError for files that are damaged and for tensors
    that no training can have left: see refuse_untrainable.
    """
    from peft.utils import load_peft_weights

    refuse_damaged([file for name in WEIGHTS if (file := Path(folder, name)).is_file()][:1])
    with foreign(f"adapter {folder} cannot be read", ModelError, AGAIN):
        tensors: dict[str, Tensor] = load_peft_weights(str(folder), device="cpu")
    refuse_untrainable(f"adapter {folder}", tensors)
    return tensors


def refuse_untrainable(what: str, tensors: dict[str, Tensor]) -> None:
    """Raises ModelError, which begins with `what`, for no tensors at all, for others than 16 to 64 bit floats, and for
    NaN and infinity: they would be cast, or end in every weight that they are merged into, silently.
    """
    import torch

    floats = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    if not tensors:
        raise ModelError(f"{what} holds no weights: got an empty file", AGAIN)
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor) or tensor.dtype not in floats:
            kind = str(getattr(tensor, "dtype", type(tensor).__name__)).removeprefix("torch.")
            raise ModelError(f"{what} should hold floats of 16 to 64 bits: got `{kind}` in `{name}`", AGAIN)
        if not torch.isfinite(tensor).all():
            bad = int((~torch.isfinite(tensor)).sum())
            raise ModelError(
                f"{what} holds values that are not finite: got {bad} of {tensor.numel()} in `{name}`",
                "take an earlier checkpoint",
            )
