"""LoRA adapters in peft's layout: adapter_config.json and adapter_model.safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xtune.compat.bitsandbytes import keep_weights_readable
from xtune.errors import ModelError
from xtune.foreign import foreign
from xtune.models.adapter_files import read_adapter_config, read_adapter_weights

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def load_adapter(model: PreTrainedModel, folder: str | Path) -> PeftModel:
    """`model` with the adapter in `folder`, in eval mode. Raises ModelError for a damaged adapter or one that was
    trained on another model: every weight of the adapter must find its place, and every place its weight.
    """
    from peft import PeftModel, get_peft_model_state_dict

    base = read_adapter_config(folder).get("base_model_name_or_path") or "another"
    misfit, hint = f"adapter {folder} does not fit this model", f"it was trained on {base}: load that one"
    stored = read_adapter_weights(folder)
    with foreign(misfit, ModelError, hint):
        try:
            tuned = PeftModel.from_pretrained(model, str(folder))
        except RuntimeError as error:
            if lines := [line.strip() for line in str(error).splitlines() if "size mismatch" in line]:
                raise ModelError(f"{misfit}: {lines[0]}", hint) from error
            raise
        # peft adds the base weight of a head or embedding that has an adapter; we do not
        needed = set(get_peft_model_state_dict(tuned, save_embedding_layers=False))
        known = needed | set(get_peft_model_state_dict(tuned))
    if odd := sorted((needed - set(stored)) | (set(stored) - known)):
        raise ModelError(f"{misfit}: {len(odd)} weights differ in name, the first is {odd[0]}", hint)
    if getattr(tuned.peft_config["default"], "use_dora", False):
        let_dora_read(tuned)
    return tuned.eval()


def let_dora_read(model: PeftModel) -> None:
    """Sees to it that DoRA can read the quantized weights of `model`, whose norms it takes. Raises ModelError.

    On CPUs, bitsandbytes repacks 4-bit weights when they are first used, in a form that it cannot read back, and peft
    loses the scales of 8-bit ones.
    """
    base = model.get_base_model()
    if getattr(base, "is_loaded_in_8bit", False) and base.device.type == "cpu":
        raise ModelError(
            "DoRA on 8-bit weights needs a CUDA device: got cpu", "load the model unquantized or in 4 bits"
        )
    keep_weights_readable(model)


def adapter_base(folder: str | Path) -> str:
    """The path of the model that the adapter in `folder` was trained on. Raises ModelError where it is no adapter, and
    where it does not say.
    """
    base = read_adapter_config(folder).get("base_model_name_or_path")
    if not base:
        raise ModelError(f"adapter {folder} does not say which model it was trained on", "give the model too")
    return str(base)
