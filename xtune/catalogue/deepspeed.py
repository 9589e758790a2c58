"""DeepSpeed's files, as XTuner had them. "auto" is filled in from the config when training starts."""

from __future__ import annotations

from typing import Any


def _file(stage: int, **zero: Any) -> dict[str, Any]:
    return {
        "gradient_accumulation_steps": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_clipping": "auto",
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "zero_optimization": {"stage": stage, "overlap_comm": True, **zero},
        "fp16": {"enabled": "auto", "initial_scale_power": 16},
        "bf16": {"enabled": "auto"},
    }


_CPU = {"device": "cpu", "pin_memory": True}
_GATHER = {"stage3_gather_16bit_weights_on_model_save": True}

DEEPSPEED = {
    "deepspeed_zero1": _file(1),
    "deepspeed_zero2": _file(2),
    "deepspeed_zero2_offload": _file(2, offload_optimizer=_CPU),
    "deepspeed_zero3": _file(3, **_GATHER),
    "deepspeed_zero3_offload": _file(3, offload_optimizer=_CPU, offload_param=_CPU, **_GATHER),
}
