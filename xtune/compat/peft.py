"""peft: what the names of transformers 4 mean in a model of transformers 5."""

from __future__ import annotations

from typing import Any


def converted_targets(names: str | set[str], model: Any) -> tuple[str | set[str], list[str]]:
    """Modules ("all-linear", or names) and parameters that adapters for `names` go on in `model`, after peft's renaming
    of those of transformers 4, such as an expert's `w1`, to the weights of today.

    Raises ValueError for names that cannot be renamed.
    """
    from peft import LoraConfig
    from peft.utils.transformers_weight_conversion import convert_peft_config_for_transformers

    probe = LoraConfig(target_modules=names)
    convert_peft_config_for_transformers(probe, model, conversions=None)
    return probe.target_modules, sorted(probe.target_parameters or ())
