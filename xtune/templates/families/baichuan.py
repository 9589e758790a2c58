"""Baichuan's chat templates, from build_chat_input of the models; earlier answers carry no end token there."""

from xtune.templates.template import ChatTemplate

TEMPLATES = {
    # https://huggingface.co/baichuan-inc/Baichuan-13B-Chat; it knows no system message: XTuner's form
    "baichuan_chat": ChatTemplate(
        system="{text}\n",
        user="<reserved_102>{text}",
        assistant="<reserved_103>",
        end_in_history=False,
        control=("<reserved_102>", "<reserved_103>"),
        cut="turn",
    ),
    # https://huggingface.co/baichuan-inc/Baichuan2-7B-Chat
    "baichuan2_chat": ChatTemplate(
        system="{text}",
        user="<reserved_106>{text}",
        assistant="<reserved_107>",
        end_in_history=False,
        control=("<reserved_106>", "<reserved_107>"),
        cut="turn",
    ),
}
