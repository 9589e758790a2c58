"""The mapper of MSAgent-Bench: dialogues with tools whose calls are part of the text."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

from xtune.conversation import Conversation
from xtune.errors import DataError
from xtune.mappers.columns import Row, describe, items
from xtune.mappers.message_text import text_of
from xtune.mappers.messages import from_messages
from xtune.mappers.systems import react

_BLOCK = re.compile(r"<\|startof(think|exec)\|>(.*?)<\|endof\1\|>", re.DOTALL)
_FENCE = re.compile(r"```(?:json)?", re.IGNORECASE)


def msagent_react(row: Row, *, conversations: str = "conversations") -> Conversation:
    """Tool dialogues of MSAgent-Bench, rewritten to ReAct (arXiv:2210.03629).

    The tools that the system message describes as JSON become a list of names and descriptions. A <|startofthink|>
    block becomes Thought, Action and Action Input; a <|startofexec|> block becomes a user turn "Response:..."; other
    text is the Final Answer. `conversations` may be a list, or a text that spells one, which is read, never run.

    >>> mapped = msagent_react({"conversations": [
    ...     {"from": "system", "value": '{"name": "sky", "description": "weather of a city"}'},
    ...     {"from": "user", "value": "Rain in Rome?"},
    ...     {"from": "assistant", "value": 'Look it up. <|startofthink|>{"api_name": "sky", "parameters": {"city": '
    ...         '"Rome"}}<|endofthink|><|startofexec|>{"rain": false}<|endofexec|>No, it is dry.'}]})
    >>> for turn in mapped.turns[1:]:
    ...     print(turn.role, "|", turn.text.replace("\\n", " / "))
    user | Rain in Rome?
    assistant | Thought:Look it up. / Action:sky / Action Input:{"city": "Rome"}
    user | Response:{"rain": false}
    assistant | Final Answer:No, it is dry.
    """
    value = row.get(conversations)
    listed = row if not isinstance(value, str) else {conversations: _read_list(value, conversations)}
    messages: list[dict[str, Any]] = []
    for number, message in enumerate(items(listed, conversations), 1):
        where = f"{conversations}, message {number}"
        if not isinstance(message, dict):
            raise DataError(f"column `{where}` should be an object: got {describe(message)}", "give from and value")
        said = text_of(message, "value", where) if message.get("from") is not None else ""
        if message.get("from") == "system":
            messages.append({"from": "system", "value": react(_tools(said))})
        elif message.get("from") == "assistant":
            messages += _steps(said, where)
        else:
            messages.append(message)
    return from_messages(messages, conversations)


def _read_list(spelt: str, column: str) -> Any:
    """The list that a text spells as JSON or as a Python literal."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(spelt)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    raise DataError(
        f"column `{column}` should be a list: got {describe(spelt)}, which spells none", "write a list of messages"
    )


def _steps(said: str, where: str) -> list[dict[str, str]]:
    """The messages that one message of the assistant stands for."""
    before, *blocks = _BLOCK.split(said)
    steps: list[dict[str, str]] = []
    for kind, body, after in zip(blocks[::3], blocks[1::3], blocks[2::3], strict=True):
        if kind == "think":
            call = _call(body, where)
            thought = f"Thought:{before.strip()}\n" if before.strip() else ""
            action = f"Action:{call['api_name']}\nAction Input:{_json(call['parameters'])}"
            steps.append({"from": "assistant", "value": thought + action})
        else:
            if before.strip():
                steps.append({"from": "assistant", "value": f"Thought:{before.strip()}"})
            steps.append({"from": "user", "value": f"Response:{_json(_parse(body, where))}"})
        before = after
    if before.strip():
        steps.append({"from": "assistant", "value": f"Final Answer:{before.strip()}"})
    return steps


def _call(body: str, where: str) -> dict[str, Any]:
    call = _parse(body, where)
    if not isinstance(call, dict) or not {"api_name", "parameters"} <= call.keys():
        raise DataError(f"column `{where}` should call with api_name and parameters: got {describe(call)}", "name both")
    return call


def _parse(body: str, where: str) -> Any:
    try:
        return json.loads(_FENCE.sub("", body), strict=False)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"column `{where}` has a block that is not JSON: got `{error}`", "write the block as JSON"
        ) from None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _tools(described: str) -> dict[str, str]:
    """Names and descriptions of the JSON objects that stand in a text and have both."""
    decode = json.JSONDecoder().raw_decode
    tools: dict[str, str] = {}
    position = described.find("{")
    while position >= 0:
        end = position + 1
        try:
            found, after = decode(described, position)
        except (ValueError, RecursionError):
            found = {}
        if "name" in found and "description" in found:
            end = after
            inputs = _inputs(found)
            tools[str(found["name"])] = str(found["description"]) + (f"；输入参数: {_json(inputs)}" if inputs else "")
        position = described.find("{", end)
    return tools


def _inputs(tool: dict[str, Any]) -> dict[str, str]:
    """Names and descriptions of a tool's parameters, where it has them."""
    paths = tool.get("paths")
    first = paths[0] if isinstance(paths, list) and paths else None
    parameters = first.get("parameters") if isinstance(first, dict) else None
    if not isinstance(parameters, list):
        return {}
    named = [entry for entry in parameters if isinstance(entry, dict) and "name" in entry]
    return {str(entry["name"]): str(entry.get("description", "")) for entry in named}
