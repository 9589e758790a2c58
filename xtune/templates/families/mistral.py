"""Mistral's chat template: https://huggingface.co/mistralai/Mixtral-8x7B-Instruct-v0.1 and Mistral-7B-Instruct-v0.2."""

from dataclasses import replace

from xtune.templates.template import ChatTemplate

INSTRUCT = ChatTemplate(
    begin="<s>",
    user=" [INST] {text} [/INST]",
    system_in_user=" [INST] {system}\n\n{text} [/INST]",
    answer=" {text}",
    end="</s>",
    control=("<s>", "</s>"),
)

# its third tokenizer has [INST] and [/INST] as control tokens: Mistral-7B-v0.3 and later, mistral_common's V3
V3 = replace(
    INSTRUCT,
    user="[INST] {text}[/INST]",
    system_in_user="[INST] {system}\n\n{text}[/INST]",
    answer=" {text|trim}",
    control=("<s>", "</s>", "[INST]", "[/INST]"),
)

TEMPLATES = {"mistral": INSTRUCT, "mistral_v3": V3, "mixtral": INSTRUCT}
