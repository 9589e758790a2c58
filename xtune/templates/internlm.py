"""InternLM's chat templates, from the models' own build_inputs."""

from xtune.templates.template import ChatTemplate

TEMPLATES = {
    # https://huggingface.co/internlm/internlm-chat-7b, its first release; it knows no system message: XTuner's form
    "internlm_chat": ChatTemplate(
        begin="<s>",
        system="<|System|>:{text}\n",
        user="<|User|>:{text}<eoh>\n",
        assistant="<|Bot|>:",
        end="<eoa>",
        tail="\n",
        control=("<s>", "<eoh>", "<eoa>"),
    ),
    # https://huggingface.co/internlm/internlm2-chat-7b
    "internlm2_chat": ChatTemplate(
        begin="<s>",
        system="<|im_start|>system\n{text}<|im_end|>\n",
        user="<|im_start|>user\n{text}<|im_end|>\n",
        assistant="<|im_start|>assistant\n",
        end="<|im_end|>",
        tail="\n",
        control=("<s>", "<|im_start|>", "<|im_end|>"),
    ),
}
