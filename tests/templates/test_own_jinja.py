"""A tokenizer's own chat template: its text is transformers', and a large conversation is no reason to stop."""

from __future__ import annotations

from datetime import datetime

import pytest
from transformers.utils.chat_template_utils import _compile_jinja_template

from xtune.templates.jinja import to_jinja
from xtune.templates.own_jinja import OwnTemplate, RefusedConversation, UnusableTemplate, own_ids, own_template

VALUES = {"bos_token": "<s>", "eos_token": "</s>"}
USER = {"role": "user", "content": "  hi <b>'\"&\n"}
ANSWER = {"role": "assistant", "content": "<think>\nx</think>\n\nok 你好\n"}
SYSTEM = {"role": "system", "content": "You. "}
PARTS = {"role": "user", "content": [{"type": "text", "text": "hey"}, {"type": "image"}]}
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"id": "a1", "function": {"name": "f", "arguments": {"b": [1, 2.5, None], "a": "é<x>"}}}],
}
CONVERSATIONS = [[USER], [SYSTEM, USER, ANSWER], [USER, ANSWER, USER], [PARTS, CALL, {"role": "tool", "content": "1"}]]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"b": {"type": ["a", "b"]}}}}}]

PIECES = [
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m['content'] }}{{ eos_token }}{% endfor %}",
    "{%- for m in messages %}{{ '<' + m.role + '>' + m.content|trim + '</>' + '\n' }}{%- endfor %}",
    "{% for m in messages %}{{ loop.index0 }}{{ loop.last }}{{ loop.length }}{{ loop.previtem is defined }}"
    "{% endfor %}",
    "{% for m in messages if m.role == 'user' %}{{ loop.length }}{{ m.role }}{% else %}none{% endfor %}",
    "{% for m in messages %}{% if loop.index0 == 1 %}{% break %}{% endif %}{{ loop.length }}{{ m.role }}{% endfor %}",
    "{% for m in messages %}{% if m.role == 'user' %}{% continue %}{% endif %}{{ loop.nextitem }}{% endfor %}",
    "{% for m in messages[::-1] %}{{ m.role[0] }}{{ messages[loop.index0 - 1].role }}{% endfor %}",
    "{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}{{ messages[0]|items|list }}",
    "{% for k, v in messages[0]|dictsort %}{{ k }}{% endfor %}{{ messages[0].keys()|list }}",
    "{% set ns = namespace(x='', n=0) %}{% for m in messages %}{% set ns.x = ns.x ~ m.role ~ loop.index %}"
    "{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.x }}{{ ns.n * 2 - 1 }}{{ ns.n % 2 }}{{ ns.n // 2 }}{{ ns.n / 2 }}",
    "{% macro f(x, y=1) %}[{{ x }}{{ y }}{{ varargs }}{{ kwargs }}]{% endmacro %}{{ f('a') }}"
    "{{ f(2, 3, 4) ~ f(1, z=2) }}",
    "{% macro f(n) %}{{ n }}{% if n %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(20) }}",
    "{% macro f() %}<{{ caller() }}>{% endmacro %}{% call f() %}in {{ bos_token }}{% endcall %}",
    "{% set x %}  {{ bos_token }} {% endset %}{{ x|trim }}{% filter upper %}a{{ x }}{% endfilter %}",
    "{% generation %}a{{ messages[0].role }}{% set z = 1 %}{% endgeneration %}{{ z }}",
    "{{ tools|tojson }}{{ tools|tojson(indent=2) }}{{ messages|tojson(separators=(',', ':'), sort_keys=true) }}",
    "{{ {'a': tools, 'b': 1.5}|tojson(ensure_ascii=true) }}{{ dict(a=1, b=[none]) }}{{ (tools|tojson|safe) + '<' }}",
    "{% if tools is not none and tools %}{{ tools[0]['function'].name.upper() }}{% endif %}{{ tools is mapping }}",
    "{{ messages|selectattr('role', 'equalto', 'user')|list }}{{ messages|map(attribute='role')|join(', ') }}",
    "{{ messages|rejectattr('role', 'in', ['user'])|map(attribute='role')|unique|sort|list }}",
    "{% if messages|selectattr('role', 'equalto', 'nobody') %}a generator is true{% endif %}",
    "{{ ['a', 'B']|map('upper')|list }}{{ [3, 1]|sort }}{{ [1, 2]|max }}{{ [2, 1]|min }}{{ [1, none]|select|list }}",
    "{{ 'tool' in messages[0] }}{{ 'hi' in messages[0].content }}{{ 'x' not in ['x', bos_token] }}{{ 1 in (1, 2) }}",
    "{{ 'user' in messages|map(attribute='role') }}{{ messages[0] in messages }}{{ messages[0] == messages[-1] }}",
    "{{ messages[-1].content.split('</think>')[-1].lstrip('\n') }}{{ 'a b'.split() }}{{ 'a,b,c'.rsplit(',', 1) }}",
    "{{ bos_token.replace('s', 'xx') }}{{ 'aa'|replace('a', 'b', 1) }}{{ 'ab'.startswith('a') }}{{ 'x'.join(['a']) }}",
    "{{ 'a-b c'|title }}{{ 'aB'|capitalize }}{{ 'aB'|lower }}{{ 5|string ~ 1.50 ~ none ~ true }}{{ nope }}"
    "{{ nope|d('x') }}",
    "{{ 'a\nb\n\nc'|indent }}{{ 'a\nb'|indent(2, true) }}{{ 'a\nb'|indent('> ') }}{{ 'x y'|trim('x') }}"
    "{{ ' y '.strip() }}",
    "{{ '%s is %05.1f%%' % ('a', 2.25) }}{{ '%d'|format(3) }}{{ '{} {a!r:>5}'.format(1, a='é') }}"
    "{{ '%(a)s' % {'a': 1} }}",
    "{{ [1, 2] + [3] }}{{ 'ab' * 3 }}{{ [0] * 2 }}{{ 2 ** 10 }}{{ -3 // 2 }}{{ (1, 2) + (3,) }}{{ 'abc'[1:] }}"
    "{{ 'abc'[-1] }}",
    "{{ 'x' if nope is defined else 'y' }}{{ nope is undefined }}{{ 1 is odd }}{{ 4 is divisibleby 2 }}"
    "{{ '' is string }}",
    "{{ messages is iterable }}{{ messages is sequence }}{{ 1.5 is number }}{{ true is boolean }}{{ none is none }}",
    "{{ [1, 2]|first }}{{ [1, 2]|last }}{{ 'abc'|reverse }}{{ [1, 2]|reverse|list }}{{ 'abc'|list }}{{ '12'|int + 1 }}",
    "{{ '1.5'|float }}{{ -1|abs }}{{ 1.55|round(1) }}{{ 'abc'|length }}{{ '<'|e }}{{ messages|count }}{{ 1 < 2 <= 2 }}",
    "{{ range(3)|list }}{% for i in range(2, 8, 3) %}{{ i }}{% endfor %}{{ messages[0].get('x', 'y') }}"
    "{{ [1].index(1) }}",
    "{{ {'a': 1}[nope] }}{{ messages[0][messages] }}{{ messages[0].nope }}{{ messages[7] }}{{ messages[['a']] }}x",
    "{% with a = 1 %}{{ a }}{% endwith %}{% set a, b = 1, 2 %}{{ a + b }}{# a comment #}{% raw %}{{ }}{% endraw %}",
    "{% if not add_generation_prompt is defined %}a{% endif %}{{ documents is none }}{{ nope == none }}"
    "{{ 1 and 0 or 2 }}",
    "{% for m in messages %}{% for p in m.content %}{{ p.text if p is mapping else p }}{% endfor %}{% endfor %}",
    "{% for m in messages %}{{ loop.cycle('a', 'b') }}{{ loop.revindex }}{{ loop.depth }}{% endfor %}",
    "{{ raise_exception('no') if messages[0].role == 'system' else 'fine' }}",
    "{{ messages|length if messages else 1/0 }}{{ messages[0].content + 1 if messages|length > 1 }}",
]
"""What chat templates are made of."""


def both(source, conversation, **values):
    """The text by transformers' compiled template, and by ours; None where it fails."""
    texts = []
    given = {"tools": None, "documents": None, "add_generation_prompt": False, **VALUES, **values}
    theirs, ours = _compile_jinja_template(source), OwnTemplate(source, "M", VALUES)
    for write in (
        lambda: theirs.render(messages=conversation, **given),
        lambda: ours.render(conversation, **values),
    ):
        try:
            texts.append(write())
        except Exception:
            texts.append(None)
    return texts


@pytest.mark.parametrize("source", PIECES, ids=range(len(PIECES)))
def test_the_text_is_transformers(source):
    written = [both(source, turns, tools=tools) for turns in CONVERSATIONS for tools in (None, TOOLS)]
    assert [ours for _, ours in written] == [theirs for theirs, _ in written]
    assert any(theirs for theirs, _ in written)


def test_our_own_templates_as_jinja(templates):
    for template in templates.values():
        for turns in ([USER], [SYSTEM, USER, ANSWER], [USER, ANSWER, USER, ANSWER]):
            theirs, ours = both(to_jinja(template), turns, add_generation_prompt=turns == [USER])
            assert ours == theirs is not None


@pytest.mark.parametrize("folder", ["internlm2", "llama3_1", "qwen3", "smollm2"])
def test_vendors_tokenizers(folder, vendors, smollm2):
    tokenizer = smollm2 if folder == "smollm2" else vendors(folder)
    own = own_template(tokenizer)
    for turns in ([USER], [SYSTEM, USER, ANSWER], [USER, ANSWER, USER, ANSWER, USER]):
        for values in ({}, {"add_generation_prompt": True}, {"tools": TOOLS}, {"enable_thinking": False}):
            text = tokenizer.apply_chat_template(turns, tokenize=False, **values)
            assert own.render(turns, **values) == text
            ids = tokenizer.apply_chat_template(turns, return_dict=False, **values)
            assert own_ids(tokenizer, [text]) == [list(ids)]


@pytest.mark.parametrize(
    "source",
    [
        "{% for m in messages %}{% set x = m.content.split('e') %}{{ m.role + m.content|trim }}{{ x|length }}"
        "{% endfor %}",
        "{% set ns = namespace(x='') %}{% for m in messages %}{% set ns.x = ns.x + m.content %}{% endfor %}{{ ns.x }}",
        "{% for m in messages %}{% for n in messages %}{% if n.role == m.role %}{% endif %}{% endfor %}{% endfor %}x",
        "{{ messages|tojson(indent=4) }}",
    ],
)
def test_a_large_conversation_is_written_whole(source):
    turns = [{"role": ("user", "assistant")[i % 2], "content": f"the {i}th of the lines. " * 40} for i in range(600)]
    theirs, ours = both(source, turns)
    assert ours == theirs is not None


def test_the_date_is_the_callers():
    own = OwnTemplate("{{ strftime_now('%d %b %Y') }}", "M", {})
    assert own.render([]) == f"{datetime.now():%d %b %Y}"
    own.now = lambda: datetime(2024, 7, 26)
    assert own.render([]) == "26 Jul 2024"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("a\n{% if %}", "the chat template of `M` cannot be compiled: `Expected an expression, got 'end of statement "),
        ("a\n{{ 1|centre }}", "cannot be compiled: `No filter named 'centre'.` in line 2; see `xtune list-templates`"),
        ("\n{% include 'x' %}", "cannot be compiled: `{% include %} is not for chat templates` in line 2; see"),
        (
            "{{ 1 }}" * 30_000,
            "the chat template of `M` is too long: got 210,000 letters, at most 200,000; see `xtune",
        ),
        ("\n\n{{ 1/0 }}", "the chat template of `M` fails: `ZeroDivisionError: division by zero` in line 3; see"),
        ("{{ x.y }}", "fails: `'x' is undefined` in line 1; see `xtune list-templates` for others"),
        ("\n{{ 'a'.zfill(9) }}", "fails: `access to attribute 'zfill' of 'str' object is unsafe.` in line 2; see"),
        (
            "{{ raise_exception('no\n\x1b[1mway') }}",
            "refuses this conversation: `no \\x1b[1mway` in line 1; leave that",
        ),
        ("a\n{{ 'a' * 10**9 }}", "the chat template of `M` makes too much or runs too long in line 2; see `xtune"),
    ],
)
def test_what_fails_is_one_line(source, message):
    with pytest.raises(UnusableTemplate) as caught:
        OwnTemplate(source, "M", {}).render([USER])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, RefusedConversation) == any(word in message for word in ("fails", "refuses"))
    assert caught.value.__context__ is None  # which would keep alive all that the template made


@pytest.mark.parametrize("kept", [5, {"a": "x"}, {"default": 5}, [1]])
def test_a_template_that_is_no_text(smollm2, kept, monkeypatch):
    monkeypatch.setattr(smollm2, "chat_template", kept)
    with pytest.raises(UnusableTemplate, match="is no text: got a (int|dict|list) without a default; see"):
        own_template(smollm2)


def test_the_template_named_default_is_taken(smollm2, monkeypatch):
    monkeypatch.setattr(smollm2, "chat_template", {"rag": "a", "default": "b", "tool_use": "c"})
    assert own_template(smollm2).render([USER]) == "b"
    monkeypatch.setattr(smollm2, "chat_template", None)
    assert own_template(smollm2) is None


def test_text_that_no_tokenizer_takes(smollm2):
    with pytest.raises(UnusableTemplate, match="cannot encode what its own chat template writes: .*; see `xt"):
        own_ids(smollm2, ["\ud800"])
