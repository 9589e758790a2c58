"""The built-in mappers, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xtune.mappers import alpaca, chat, moss, msagent, preference, single_turn

MAPPERS: dict[str, Callable[..., Any]] = {
    "alpaca": alpaca.alpaca,
    "alpaca_zh": alpaca.alpaca_zh,
    "arxiv": single_turn.arxiv,
    "code_alpaca": single_turn.code_alpaca,
    "colors": single_turn.colors,
    "conversation": chat.conversation,
    "crime_kg_assitant": single_turn.crime_kg_assitant,
    "default": single_turn.default,
    "law_reference": single_turn.law_reference,
    "medical": single_turn.medical,
    "medical_zh": single_turn.medical_zh,
    "moss_sft": moss.moss_sft,
    "msagent_react": msagent.msagent_react,
    "oasst1": chat.oasst1,
    "openai": chat.openai,
    "openorca": single_turn.openorca,
    "preference": preference.preference,
    "pretrain": chat.pretrain,
    "self_identity": alpaca.self_identity,
    "sharegpt": chat.sharegpt,
    "sql": single_turn.sql,
    "stack_exchange": single_turn.stack_exchange,
    "tiny_codes": single_turn.tiny_codes,
    "wizardlm": chat.sharegpt,
}
