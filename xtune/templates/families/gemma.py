"""Google's Gemma chat templates. Gemma 1 and 2 refuse a system message; here it stands where Gemma 3 puts it."""

from xtune.templates.template import ChatTemplate

GEMMA = ChatTemplate(
    begin="<bos>",
    user="<start_of_turn>user\n{text|trim}<end_of_turn>\n",
    system_in_user="<start_of_turn>user\n{system}\n\n{text|trim}<end_of_turn>\n",
    assistant="<start_of_turn>model\n",
    answer="{text|trim}",
    end="<end_of_turn>",
    tail="\n",
    control=("<bos>", "<start_of_turn>", "<end_of_turn>"),
    stop=("<eos>",),
)

# https://huggingface.co/google/gemma-7b-it, gemma-2-9b-it and gemma-3-1b-it
TEMPLATES = {"gemma": GEMMA, "gemma2": GEMMA, "gemma3": GEMMA}
