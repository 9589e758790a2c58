"""Meta's Llama chat templates."""

from dataclasses import replace

from xtune.templates.template import ChatTemplate

LLAMA2 = ChatTemplate(
    user="<s>[INST] {text|trim} [/INST]",
    system_in_user="<s>[INST] <<SYS>>\n{system}\n<</SYS>>\n\n{text|trim_end} [/INST]",
    answer=" {text|trim} ",
    end="</s>",
    control=("<s>", "</s>"),
)
LLAMA3 = ChatTemplate(
    begin="<|begin_of_text|>",
    system="<|start_header_id|>system<|end_header_id|>\n\n{text|trim}<|eot_id|>",
    user="<|start_header_id|>user<|end_header_id|>\n\n{text|trim}<|eot_id|>",
    assistant="<|start_header_id|>assistant<|end_header_id|>\n\n",
    answer="{text|trim}",
    end="<|eot_id|>",
    control=("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    stop=("<|end_of_text|>",),
)
# 3.1 names this day, and 3.2 the day it is asked on; one day here, so that data prepared twice is the same
DATED = replace(
    LLAMA3,
    system=(
        "<|start_header_id|>system<|end_header_id|>\n\n"
        "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n{text|trim}<|eot_id|>"
    ),
    default_system="",
    tool="<|start_header_id|>ipython<|end_header_id|>\n\n{text|json}<|eot_id|>",
    stop=("<|eom_id|>", "<|end_of_text|>"),
)

TEMPLATES = {
    # https://github.com/meta-llama/llama/blob/main/llama/generation.py
    "llama2_chat": LLAMA2,
    # https://github.com/meta-llama/codellama/blob/main/llama/generation.py
    "code_llama_chat": LLAMA2,
    # https://github.com/meta-llama/llama3/blob/main/llama/tokenizer.py, ChatFormat
    "llama3_chat": LLAMA3,
    # https://huggingface.co/meta-llama/Llama-3.1-8B-Instruct
    "llama3_1_chat": DATED,
    # https://huggingface.co/meta-llama/Llama-3.2-1B-Instruct
    "llama3_2_chat": DATED,
}
