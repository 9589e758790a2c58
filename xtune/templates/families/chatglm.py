"""ChatGLM's chat templates. Earlier answers carry no end token there."""

from xtune.templates.template import ChatTemplate

ROLES = ("<|system|>", "<|user|>", "<|assistant|>", "<|observation|>")

TEMPLATES = {
    # build_prompt in https://huggingface.co/THUDM/chatglm2-6b; it knows no system message: XTuner's form
    "chatglm2": ChatTemplate(
        begin="[gMASK]sop",
        user="[Round {round}]\n\n问：{text}\n\n答：",
        between="\n\n",
        end_in_history=False,
        control=("[gMASK]", "sop"),
    ),
    # build_chat_input in https://huggingface.co/THUDM/chatglm3-6b, which encodes each message by itself; the model
    # itself writes the new line after <|assistant|>
    "chatglm3": ChatTemplate(
        begin="[gMASK]sop",
        system="<|system|>\n{text}",
        user="<|user|>\n{text}",
        assistant="<|assistant|>",
        answer="\n{text}",
        tool="<|observation|>\n{text}",
        end_in_history=False,
        control=("[gMASK]", "sop", *ROLES),
        stop=("<|user|>", "<|observation|>"),
        cut="turn",
    ),
    # https://huggingface.co/THUDM/glm-4-9b-chat, which ends an answer with the token of the next question
    "glm4_chat": ChatTemplate(
        begin="[gMASK]<sop>",
        system="<|system|>\n{text}",
        user="<|user|>\n{text}",
        assistant="<|assistant|>",
        answer="\n{text}",
        tool="<|observation|>\n{text}",
        end="<|user|>",
        end_in_history=False,
        control=("[gMASK]", "<sop>", *ROLES),
        stop=("<|endoftext|>", "<|observation|>"),
    ),
}
