"""How weights are tuned: all of them, or low-rank adapters on a base that may be quantized."""

from xtune.tuning.full import Full
from xtune.tuning.lora import Int8Lora, Lora, QLora
from xtune.tuning.tuning import Tuning

TUNING: dict[str, type[Tuning]] = {"full": Full, "lora": Lora, "qlora": QLora, "int8_lora": Int8Lora}
