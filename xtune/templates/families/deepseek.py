"""DeepSeek's chat templates."""

from xtune.templates.template import ChatTemplate

BEGIN, END = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"

CODER = ChatTemplate(
    begin="{bos}",
    system="{text}",
    default_system=(
        "You are an AI programming assistant, utilizing the Deepseek Coder model, developed by Deepseek Company, and "
        "you only answer questions related to computer science. For politically sensitive questions, security and "
        "privacy issues, and other non-computer science questions, you will refuse to answer\n"
    ),
    user="### Instruction:\n{text}\n",
    assistant="### Response:\n",
    answer="{text}\n",
    end="<|EOT|>",
    tail="\n",
    control=("<|EOT|>",),
)
LLM = ChatTemplate(
    begin=BEGIN,
    system="{text}\n\n",
    user="User: {text}\n\n",
    assistant="Assistant:",
    answer=" {text}",
    end=END,
    control=(BEGIN, END),
)

TEMPLATES = {
    # https://huggingface.co/deepseek-ai/deepseek-coder-6.7b-instruct
    "deepseek_coder": CODER,
    "deepseekcoder": CODER,
    # https://huggingface.co/deepseek-ai/deepseek-moe-16b-chat
    "deepseek_moe": LLM,
    # https://huggingface.co/deepseek-ai/DeepSeek-V2-Chat
    "deepseek_v2": LLM,
    # https://huggingface.co/deepseek-ai/DeepSeek-R1-Distill-Qwen-32B; its own template drops the reasoning of every
    # answer, the last one's too, and so cannot show a training sample
    "deepseek_r1": ChatTemplate(
        begin=BEGIN,
        system="{text}",
        user="<｜User｜>{text}",
        assistant="<｜Assistant｜>",
        answer="{after_thinking}",
        thinking_prompt="<think>\n",
        thinking="{thinking}\n</think>\n\n{text}",
        end=END,
        control=(BEGIN, END, "<｜User｜>", "<｜Assistant｜>", "<think>", "</think>"),
    ),
}
