"""Mistral's chat template: https://huggingface.co/mistralai/Mixtral-8x7B-Instruct-v0.1 and Mistral-7B-Instruct-v0.2."""

from xtune.templates.template import ChatTemplate

INSTRUCT = ChatTemplate(
    begin="<s>",
    user=" [INST] {text} [/INST]",
    system_in_user=" [INST] {system}\n\n{text} [/INST]",
    answer=" {text}",
    end="</s>",
    control=("<s>", "</s>"),
)

TEMPLATES = {"mistral": INSTRUCT, "mixtral": INSTRUCT}
