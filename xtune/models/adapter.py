"""LoRA adapters in peft's layout: adapter_config.json and adapter_model.safetensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from xtune.errors import ModelError

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def load_adapter(model: PreTrainedModel, folder: str | Path) -> PeftModel:
    """`model` with the adapter in `folder`, in eval mode. Raises ModelError for an incomplete adapter or one that was
    trained on another model: every weight of the adapter must find its place, and every place its weight.
    """
    from peft import PeftModel, get_peft_model_state_dict
    from peft.utils import load_peft_weights

    base = adapter_base(folder)
    try:
        tuned = PeftModel.from_pretrained(model, str(folder))
        stored = load_peft_weights(str(folder), device="cpu")
    except (ValueError, RuntimeError, OSError, KeyError) as error:
        raise ModelError(
            f"adapter {folder} does not fit this model: {_reason(error)}; it was trained on {base}: load that one"
        ) from error
    # peft adds the base weight of a head or embedding that has an adapter; we do not
    needed = set(get_peft_model_state_dict(tuned, save_embedding_layers=False))
    known = needed | set(get_peft_model_state_dict(tuned))
    if odd := sorted((needed - set(stored)) | (set(stored) - known)):
        raise ModelError(
            f"adapter {folder} does not fit this model: {len(odd)} weights differ in name, the first is {odd[0]}; "
            f"it was trained on {base}: load that one"
        )
    if getattr(tuned.peft_config["default"], "use_dora", False):
        keep_weights_readable(tuned)
    return tuned.eval()


def keep_weights_readable(model: PeftModel) -> None:
    """Sees to it that DoRA can read the quantized weights of `model`, whose norms it takes. Raises ModelError.

    On CPUs, bitsandbytes repacks 4-bit weights when they are first used, in a form that it cannot read back, and peft
    loses the scales of 8-bit ones.
    """
    base = model.get_base_model()
    if getattr(base, "is_loaded_in_8bit", False) and base.device.type == "cpu":
        raise ModelError("DoRA on 8-bit weights needs a CUDA device: got cpu; load the model unquantized or in 4 bits")
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def adapter_base(folder: str | Path) -> str:
    """The path of the model that the adapter in `folder` was trained on. Raises ModelError where it is no adapter."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ModelError(f"adapter folder does not exist: got {folder}; give the folder that convert pth_to_hf wrote")
    file = folder / "adapter_config.json"
    if not file.is_file():
        kind = "a model" if (folder / "config.json").is_file() else "neither an adapter nor a model"
        raise ModelError(f"adapter folder has no adapter_config.json: got {folder}, which is {kind}")
    if not any((folder / name).is_file() for name in ("adapter_model.safetensors", "adapter_model.bin")):
        raise ModelError(f"adapter folder has no weights (adapter_model.safetensors): got {folder}; convert it again")
    try:
        return str(json.loads(file.read_text(encoding="utf-8"))["base_model_name_or_path"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"adapter config is damaged: got {file}: {error}; convert it again") from error


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return next((line.strip() for line in lines if "mismatch" in line), lines[0] if lines else type(error).__name__)
