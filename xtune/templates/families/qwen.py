"""Qwen's chat templates."""

from dataclasses import replace

from xtune.templates.families.generic import CHATML

STOPPING = replace(CHATML, stop=("<|endoftext|>",))
# Qwen2.5's vocabulary has <tool_call> as a token, and <tool_response> not; Qwen3's has both
TOOLS = replace(
    STOPPING,
    tools_begin="<|im_start|>user",
    tool="\n<tool_response>\n{text}\n</tool_response>",
    tools_end="<|im_end|>\n",
    markup=("<tool_call>", "</tool_call>"),
)
TOOLS3 = replace(TOOLS, control=(*TOOLS.control, "<tool_response>", "</tool_response>"))
THINK = ("<think>", "</think>")

TEMPLATES = {
    # Qwen-1: make_context in https://huggingface.co/Qwen/Qwen-7B-Chat, which encodes each message by itself
    "qwen_chat": replace(STOPPING, default_system="You are a helpful assistant.", cut="turn"),
    # https://huggingface.co/Qwen/Qwen1.5-7B-Chat
    "qwen1_5_chat": replace(STOPPING, default_system="You are a helpful assistant"),
    # https://huggingface.co/Qwen/Qwen2-7B-Instruct
    "qwen2_chat": replace(STOPPING, default_system="You are a helpful assistant."),
    # https://huggingface.co/Qwen/Qwen2.5-7B-Instruct
    "qwen2_5_chat": replace(
        TOOLS, default_system="You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
    ),
    # https://huggingface.co/Qwen/Qwen3-8B; a chat that asks for no reasoning writes an empty one into its prompt
    "qwen3_chat": replace(
        TOOLS3,
        thinking="<think>\n{thinking}\n</think>\n\n{text|trim_start_lines}",
        control=(*TOOLS3.control, *THINK),
    ),
    # https://huggingface.co/Qwen/Qwen3-4B-Instruct-2507, which does not reason
    "qwen3_instruct_chat": replace(TOOLS3, markup=(*TOOLS3.markup, *THINK)),
}
