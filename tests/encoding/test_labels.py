"""Which ids are trained on, template by template: written by hand, what is trained on between ⟦ and ⟧."""

import pytest
from readable import marked

from xtune import ChatTemplate, Conversation, Turn, encode, render
from xtune.encoding.encoder import Encoder
from xtune.errors import DataError

TURNS = (
    Turn("system", "S"),
    Turn("user", "u1"),
    Turn("assistant", "a1"),
    Turn("user", "u2"),
    Turn("assistant", "a2"),
)
IM = (
    "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nu1<|im_end|>\n<|im_start|>assistant\n⟦a1<|im_end|>⟧\n"
    "<|im_start|>user\nu2<|im_end|>\n<|im_start|>assistant\n⟦a2<|im_end|>⟧\n"
)
HEADERS = (
    "S<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nu1<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n⟦a1<|eot_id|>⟧"
    "<|start_header_id|>user<|end_header_id|>\n\nu2<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n⟦a2<|eot_id|>⟧"
)
DATED = (
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
    "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n" + HEADERS
)
LLAMA2 = "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\nu1 [/INST]⟦ a1 </s>⟧<s>[INST] u2 [/INST]⟦ a2 </s>⟧"
VICUNA = "<BOS>S USER: u1 ASSISTANT:⟦ a1<EOS>⟧USER: u2 ASSISTANT:⟦ a2<EOS>⟧"
ZEPHYR = "<|system|>\nS</s>\n<|user|>\nu1</s>\n<|assistant|>\n⟦a1</s>⟧\n<|user|>\nu2</s>\n<|assistant|>\n⟦a2</s>⟧\n"
CODER = "<BOS>S### Instruction:\nu1\n### Response:\n⟦a1\n<|EOT|>⟧\n### Instruction:\nu2\n### Response:\n⟦a2\n<|EOT|>⟧\n"
DEEPSEEK = (
    "<｜begin▁of▁sentence｜>S\n\nUser: u1\n\nAssistant:⟦ a1<｜end▁of▁sentence｜>⟧"
    "User: u2\n\nAssistant:⟦ a2<｜end▁of▁sentence｜>⟧"
)
GEMMA = (
    "<bos><start_of_turn>user\nS\n\nu1<end_of_turn>\n<start_of_turn>model\n⟦a1<end_of_turn>⟧\n"
    "<start_of_turn>user\nu2<end_of_turn>\n<start_of_turn>model\n⟦a2<end_of_turn>⟧\n"
)
MISTRAL = "<s> [INST] S\n\nu1 [/INST]⟦ a1</s>⟧ [INST] u2 [/INST]⟦ a2</s>⟧"
MISTRAL_V3 = "<s>[INST] S\n\nu1[/INST]⟦ a1</s>⟧[INST] u2[/INST]⟦ a2</s>⟧"
SMOLLM3 = (
    "<|im_start|>system\n## Metadata\n\nKnowledge Cutoff Date: June 2025\nToday Date: 26 July 2024\n"
    "Reasoning Mode: {mode}\n\n## Custom Instructions\n\nS\n\n"
    "<|im_start|>user\nu1<|im_end|>\n<|im_start|>assistant\n{empty}⟦a1<|im_end|>⟧\n"
    "<|im_start|>user\nu2<|im_end|>\n<|im_start|>assistant\n{empty}⟦a2<|im_end|>⟧\n"
)

TRAINED = {
    "default": "<BOS><|System|>:S\n<|User|>:u1\n<|Bot|>:⟦a1<EOS>⟧\n<BOS><|User|>:u2\n<|Bot|>:⟦a2<EOS>⟧\n",
    "chatml": IM,
    "smollm2": IM,
    "yi_chat": IM,
    "minicpm3": IM,
    "qwen_chat": IM,
    "qwen1_5_chat": IM,
    "qwen2_chat": IM,
    "qwen2_5_chat": IM,
    "qwen3_instruct_chat": IM,
    # the model writes its reasoning, here an empty one; where it stands without, it is no answer to learn
    "qwen3_chat": IM.replace("⟦a1<|im_end|>⟧", "a1<|im_end|>").replace("⟦a2", "⟦<think>\n\n</think>\n\na2"),
    "internlm_chat": ("<s><|System|>:S\n<|User|>:u1<eoh>\n<|Bot|>:⟦a1<eoa>⟧\n<|User|>:u2<eoh>\n<|Bot|>:⟦a2<eoa>⟧\n"),
    "internlm2_chat": "<s>" + IM,
    "internlm3_chat": "<s>" + IM,
    "llama2_chat": LLAMA2,
    "code_llama_chat": LLAMA2,
    "llama3_chat": "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n" + HEADERS,
    "llama3_1_chat": DATED,
    "llama3_2_chat": DATED,
    "chatglm2": "[gMASK]sopS\n[Round 1]\n\n问：u1\n\n答：⟦a1⟧\n\n[Round 2]\n\n问：u2\n\n答：⟦a2<EOS>⟧",
    "chatglm3": "[gMASK]sop<|system|>\nS<|user|>\nu1<|assistant|>⟦\na1⟧<|user|>\nu2<|assistant|>⟦\na2<EOS>⟧",
    # the token of the next question is what ends an answer
    "glm4_chat": ("[gMASK]<sop><|system|>\nS<|user|>\nu1<|assistant|>⟦\na1<|user|>⟧\nu2<|assistant|>⟦\na2<|user|>⟧"),
    "baichuan_chat": "S\n<reserved_102>u1<reserved_103>⟦a1⟧<reserved_102>u2<reserved_103>⟦a2<EOS>⟧",
    "baichuan2_chat": "S<reserved_106>u1<reserved_107>⟦a1⟧<reserved_106>u2<reserved_107>⟦a2<EOS>⟧",
    "vicuna": VICUNA,
    "wizardlm": VICUNA,
    "wizardcoder": (
        "<BOS>S\n\n### Instruction:\nu1\n\n### Response:⟦a1<EOS>⟧\n\n### Instruction:\nu2\n\n### Response:⟦a2<EOS>⟧"
    ),
    "zephyr": ZEPHYR,
    "tinyllama_chat": ZEPHYR,
    # the turns of its data carry the marks of the model's own parts, the end mark too
    "moss_sft": "<BOS>S\n<|Human|>: u1<eoh>\n⟦a1⟧<|Human|>: u2<eoh>\n⟦a2⟧",
    "cohere_chat": (
        "<BOS_TOKEN><|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>S<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>u1<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>⟦a1<|END_OF_TURN_TOKEN|>⟧"
        "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>u2<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>⟦a2<|END_OF_TURN_TOKEN|>⟧"
    ),
    "deepseek_coder": CODER,
    "deepseekcoder": CODER,
    "deepseek_moe": DEEPSEEK,
    "deepseek_v2": DEEPSEEK,
    "deepseek_r1": (
        "<｜begin▁of▁sentence｜>S<｜User｜>u1<｜Assistant｜>a1<｜end▁of▁sentence｜>"
        "<｜User｜>u2<｜Assistant｜><think>\n⟦\n</think>\n\na2<｜end▁of▁sentence｜>⟧"
    ),
    "gemma": GEMMA,
    "gemma2": GEMMA,
    "gemma3": GEMMA,
    "minicpm": "<BOS>S<用户>u1<AI>⟦a1⟧<用户>u2<AI>⟦a2<EOS>⟧",
    "mistral": MISTRAL,
    "mistral_v3": MISTRAL_V3,
    "mixtral": MISTRAL,
    "phi3_chat": (
        "<|system|>\nS<|end|>\n<|user|>\nu1<|end|>\n<|assistant|>\n⟦a1<|end|>⟧\n"
        "<|user|>\nu2<|end|>\n<|assistant|>\n⟦a2<|end|>⟧\n<|endoftext|>"
    ),
    "phi4_chat": (
        "<|im_start|>system<|im_sep|>S<|im_end|><|im_start|>user<|im_sep|>u1<|im_end|>"
        "<|im_start|>assistant<|im_sep|>⟦a1<|im_end|>⟧<|im_start|>user<|im_sep|>u2<|im_end|>"
        "<|im_start|>assistant<|im_sep|>⟦a2<|im_end|>⟧"
    ),
    "smollm3": SMOLLM3.format(mode="/think", empty=""),
    "smollm3_no_think": SMOLLM3.format(mode="/no_think", empty="<think>\n\n</think>\n"),
}


def test_every_template_is_here(templates):
    assert set(TRAINED) == set(templates)


@pytest.mark.parametrize("name", TRAINED)
def test_answers_and_their_end_tokens_are_trained(name, readable, templates):
    # in the readable tokenizer all names are control tokens, in a text too; the template's own are what counts
    assert marked(encode(Conversation(TURNS), templates[name], readable), readable) == TRAINED[name]


def chatml(turns, readable, **options):
    return marked(encode(Conversation(tuple(turns)), "yi_chat", readable, **options), readable)


def test_learn_last(readable):
    assert chatml(TURNS, readable, learn="last") == IM.replace("⟦a1<|im_end|>⟧", "a1<|im_end|>")


def test_learn_all(readable):
    assert chatml(TURNS, readable, learn="all") == "⟦" + IM.replace("⟦", "").replace("⟧", "") + "⟧"


def test_a_turn_decides_for_itself(readable):
    turns = [*TURNS[:2], Turn("assistant", "a1", learn=False), Turn("user", "u2", learn=True), TURNS[4]]
    wanted = IM.replace("⟦a1<|im_end|>⟧", "a1<|im_end|>").replace("u2", "⟦u2⟧")
    assert chatml(turns, readable) == wanted
    turns = [*TURNS[:2], Turn("assistant", "a1", learn=True), TURNS[3], Turn("assistant", "a2", learn=False)]
    assert chatml(turns, readable, learn="last") == IM.replace("⟦a2<|im_end|>⟧", "a2<|im_end|>")
    turns = [Turn("system", "S", learn=True), *TURNS[1:]]
    assert chatml(turns, readable) == IM.replace("\nS<", "\n⟦S⟧<")
    turns = [*TURNS[:2], Turn("assistant", "a1", learn=False), *TURNS[3:]]
    whole = "⟦" + IM.replace("⟦", "").replace("⟧", "") + "⟧"
    assert chatml(turns, readable, learn="all") == whole.replace("a1<|im_end|>", "⟧a1<|im_end|>⟦")


def test_an_answer_without_its_reasoning_is_context(readable):
    """Qwen3 does not see the reasoning of earlier answers; it would not have written them as they stand there."""
    first = Turn("assistant", "<think>\nr1\n</think>\n\na1")
    last = Turn("assistant", "<think>\nr2\n</think>\n\na2")
    turns = (*TURNS[:2], first, TURNS[3], last)
    wanted = IM.replace("⟦a1<|im_end|>⟧", "a1<|im_end|>").replace("⟦a2", "⟦<think>\nr2\n</think>\n\na2")
    assert marked(encode(Conversation(turns), "qwen3_chat", readable), readable) == wanted
    turns = (*TURNS[:2], Turn("assistant", first.text, learn=True), TURNS[3], last)
    trained = marked(encode(Conversation(turns), "qwen3_chat", readable), readable)
    assert trained == wanted.replace("a1<|im_end|>", "⟦a1<|im_end|>⟧")


@pytest.mark.parametrize(
    "texts", [("a1", "a2"), ("<think>\nr\n</think>\n\na1", "a2"), ("a1", "<think>\nr\n</think>\n\na2")]
)
def test_an_answer_is_learnt_as_the_vendors_template_writes_the_last_one(texts, vendors):
    """What Qwen3's own template writes after its prompt, for each answer as the last one, and nothing else."""
    tokenizer = vendors("qwen3")
    turns = [turn for text in texts for turn in (Turn("user", "u"), Turn("assistant", text))]
    messages = [{"role": turn.role, "content": turn.text} for turn in turns]
    as_last = []
    for end in (2, 4):
        prompt = tokenizer.apply_chat_template(messages[: end - 1], tokenize=False, add_generation_prompt=True)
        whole = tokenizer.apply_chat_template(messages[:end], tokenize=False)
        as_last.append(whole.removeprefix(prompt).removesuffix("\n"))
    spans = render(Conversation(tuple(turns)), "qwen3_chat")
    assert "".join(span.text for span in spans if span.learn) == as_last[1] != ""
    first = [turns[0], Turn("assistant", texts[0], learn=True), *turns[2:]]
    spans = render(Conversation(tuple(first)), "qwen3_chat")
    assert "".join(span.text for span in spans if span.learn) == f"a1<|im_end|>{as_last[1]}"


def test_reasoning_prompt_of_deepseek_r1(readable):
    sample = encode(Conversation(TURNS[1:2]), "deepseek_r1", readable, generation_prompt=True)
    assert marked(sample, readable) == "<｜begin▁of▁sentence｜><｜User｜>u1<｜Assistant｜><think>\n"


def test_tool_turns(readable):
    turns = (
        Turn("user", "u"),
        Turn("assistant", "<tool_call>\n{}\n</tool_call>"),
        Turn("tool", "r1"),
        Turn("tool", "<tool_call>"),
        Turn("assistant", "a"),
    )
    sample = encode(Conversation(turns), "qwen3_instruct_chat", readable)
    assert marked(sample, readable) == (
        "<|im_start|>user\nu<|im_end|>\n<|im_start|>assistant\n⟦<tool_call>\n{}\n</tool_call><|im_end|>⟧\n"
        "<|im_start|>user\n<tool_response>\nr1\n</tool_response>\n<tool_response>\n<tool_call>\n</tool_response>"
        "<|im_end|>\n<|im_start|>assistant\n⟦a<|im_end|>⟧\n"
    )
    tokens = readable.convert_ids_to_tokens(sample.ids)
    assert tokens.count("<tool_call>") == 1  # the assistant's; the tool's own text stays text


def test_a_question_that_says_what_ends_answers_is_not_trained(readable):
    """Where the next question's beginning ends an answer, that is trained on, if the template wrote it."""
    turns = (Turn("user", "q"), Turn("assistant", "a"), Turn("user", "\n"), Turn("assistant", "b"))
    for user, wanted in (("{text}", "qA⟦a⟧\nA⟦b\n⟧"), ("\n{text}", "\nqA⟦a\n⟧\nA⟦b\n⟧")):
        template = ChatTemplate(user=user, assistant="A", end="\n", end_in_history=False)
        assert marked(encode(Conversation(turns), template, readable), readable) == wanted


def test_no_turns_give_no_text(readable):
    template = ChatTemplate(user="{text}", system_in_user="{system}{text}", default_system="S")
    assert encode(Conversation(()), template, readable).ids == []


def test_plain_text_is_learnt_without_a_template(readable):
    sample = encode(Conversation((Turn("assistant", "some text"),), plain=True), "yi_chat", readable)
    assert marked(sample, readable) == "<BOS>⟦some text<EOS>⟧"


def test_text_templates_learn_up_to_the_end(readable):
    template = ChatTemplate(user="Q {text} ", assistant="A", answer=" {text}", end=" END", tail="\n", begin="#")
    assert marked(encode(Conversation(TURNS[1:]), template, readable), readable) == (
        "#Q u1 A⟦ a1 END⟧\nQ u2 A⟦ a2 END⟧\n"
    )


def test_real_ids(smollm2):
    """SmolLM2: system 9690, user 4093, assistant 520 and 9531, Hi 26843, Paris 38634, yes 10407; 198 is a line."""
    turns = (Turn("system", "yes"), Turn("user", "Hi"), Turn("assistant", "Paris"), Turn("user", "Hi"))
    sample = encode(Conversation((*turns, Turn("assistant", "yes"))), "chatml", smollm2)
    question = [1, 4093, 198, 26843, 2, 198, 1, 520, 9531, 198]
    assert sample.ids == [1, 9690, 198, 10407, 2, 198, *question, 38634, 2, 198, *question, 10407, 2, 198]
    assert sample.labels == [-100] * 16 + [38634, 2] + [-100] * 11 + [10407, 2, -100]


def test_a_token_that_stands_across_the_boundary_is_not_trained(smollm2):
    """The prompt ends with a new line; where it is one token with the answer's first, that token is the prompt's."""
    sample = encode(Conversation((Turn("user", "x"), Turn("assistant", "\n\nfine"))), "chatml", smollm2)
    assert smollm2.convert_ids_to_tokens(sample.ids)[-5:] == ["ĊĊ", "Ċ", "fine", "<|im_end|>", "Ċ"]
    assert [label != -100 for label in sample.labels[-5:]] == [False, True, True, True, False]


def test_a_token_across_two_learnt_texts_is_trained(smollm2):
    """The template's space and the answer's first word are one token, as are the answer's last letter and the end."""
    template = ChatTemplate(user="Q {text} A", assistant="", answer=" {text}", end="ish")
    sample = encode(Conversation((Turn("user", "x"), Turn("assistant", "I am redd"))), template, smollm2)
    assert smollm2.decode([label for label in sample.labels if label != -100]) == " I am reddish"


PAIRS = [
    ("llama2", "llama2_chat"),
    ("llama2", "vicuna"),
    ("llama2", "wizardlm"),
    ("llama2", "mistral"),
    ("internlm", "internlm_chat"),
    ("internlm2", "internlm2_chat"),
    ("baichuan2", "baichuan2_chat"),
    ("chatglm3", "chatglm3"),
    ("qwen", "qwen_chat"),
    ("qwen3", "qwen3_instruct_chat"),
    ("llama3_1", "llama3_chat"),
]


@pytest.mark.parametrize(("folder", "name"), PAIRS)
def test_what_a_real_tokenizer_learns_is_the_learnt_text(vendors, templates, folder, name):
    """Trained ids spell exactly the trained spans: no word at an edge is lost; none of the prompt is among them."""
    tokenizer = vendors(folder)
    conversation = Conversation((Turn("user", "Who are you? 你是谁"), Turn("assistant", "I am 小明.")))
    trained = [span.text for span in render(conversation, templates[name]) if span.learn]
    wanted = "".join(tokenizer.eos_token if text == "{eos}" else text for text in trained)
    labels = [label for label in encode(conversation, templates[name], tokenizer).labels if label != -100]
    assert tokenizer.decode(labels).strip() == wanted.strip()


APART = [(folder, "default") for folder in ("qwen", "qwen3", "internlm", "internlm2", "baichuan2", "llama2")]


@pytest.mark.parametrize(("folder", "name"), [*PAIRS, *APART, ("qwen", "wizardcoder")])
def test_a_chat_prompt_is_the_beginning_of_what_is_trained(vendors, templates, folder, name):
    """However an answer begins: else its first token would stand where a chat never leaves the model to write it."""
    tokenizer, question = vendors(folder), Turn("user", "Which?")
    prompt = encode(Conversation((question,)), templates[name], tokenizer, generation_prompt=True).ids
    for answer in ("#0000ff", '"Yes"', "[1, 2]", "- one", "(so)", "/usr", "$5", "def f():", "...", "Hi", "是"):
        sample = encode(Conversation((question, Turn("assistant", answer))), templates[name], tokenizer)
        assert sample.ids[: len(prompt)] == prompt, answer
        assert sample.labels[len(prompt)] != -100, answer


@pytest.mark.parametrize("role", [["user"], {}, None, 3])
def test_garbage_for_a_role_is_told(readable, role):
    encoder = Encoder(ChatTemplate(user="Q{text}", assistant="A"), readable)
    for turns in ((Turn(role, "x"),), (Turn("user", "x"), Turn(role, "y"))):
        with pytest.raises(DataError, match="no place for this role"):
            encoder.encode_batch([Conversation(turns)])
