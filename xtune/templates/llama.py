"""Meta's Llama chat templates."""

from xtune.templates.template import ChatTemplate

TEMPLATES = {
    # https://github.com/meta-llama/llama/blob/main/llama/generation.py
    "llama2_chat": ChatTemplate(
        user="<s>[INST] {text|trim} [/INST]",
        system_in_user="<s>[INST] <<SYS>>\n{system}\n<</SYS>>\n\n{text|trim_end} [/INST]",
        answer=" {text|trim} ",
        end="</s>",
        control=("<s>", "</s>"),
    ),
    # https://github.com/meta-llama/llama3/blob/main/llama/tokenizer.py, ChatFormat
    "llama3_chat": ChatTemplate(
        begin="<|begin_of_text|>",
        system="<|start_header_id|>system<|end_header_id|>\n\n{text|trim}<|eot_id|>",
        user="<|start_header_id|>user<|end_header_id|>\n\n{text|trim}<|eot_id|>",
        assistant="<|start_header_id|>assistant<|end_header_id|>\n\n",
        end="<|eot_id|>",
        control=("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        answer="{text|trim}",
        stop=("<|end_of_text|>",),
    ),
}
