"""Mappers of rows that hold one question and one answer in columns.

All take the column names as options. A row whose question or answer is blank is empty: it is counted, not trained on.
"""

from __future__ import annotations

from xtune.conversation import Conversation
from xtune.mappers import systems
from xtune.mappers.columns import Row, exchange, optional_text, text


def default(row: Row, *, input: str = "input", output: str = "output", system: str = "system") -> Conversation:
    """A question and an answer as they are. The column system may be missing.

    >>> default({"input": "What is 1 + 1?", "output": "2"})
    Conversation(turns=(Turn(role='user', text='What is 1 + 1?', learn=None),
                        Turn(role='assistant', text='2', learn=None)), plain=False)
    """
    return exchange(text(row, input), text(row, output), optional_text(row, system))


def medical(row: Row, *, question: str = "Question", answer: str = "Answer", system: str = "system") -> Conversation:
    """Questions and answers of a workbook or table, such as the MEDINFO 2019 medication questions.

    >>> medical({"Question": "Can aspirin upset the stomach?", "Focus (Drug)": "aspirin", "Answer": "Yes, it can."})
    Conversation(turns=(Turn(role='user', text='Can aspirin upset the stomach?', learn=None),
                        Turn(role='assistant', text='Yes, it can.', learn=None)), plain=False)
    >>> medical({"问题": "感冒要吃抗生素吗？", "回答": "一般不需要。"}, question="问题", answer="回答")
    Conversation(turns=(Turn(role='user', text='感冒要吃抗生素吗？', learn=None),
                        Turn(role='assistant', text='一般不需要。', learn=None)), plain=False)
    """
    return exchange(text(row, question), text(row, answer), optional_text(row, system))


def medical_zh(
    row: Row, *, instruction: str = "instruction", input: str = "input", output: str = "output"
) -> Conversation:
    """Chinese patients' questions (shibing624/medical), with a doctor's system message.

    >>> medical_zh({"instruction": "血热的临床表现是什么?", "input": "", "output": "初发或复发病不久。"})
    Conversation(turns=(Turn(role='system', text='如果你是一名医生，请根据患者的描述回答医学问题。\\n', learn=None),
                        Turn(role='user', text='血热的临床表现是什么?', learn=None),
                        Turn(role='assistant', text='初发或复发病不久。', learn=None)), plain=False)
    """
    return exchange(lines(text(row, instruction), optional_text(row, input)), text(row, output), systems.MEDICAL)


def arxiv(row: Row, *, abstract: str = "abstract", title: str = "title") -> Conversation:
    """A paper's abstract as the question, its title as the answer.

    >>> arxiv({"abstract": "We train a small model.", "title": "Small Models"}).turns[1:]
    (Turn(role='user', text='We train a small model.', learn=None),
     Turn(role='assistant', text='Small Models', learn=None))
    """
    return exchange(text(row, abstract), text(row, title), systems.ARXIV)


def code_alpaca(row: Row, *, prompt: str = "prompt", completion: str = "completion") -> Conversation:
    """A programming task and its code, with a programmer's system message.

    >>> code_alpaca({"prompt": "Add a and b in Python.", "completion": "a + b"}).turns[1:]
    (Turn(role='user', text='Add a and b in Python.', learn=None),
     Turn(role='assistant', text='a + b', learn=None))
    """
    return exchange(text(row, prompt), text(row, completion), systems.CODER)


def tiny_codes(row: Row, *, prompt: str = "prompt", response: str = "response") -> Conversation:
    """As code_alpaca, with the columns of nampdn-ai/tiny-codes.

    >>> tiny_codes({"prompt": "Negate x in Rust.", "response": "-x"}).turns[1:]
    (Turn(role='user', text='Negate x in Rust.', learn=None), Turn(role='assistant', text='-x', learn=None))
    """
    return exchange(text(row, prompt), text(row, response), systems.CODER)


def colors(row: Row, *, description: str = "description", color: str = "color") -> Conversation:
    """A colour described and its hexadecimal code. What stands before the first colon of the description is left out.

    >>> colors({"color": "#000000", "description": "Black: the darkest color."}).turns[1:]
    (Turn(role='user', text='the darkest color.', learn=None), Turn(role='assistant', text='#000000', learn=None))
    """
    described = text(row, description)
    _, colon, after = described.partition(":")
    return exchange((after if colon else described).strip(), text(row, color), systems.COLORIST)


def crime_kg_assitant(row: Row, *, input: str = "input", output: str = "output") -> Conversation:
    """Questions on Chinese law (CrimeKgAssitant of LAW-GPT, spelt as there), with a lawyer's system message.

    >>> crime_kg_assitant({"input": "销售鳄鱼皮包违法吗？", "output": "看是否有合法来源。"}).turns[1:]
    (Turn(role='user', text='销售鳄鱼皮包违法吗？', learn=None),
     Turn(role='assistant', text='看是否有合法来源。', learn=None))
    """
    return exchange(text(row, input), text(row, output), systems.LAWYER)


def law_reference(row: Row, *, question: str = "question", answer: str = "answer") -> Conversation:
    """Questions on Chinese law with references (LAW-GPT), with a lawyer's system message.

    >>> law_reference({"question": "离婚需要准备什么材料？", "answer": "结婚证、户口簿和身份证。"}).turns[1:]
    (Turn(role='user', text='离婚需要准备什么材料？', learn=None),
     Turn(role='assistant', text='结婚证、户口簿和身份证。', learn=None))
    """
    return exchange(text(row, question), text(row, answer), systems.LAWYER)


def openorca(
    row: Row, *, system_prompt: str = "system_prompt", question: str = "question", response: str = "response"
) -> Conversation:
    """A question and an answer with a system message of their own, which may be empty.

    >>> openorca({"system_prompt": "Be brief.", "question": "Capital of Peru?", "response": "Lima."})
    Conversation(turns=(Turn(role='system', text='Be brief.', learn=None),
                        Turn(role='user', text='Capital of Peru?', learn=None),
                        Turn(role='assistant', text='Lima.', learn=None)), plain=False)
    """
    return exchange(text(row, question), text(row, response), text(row, system_prompt))


def sql(row: Row, *, context: str = "context", question: str = "question", answer: str = "answer") -> Conversation:
    """CREATE TABLE statements and a question, answered by a query.

    >>> sql({"context": "CREATE TABLE t (a INT)", "question": "How many rows?", "answer": "SELECT COUNT(*) FROM t"})
    ...     # doctest: +ELLIPSIS
    Conversation(turns=(Turn(role='system', text='If you are an expert in SQL, ...', learn=None),
                        Turn(role='user', text='CREATE TABLE t (a INT)\\nHow many rows?', learn=None),
                        Turn(role='assistant', text='SELECT COUNT(*) FROM t', learn=None)), plain=False)
    """
    return exchange(lines(text(row, context), text(row, question)), text(row, answer), systems.SQL)


def stack_exchange(row: Row, *, question: str = "question", response: str = "response") -> Conversation:
    """A question and the response to it.

    >>> stack_exchange({"question": "How do I list files?", "response": "Use ls."}).turns
    (Turn(role='user', text='How do I list files?', learn=None), Turn(role='assistant', text='Use ls.', learn=None))
    """
    return exchange(text(row, question), text(row, response))


def lines(first: str, second: str) -> str:
    """Both on lines of their own; no empty line where one is missing."""
    return f"{first}\n{second}" if first and second else first or second
