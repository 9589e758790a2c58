"""A template as a Jinja chat template, for servers and for transformers' apply_chat_template.

It writes the text that render() shows. Two things cannot be said in Jinja: where text is split for the tokenizer, and
that control tokens spelled by a turn stay text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from xtune.templates.render import Part, form_of
from xtune.templates.template import BOS, EOS, FILTERS, SLOT, ChatTemplate

SPECIAL = {BOS: "bos_token", EOS: "eos_token"}


def to_jinja(template: ChatTemplate) -> str:
    """The Jinja text of a template. It reads `messages`, `add_generation_prompt`, `bos_token` and `eos_token`."""
    parts = form_of(template).parts
    system = repr_jinja(template.default_system) if template.default_system is not None else "none"
    lines = [
        "{%- if messages and messages[0]['role'] == 'system' -%}",
        "{%- set system = messages[0]['content'] -%}{%- set turns = messages[1:] -%}",
        "{%- else -%}",
        f"{{%- set system = {system} -%}}{{%- set turns = messages -%}}",
        "{%- endif -%}",
        f"{{%- set ns = namespace(rounds=0, asked=-1, waiting={'true' if parts['system_in_user'] else 'false'}) -%}}",
        *(_look_ahead() if template.thinking is not None else []),
        _write(parts["begin"]),
    ]
    if not parts["system_in_user"]:
        lines.append("{%- if system is not none -%}" + _write(parts["system"], text="system") + "{%- endif -%}")
    lines += [
        "{%- for turn in turns -%}",
        "{%- set text = turn['content'] -%}",
        "{%- set before = turns[loop.index0 - 1]['role'] if loop.index0 else '' -%}",
        "{%- if turn['role'] == 'user' -%}",
        *_question(template, parts),
        "{%- elif turn['role'] == 'assistant' -%}",
        *_answer(template, parts),
        *(_tool(parts) if template.tool else []),
        "{%- else -%}",
        "{{- raise_exception('the chat template has no place for the role ' ~ turn['role']) -}}",
        "{%- endif -%}",
        "{%- endfor -%}",
        "{%- if add_generation_prompt -%}" + _write([*parts["assistant"], *parts["thinking_prompt"]]),
        *(["{%- else -%}" + _write(parts["close"])] if parts["close"] else []),
        "{%- endif -%}",
    ]
    return "".join(lines)


def _question(template: ChatTemplate, parts: dict[str, Sequence[Part]]) -> list[str]:
    lines = ["{%- set ns.rounds = ns.rounds + 1 -%}"]
    if parts["between"]:
        lines.append("{%- if before == 'assistant' -%}" + _write(parts["between"]) + "{%- endif -%}")
    if not parts["system_in_user"]:
        return [*lines, _write(parts["user"])]
    return [
        *lines,
        "{%- if ns.waiting and system is not none -%}" + _write(parts["system_in_user"]),
        "{%- else -%}" + _write(parts["user"]) + "{%- endif -%}",
        "{%- set ns.waiting = false -%}",
    ]


def _answer(template: ChatTemplate, parts: dict[str, Sequence[Part]]) -> list[str]:
    answer = _write(parts["answer"])
    lines = [_write(parts["assistant"])]
    if template.thinking is not None:
        lines += [
            "{%- set thinking = '' -%}{%- set after_thinking = text -%}",
            "{%- if '</think>' in text -%}",
            r"{%- set thinking = text.split('</think>')[0].split('<think>')[-1].strip('\n') -%}",
            r"{%- set after_thinking = text.split('</think>')[-1] -%}{%- set text = after_thinking.lstrip('\n') -%}",
            "{%- endif -%}",
            "{%- if loop.index0 > ns.asked and (loop.last or thinking) -%}",
            _write([*parts["thinking_prompt"], *parts["thinking"]]),
            "{%- else -%}" + answer + "{%- endif -%}",
        ]
    else:
        lines.append(answer)
    end = _write(parts["end"])
    lines.append(end if template.end_in_history else "{%- if loop.last -%}" + end + "{%- endif -%}")
    return [*lines, _write(parts["tail"])]


def _tool(parts: dict[str, Sequence[Part]]) -> list[str]:
    lines = ["{%- elif turn['role'] == 'tool' -%}"]
    if parts["tools_begin"]:
        lines.append("{%- if before != 'tool' -%}" + _write(parts["tools_begin"]) + "{%- endif -%}")
    lines.append(_write(parts["tool"]))
    if parts["tools_end"]:
        last = "{%- if loop.last or turns[loop.index0 + 1]['role'] != 'tool' -%}"
        lines.append(last + _write(parts["tools_end"]) + "{%- endif -%}")
    return lines


def _look_ahead() -> list[str]:
    """Finds the last question: answers after it keep their reasoning."""
    return [
        "{%- set ns.asked = turns|length - 1 -%}{%- set ns.found = false -%}",
        "{%- for turn in turns[::-1] -%}{%- if turn['role'] == 'user' and not ns.found -%}",
        "{%- set ns.asked = turns|length - 1 - loop.index0 -%}{%- set ns.found = true -%}",
        "{%- endif -%}{%- endfor -%}",
    ]


def _write(parts: Sequence[Part], text: str = "text") -> str:
    """Parts of a template's string as Jinja output; `text` is the variable behind {text}."""
    return "".join("{{- " + _expression(part, text) + " -}}" for part in parts)


def _expression(part: Part, text: str) -> str:
    if not part.slot:
        return SPECIAL.get(part.text) or repr_jinja(part.text)
    slot = SLOT.fullmatch(part.text)
    assert slot is not None
    variable = {"text": text, "round": "ns.rounds"}.get(part.slot, part.slot)
    return variable + (FILTERS[slot[2]][1] if slot[2] else "")


def repr_jinja(text: str) -> str:
    """A Jinja string literal. White space control never reaches inside one."""
    return (
        "'"
        + re.sub(
            r"[\\'\n\r\t]", lambda match: {"\n": r"\n", "\r": r"\r", "\t": r"\t"}.get(match[0], "\\" + match[0]), text
        )
        + "'"
    )
