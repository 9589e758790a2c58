"""What transformers does to a model's tensors on the way to disk, without the writing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def stored_tensors(model: Any) -> dict[str, Tensor]:
    """The tensors of a transformers model by the names that its checkpoints have; tied ones under each of theirs.

    Families of fused weights (experts, q, k and v) come apart again, as save_pretrained takes them.
    """
    from transformers.core_model_loading import revert_weight_conversion

    state = model.state_dict()
    for name in model._keys_to_ignore_on_save or ():
        state.pop(name, None)
    found: dict[str, Tensor] = revert_weight_conversion(model, state)
    return found
