"""Mappers of instruction data: instruction, input and output."""

from __future__ import annotations

from xtune.conversation import Conversation, Turn
from xtune.errors import DataError
from xtune.mappers.columns import EMPTY, Row, as_text, exchange, items, optional_text, text
from xtune.mappers.single_turn import lines


def alpaca(
    row: Row,
    *,
    instruction: str = "instruction",
    input: str = "input",
    output: str = "output",
    system: str = "system",
    history: str = "history",
) -> Conversation:
    """An instruction, and on the next line the input to it. The columns input, system and history may be missing.

    `history` lists earlier [question, answer] pairs. A row whose output is `<nooutput>` is empty.

    >>> alpaca({"instruction": "Add the numbers.", "input": "2, 3", "output": "5"})
    Conversation(turns=(Turn(role='user', text='Add the numbers.\\n2, 3', learn=None),
                        Turn(role='assistant', text='5', learn=None)), plain=False)
    """
    question, answer = lines(text(row, instruction), optional_text(row, input)), text(row, output)
    if answer == "<nooutput>":
        return EMPTY
    last = exchange(question, answer, optional_text(row, system))
    return _after(items(row, history), last, history) if row.get(history) else last


def _after(pairs: list[object], last: Conversation, column: str) -> Conversation:
    """`last` with the exchanges of `pairs` before it, after the system message."""
    earlier = []
    for number, pair in enumerate(pairs, 1):
        where = f"{column}, pair {number}"
        if not isinstance(pair, list) or len(pair) != 2:
            raise DataError(f"column `{where}` should be [question, answer]: got {pair!r:.60}", "write two texts there")
        earlier += [Turn("user", as_text(pair[0], where)), Turn("assistant", as_text(pair[1], where))]
    if not last.turns:
        return last
    return Conversation((*last.turns[:-2], *earlier, *last.turns[-2:]))


def alpaca_zh(
    row: Row, *, instruction: str = "instruction_zh", input: str = "input_zh", output: str = "output_zh"
) -> Conversation:
    """As alpaca, with the columns of silk-road/alpaca-data-gpt4-chinese.

    >>> alpaca_zh({"instruction_zh": "把数字相加。", "input_zh": "2, 3", "output_zh": "5"}).turns
    (Turn(role='user', text='把数字相加。\\n2, 3', learn=None), Turn(role='assistant', text='5', learn=None))
    """
    return alpaca(row, instruction=instruction, input=input, output=output)


def self_identity(
    row: Row,
    *,
    name: str = "",
    author: str = "",
    instruction: str = "instruction",
    input: str = "input",
    output: str = "output",
) -> Conversation:
    """As alpaca, with {{name}} and {{author}} filled in: who the model is and who made it.

    Raises DataError for a row with a place to fill for which no value is given.

    >>> self_identity({"instruction": "Who are you?", "output": "I am {{name}}, made by {{author}}."},
    ...               name="Nova", author="the Lake Lab").turns
    (Turn(role='user', text='Who are you?', learn=None),
     Turn(role='assistant', text='I am Nova, made by the Lake Lab.', learn=None))
    """
    mapped = alpaca(row, instruction=instruction, input=input, output=output)
    values = {"name": name, "author": author}
    return Conversation(tuple(Turn(turn.role, _fill(turn.text, values), turn.learn) for turn in mapped.turns))


def _fill(template: str, values: dict[str, str]) -> str:
    for option, value in values.items():
        place = "{{" + option + "}}"
        if place in template:
            if not value:
                raise DataError(f"a row has {place} to fill: got no {option}", f"set the mapper's option {option}=")
            template = template.replace(place, str(value))  # --cfg-options makes a number of name=2048
    return template
