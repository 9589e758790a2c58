"""Microsoft's Phi chat templates."""

from xtune.templates.template import ChatTemplate

TEMPLATES = {
    # https://huggingface.co/microsoft/Phi-3-mini-4k-instruct
    "phi3_chat": ChatTemplate(
        system="<|system|>\n{text}<|end|>\n",
        user="<|user|>\n{text}<|end|>\n",
        assistant="<|assistant|>\n",
        end="<|end|>",
        tail="\n",
        close="<|endoftext|>",
        control=("<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>"),
        stop=("<|endoftext|>",),
    ),
    # https://huggingface.co/microsoft/phi-4
    "phi4_chat": ChatTemplate(
        system="<|im_start|>system<|im_sep|>{text}<|im_end|>",
        user="<|im_start|>user<|im_sep|>{text}<|im_end|>",
        assistant="<|im_start|>assistant<|im_sep|>",
        end="<|im_end|>",
        control=("<|im_start|>", "<|im_sep|>", "<|im_end|>"),
        stop=("<|endoftext|>",),
    ),
}
