"""How an answer is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Sampling:
    """`temperature` (from 0 on) divides the logits; at 0 the likeliest token is always taken. `top_p` (over 0, up to 1)
    is the share of probability that tokens are drawn from: nucleus sampling, arXiv:1904.09751.
    """

    max_new_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0

    def options(self) -> dict[str, Any]:
        """The arguments of transformers' generate(). Those not named here would come from the model's own settings."""
        drawn = self.temperature > 0
        chosen = {"temperature": self.temperature, "top_p": self.top_p, "top_k": 0} if drawn else NEVER
        return {"max_new_tokens": self.max_new_tokens, "do_sample": drawn, **chosen}


NEVER = dict.fromkeys(("temperature", "top_p", "top_k"))
"""What generate() warns of where a model's own settings have it and nothing is drawn."""
GREEDY = Sampling()
