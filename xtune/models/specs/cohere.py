"""Command R of Cohere."""

from __future__ import annotations

from xtune.models.spec import ModelSpec, sizes

MODELS = {
    "command_r": ModelSpec(
        path="CohereForAI/c4ai-command-r-v01",
        family="cohere",
        template="cohere_chat",
        context=131072,
        licence="CC-BY-NC-4.0",
        chat=True,
        config=sizes("cohere", hidden=8192, layers=40, heads=64, intermediate=22528, vocab=256000, tied=True),
    ),
}
