"""How weights are tuned: all of them, or low-rank adapters on a base that may be quantized."""

from xtune.strategies.strategy import Tuning
from xtune.strategies.tuning.full import Full
from xtune.strategies.tuning.lora import Int8Lora, Lora, QLora

TUNING: dict[str, type[Tuning]] = {"full": Full, "lora": Lora, "qlora": QLora, "int8_lora": Int8Lora}
