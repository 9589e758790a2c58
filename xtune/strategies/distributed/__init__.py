"""How the work is spread over processes."""

from xtune.strategies.distributed.ddp import Auto, Ddp
from xtune.strategies.distributed.parallel import Distributed
from xtune.strategies.distributed.single import Single

DISTRIBUTED: dict[str, type[Distributed]] = {"auto": Auto, "single": Single, "ddp": Ddp}
