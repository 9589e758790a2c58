"""InternLM's chat templates, from the models' own build_inputs and chat templates."""

from dataclasses import replace

from xtune.templates.families.generic import CHATML
from xtune.templates.template import ChatTemplate

INTERNLM2 = replace(CHATML, begin="<s>", control=("<s>", *CHATML.control))

TEMPLATES = {
    # https://huggingface.co/internlm/internlm-chat-7b, its first release; it knows no system message: XTuner's form
    "internlm_chat": ChatTemplate(
        begin="<s>",
        system="<|System|>:{text}\n",
        user="<|User|>:{text}<eoh>\n",
        assistant="<|Bot|>:",
        end="<eoa>",
        tail="\n",
        control=("<s>", "<eoh>", "<eoa>"),
        cut="answer",
    ),
    # https://huggingface.co/internlm/internlm2-chat-7b
    "internlm2_chat": INTERNLM2,
    # https://huggingface.co/internlm/internlm3-8b-instruct
    "internlm3_chat": INTERNLM2,
}
