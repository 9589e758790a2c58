"""Templates that belong to no vendor: XTuner's `default`, and ChatML."""

from xtune.templates.template import ChatTemplate

TEMPLATES = {
    # as XTuner writes it: a begin token in front of every round
    "default": ChatTemplate(
        begin="{bos}",
        system="<|System|>:{text}\n",
        user="<|User|>:{text}\n",
        assistant="<|Bot|>:",
        tail="\n",
        between="{bos}",
    ),
    # as SmolLM2 has it: https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct
    "chatml": ChatTemplate(
        system="<|im_start|>system\n{text}<|im_end|>\n",
        user="<|im_start|>user\n{text}<|im_end|>\n",
        assistant="<|im_start|>assistant\n",
        end="<|im_end|>",
        tail="\n",
        default_system="You are a helpful AI assistant named SmolLM, trained by Hugging Face",
        control=("<|im_start|>", "<|im_end|>"),
    ),
}
