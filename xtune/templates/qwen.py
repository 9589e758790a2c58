"""Qwen's chat templates."""

from xtune.templates.template import ChatTemplate

TEMPLATES = {
    # Qwen-1: make_context in https://huggingface.co/Qwen/Qwen-7B-Chat, which encodes each message by itself
    "qwen_chat": ChatTemplate(
        system="<|im_start|>system\n{text}<|im_end|>\n",
        user="<|im_start|>user\n{text}<|im_end|>\n",
        assistant="<|im_start|>assistant\n",
        end="<|im_end|>",
        tail="\n",
        default_system="You are a helpful assistant.",
        control=("<|im_start|>", "<|im_end|>"),
        stop=("<|endoftext|>",),
        cut="turn",
    ),
}
