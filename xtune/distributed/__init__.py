"""How the work is distributed over processes."""

from xtune.distributed.ddp import Auto, Ddp
from xtune.distributed.deepspeed import DeepSpeed, zero
from xtune.distributed.fsdp import Fsdp
from xtune.distributed.parallel import Distributed
from xtune.distributed.single import Single

ZERO = ("deepspeed_zero1", "deepspeed_zero2", "deepspeed_zero2_offload", "deepspeed_zero3", "deepspeed_zero3_offload")

DISTRIBUTED: dict[str, type[Distributed]] = {
    "auto": Auto,
    "single": Single,
    "ddp": Ddp,
    "fsdp": Fsdp,
    "deepspeed": DeepSpeed,
    **{name: zero(name) for name in ZERO},
}
