"""OpenBMB's MiniCPM chat templates."""

from dataclasses import replace

from xtune.templates.families.generic import CHATML
from xtune.templates.template import ChatTemplate

TEMPLATES = {
    # https://huggingface.co/openbmb/MiniCPM-2B-sft-bf16; only the last answer carries an end token
    "minicpm": ChatTemplate(
        begin="{bos}",
        system="{text|trim}",
        user="<用户>{text|trim}",
        assistant="<AI>",
        answer="{text|trim}",
        end_in_history=False,
    ),
    # https://huggingface.co/openbmb/MiniCPM3-4B
    "minicpm3": replace(CHATML, stop=("</s>",)),
}
