"""ChatML, and templates that were trained into several vendors' models."""

from dataclasses import replace

from xtune.templates.template import ChatTemplate

CHATML = ChatTemplate(
    system="<|im_start|>system\n{text}<|im_end|>\n",
    user="<|im_start|>user\n{text}<|im_end|>\n",
    assistant="<|im_start|>assistant\n",
    end="<|im_end|>",
    tail="\n",
    control=("<|im_start|>", "<|im_end|>"),
)

VICUNA = ChatTemplate(
    begin="{bos}",
    system="{text} ",
    default_system=(
        "A chat between a curious user and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the user's questions."
    ),
    user="USER: {text} ",
    assistant="ASSISTANT:",
    answer=" {text}",
)
SMOLLM2 = replace(CHATML, default_system="You are a helpful AI assistant named SmolLM, trained by Hugging Face")
ZEPHYR = ChatTemplate(
    system="<|system|>\n{text}</s>\n",
    user="<|user|>\n{text}</s>\n",
    assistant="<|assistant|>\n",
    end="</s>",
    tail="\n",
    control=("</s>",),
)

TEMPLATES = {
    # as XTuner writes it: a begin token in front of every round
    "default": ChatTemplate(
        begin="{bos}",
        system="<|System|>:{text}\n",
        user="<|User|>:{text}\n",
        assistant="<|Bot|>:",
        tail="\n",
        between="{bos}",
        cut="answer",
    ),
    # https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct
    "chatml": SMOLLM2,
    "smollm2": SMOLLM2,
    # https://huggingface.co/01-ai/Yi-6B-Chat
    "yi_chat": CHATML,
    # https://github.com/lm-sys/FastChat/blob/main/fastchat/conversation.py, vicuna_v1.1; WizardLM 1.1 took it over
    "vicuna": VICUNA,
    "wizardlm": VICUNA,
    # https://github.com/nlpxucan/WizardLM/blob/main/WizardCoder/src/train_wizardcoder.py; it knows one round only
    "wizardcoder": ChatTemplate(
        begin="{bos}",
        system="{text}\n\n",
        default_system=(
            "Below is an instruction that describes a task. Write a response that appropriately completes the request."
        ),
        user="### Instruction:\n{text}\n\n",
        assistant="### Response:",
        between="\n\n",
        cut="answer",
    ),
    # https://huggingface.co/HuggingFaceH4/zephyr-7b-beta
    "zephyr": ZEPHYR,
    # https://huggingface.co/TinyLlama/TinyLlama-1.1B-Chat-v1.0
    "tinyllama_chat": ZEPHYR,
    # https://github.com/OpenMOSS/MOSS, moss-003-sft; its tokens are spelled out, for models that do not have them. The
    # model writes the marks of its own parts (thoughts, commands, answer), so they stand in the turns: mappers.moss
    "moss_sft": ChatTemplate(
        begin="{bos}",
        system="{text}\n",
        user="<|Human|>: {text}<eoh>\n",
        end="",
        tool="{text}",
        stop=("<eoc>", "<eom>"),
    ),
}
