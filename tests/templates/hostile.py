"""Chat templates that want time, memory, files or the interpreter; run as a program, this renders them under a limit.

It prints a line of JSON for each: its name, what came of it, its seconds, and the most memory so far.
"""

from __future__ import annotations

import json
import resource
import sys
import time

NS = "{% set ns = namespace(x='ab', l=[], t=(), n=3, i=0) %}"


def grown(step: str, use: str = "{{ ns.x|length }}", times: int = 100_000) -> str:
    """A template that takes a step many times, and uses what came of it."""
    return f"{NS}{{% for i in range({times}) %}}{step}{{% endfor %}}{use}"


def nested(first: str, step: str, use: str, times: int = 60) -> str:
    """A template that puts a value twice into itself, many times: a small graph that is an endless text."""
    return f"{NS}{{% set ns.l = {first} %}}{{% for i in range({times}) %}}{step}{{% endfor %}}{use}"


TWICE = "{% set ns.l = [ns.l, ns.l] %}"
DEEPER = "{% set ns.t = (ns.t,) %}"
BIG = "{% set ns.x = ns.x ~ ns.x %}"
COLLIDING = "range(0, 2305843009213693951 * 99999, 2305843009213693951)"

REFUSED = {
    # the interpreter
    "classes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "classes by attr": "{{ (''|attr('__class__')).__mro__ }}",
    "classes by map": "{{ messages|map(attribute='__class__.__mro__')|list }}",
    "globals of a function": "{{ raise_exception.__globals__ }}{{ raise_exception.func.__globals__ }}",
    "globals of namespace": "{{ namespace.__init__.__globals__['sys'] }}",
    "globals of strftime_now": "{{ strftime_now.func.__globals__.sys }}",
    "self": "{{ self._TemplateReference__context.environment }}",
    "the code of a macro": "{% macro f() %}{% endmacro %}{{ f._func.__code__ }}",
    "a format string": "{{ '{0.__class__.__mro__}'.format(messages) }}",
    "format_map": "{{ '{a.__class__}'.format_map({'a': messages}) }}",
    "a format that computes its width": "{{ '{0:{1}}'.format('x', 10**9) }}",
    "changed messages": "{{ messages.append(1) }}",
    "popped messages": "{% set x = messages.pop() %}",
    "an underscore in a namespace": "{% set ns = namespace(__class__=1) %}",
    "a called type": "{{ messages[0]() }}{{ 5() }}",
    "an escape through map": "{{ ['a']|map('~counted', -10**9)|list }}",
    "a filter that is put in": "{{ 'a'|~out }}",
    # files and other templates
    "include": "{% include '/etc/passwd' %}",
    "import": "{% import '/etc/passwd' as p %}{{ p }}",
    "from import": "{% from '/etc/passwd' import p %}",
    "extends": "{% extends '/etc/passwd' %}",
    "a block that calls itself": "{% block a %}{{ self.a() }}{{ self.a() }}{% endblock %}",
    # time
    "a long range": "{% for i in range(10**9) %}x{% endfor %}",
    "nested ranges": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "ranges that are broken off": "{% for i in range(99999) %}{% for j in range(99999) %}{% if j > 90000 %}{% break %}"
    "{% endif %}{% endfor %}{% endfor %}",
    "six short loops": "{% for a in range(99) %}" * 6 + "x" + "{% endfor %}" * 6,
    "a loop over a text": grown(BIG, "{% for a in ns.x %}{% for b in ns.x %}{% endfor %}{% endfor %}", 20),
    "a recursive loop": "{% for i in [1, 1] recursive %}{{ loop([1, 1]) }}{% endfor %}",
    "a macro without end": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "a macro that calls itself twice": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}"
    "{{ f(60) }}",
    "two macros that call each other": "{% macro f(n) %}{% if n %}{{ g(n - 1) }}{{ g(n - 1) }}{% endif %}{% endmacro %}"
    "{% macro g(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(80) }}",
    "callers in callers": "{% macro f(n) %}{% if n %}{% call f(n - 1) %}{% endcall %}{% call f(n - 1) %}{% endcall %}"
    "{% endif %}{% endmacro %}{{ f(60) }}",
    "many searches": grown("{% if 'y' in ns.x %}{% endif %}", "", 99999).replace("x='ab'", "x='ab' * 9999999"),
    "many comparisons": NS + "{% set a = 'ab' * 4000000 %}{% set b = 'ab' * 4000000 %}{% for i in range(99999) %}"
    "{% if a == b %}{% endif %}{% endfor %}",
    "a search by a method": NS + "{% set a = 'ab' * 9000000 %}{% for i in range(99999) %}{{ a.find('c') }}{% endfor %}",
    "a strip by many letters": "{% set a = 'ab' * 900000 %}{% set b = 'cd' * 900000 ~ 'ab' %}{{ a.strip(b)|length }}",
    "a trim by many letters": "{% set a = 'ab' * 900000 %}{% set b = 'cd' * 900000 ~ 'ab' %}{{ a|trim(b)|length }}",
    "numbers that collide": f"{{{{ {COLLIDING}|unique|list|length }}}}",
    "a sum of attributes": "{% set p = 'a.' * 400000 %}{{ [{'a': 1}]|map(attribute=p)|list }}",
    "a graph compared": nested("[1]", TWICE, "{% set a = ns.l %}{% set ns.l = [1] %}")
    + "{% for i in range(60) %}"
    + TWICE
    + "{% endfor %}{{ a == ns.l }}",
    "a graph searched": nested("[1]", TWICE, "{{ ns.l in [[ns.l]] }}{{ [2] in [ns.l] }}{{ ns.l in [ns.l + [1]] }}"),
    "a graph sorted": nested("[1]", TWICE, "{{ [ns.l + [1], ns.l + [2]]|sort|length }}"),
    "a graph by test": nested("[1]", TWICE, "{{ [ns.l + [1]]|select('equalto', ns.l + [2])|list }}"),
    "a graph not found": nested("[1]", TWICE, "{{ [1].index(ns.l) }}"),
    "a graph as a missing key": nested("[1]", TWICE, "{{ {}[ns.l].x }}{{ {}.get(ns.l) }}"),
    # memory
    "a text times a number": "{{ 'a' * 10**10 }}",
    "a list times a number": "{{ ([1] * 10**9)|length }}",
    "a text times a long number": "{{ 'a' * 10**30 }}",
    "a power": "{{ 9 ** 9999999999 }}",
    "a long product": grown("{% set ns.n = ns.n * ns.n %}", "{{ ns.n }}"),
    "a long sum": grown("{% set ns.n = ns.n + ns.n %}", "{{ ns.n }}"),
    "a number of many digits": "{{ %s }}" % ("9" * 4000),
    "a text doubled": grown(BIG, times=60),
    "a text doubled by plus": grown("{% set ns.x = ns.x + ns.x %}", times=60),
    "a text doubled by join": grown("{% set ns.x = [ns.x, ns.x]|join %}", times=60),
    "a text doubled by a method": grown("{% set ns.x = ''.join([ns.x, ns.x]) %}", times=60),
    "a text doubled by a block": grown("{% set y %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = y %}", times=60),
    "a text doubled by a macro": "{% macro f(x) %}{{ x }}{{ x }}{% endmacro %}"
    + grown("{% set ns.x = f(ns.x) %}", times=60),
    "a text doubled by a filter block": grown(
        "{% set y %}{% filter upper %}{{ ns.x }}{{ ns.x }}{% endfilter %}{% endset %}{% set ns.x = y %}", times=60
    ),
    "a text doubled by replace": grown("{% set ns.x = ns.x.replace('a', 'aaab') %}", times=60),
    "a text doubled by the filter": grown("{% set ns.x = ns.x|replace('a', 'aaab') %}", times=60),
    "a text doubled by format": grown("{% set ns.x = '%s%s' % (ns.x, ns.x) %}", times=60),
    "a text doubled by the format filter": grown("{% set ns.x = '%s%s'|format(ns.x, ns.x) %}", times=60),
    "a text doubled by the format method": grown("{% set ns.x = '{0}{0}'.format(ns.x) %}", times=60),
    "a text doubled by JSON": grown("{% set ns.x = [ns.x, ns.x]|tojson %}", times=60),
    "a text doubled by string": grown("{% set ns.x = [ns.x, ns.x]|string %}", times=60),
    "a text doubled by escape": grown("{% set ns.x = (ns.x ~ '<')|escape %}"),
    "a text doubled as it is marked": grown("{% set ns.x = [ns.x, ns.x]|safe %}", times=60),
    "a list doubled": grown("{% set ns.l = ns.l + ns.l + [1] %}", "{{ ns.l|length }}", 60),
    "a dict doubled": grown("{% set ns.l = [ns.l, dict(a=ns.l, b=ns.l)] %}", "{{ ns.l }}", 60),
    "a list that is kept": grown("{% set ns.l = ns.l + ['a' * 1000 ~ i] %}", "{{ ns.l|length }}"),
    "a chain of texts": grown("{% set ns.l = [ns.l, 'a' * 9000 ~ i] %}", ""),
    "a chain of slices": NS + "{% set a = 'ab' * 4000000 %}" + grown("{% set ns.l = [ns.l, a[1:]] %}", "")[len(NS) :],
    "a chain of letters": grown("{% set ns.l = [ns.l, ns.x|list] %}", "", 9999).replace("x='ab'", "x='ab' * 9999"),
    "a chain of parts": grown("{% set ns.l = [ns.l, ns.x.split('a')] %}", "", 9999).replace("x='ab'", "x='ab' * 9999"),
    "a chain of lines": grown("{% set ns.l = [ns.l, ns.x.splitlines()] %}", "").replace("x='ab'", "x='\\n' * 9999"),
    "a chain of upper": grown("{% set ns.l = [ns.l, ns.x|upper] %}", "").replace("x='ab'", "x='ab' * 99999"),
    "a chain of ranges": grown("{% set ns.l = [ns.l, range(99999)|list] %}", "", 9999),
    "a chain of maps": grown("{% set ns.l = [ns.l, range(99999)|map('string')] %}", "", 9999),
    "a list of many letters": "{{ ('ab' * 20000000)|list|length }}",
    "many variables": "{% set x = 'ab' * 2000000 %}" + "".join(f"{{% set a{i} = x ~ {i} %}}" for i in range(500)),
    "a long output": "{% set x = 'ab' * 1000000 %}{% for i in range(99999) %}{{ x }}{% endfor %}",
    "a long output of literals": "{% for i in range(99999) %}" + "x" * 9000 + "{% endfor %}",
    "letters that are escaped": NS
    + "{% set a = '\U000e0001' * 5000000 %}{{ [a]|string|length }}{{ '{!r}'.format(a) }}",
    "letters that are escaped in JSON": "{% set a = '\U000e0001' * 6000000 %}{{ a|tojson(ensure_ascii=true)|length }}",
    "a wide text doubled": grown(BIG, times=60).replace("'ab'", "'😀'"),
    "a graph written": nested("[1]", TWICE, "{{ ns.l }}"),
    "a graph as JSON": nested("[1]", TWICE, "{{ ns.l|tojson }}"),
    "a graph joined": nested("[1]", TWICE, "{{ ns.l|join }}"),
    "a graph beside a text": nested("[1]", TWICE, "{{ 'a' ~ ns.l }}"),
    "a graph by its text": nested("[1]", TWICE, "{{ ns.l|string|length }}{{ ns.l|upper }}"),
    "a graph formatted": nested("[1]", TWICE, "{{ '%s' % [ns.l] }}{{ '{}'.format(ns.l) }}"),
    "a graph of namespaces": NS
    + "{% for i in range(60) %}{% set ns.l = namespace(a=ns.l, b=ns.l) %}{% endfor %}{{ ns.l }}",
    "a graph in a refusal": nested("[1]", TWICE, "{{ raise_exception(ns.l) }}"),
    "a padded percent": "{{ '%1000000000d' % 1 }}",
    "a padded percent by a value": "{{ '%*d' % (10**9, 1) }}",
    "a padded percent by a name": "{{ '%(a(b)c)1000000000d' % {'a(b)c': 1} }}",
    "a precise percent": "{{ '%.1000000000f' % 1.5 }}",
    "a padded filter": "{{ '%1000000000s'|format('a') }}",
    "a padded format": "{{ '{:1000000000}'.format(1) }}",
    "a padded test": "{{ '%1000000000d' is odd }}",
    "a padded test by name": "{{ ['%1000000000d']|select('divisibleby', 7)|list }}",
    "center": "{{ 'a'|center(10**10) }}",
    "center, ljust, zfill": "{{ 'a'.center(10**10) }}{{ 'a'.ljust(10**10) }}{{ 'a'.zfill(10**10) }}",
    "expandtabs": "{{ '\t'.expandtabs(10**10) }}",
    "translate": "{{ 'aaaa'.translate({97: 'a' * 9999999}) }}",
    "encode": "{{ 'a'.encode('utf-32') * 10**9 }}",
    "to_bytes": "{{ (5).to_bytes(10**10, 'big') }}",
    "indent": "{{ 'a\nb'|indent(10**10) }}",
    "an indent that is a text": "{{ ('a\n' * 99999)|indent('ab' * 99999) }}",
    "indented JSON": "{{ [1]|tojson(indent=10**10) }}",
    "separated JSON": "{{ [1]|tojson(separators=('a' * 99999, 'b')) }}",
    "batch": "{{ [1]|batch(10**10, 'a')|list }}",
    "slice": "{{ [1]|slice(10**10)|list }}",
    "wordwrap": "{{ 'a b'|wordwrap(1, wrapstring='x' * 10**9) }}",
    "round": "{{ 1|round(-10**10) }}{{ 1.5|round(10**10, 'ceil') }}",
    "lipsum": "{{ lipsum(n=100000) }}",
    "cycler, joiner": "{{ cycler(*range(10)) }}{{ joiner('a') }}",
    "strftime": "{{ strftime_now('%Y' * 1000000) }}",
    "a padded date": "{{ strftime_now('%1000000000Y') ~ ('a' * 10**10) }}",
    "urlize": "{{ ('http://a.b ' * 99999)|urlize }}",
    "a call with stars": "{{ namespace(*range(99999)) }}",
    "a nested tuple as a key": grown(DEEPER, "{{ {ns.t: 1} }}"),
    "a nested tuple looked for": grown(DEEPER, "{{ ns.t in {} }}{{ 1/0 }}"),
    "a nested tuple made unique": grown(DEEPER, "{{ [ns.t]|unique|list }}"),
    "a nested tuple in a dict": grown(DEEPER, "{{ dict([[ns.t, 1]]) }}"),
    "a nested tuple got": grown(DEEPER, "{{ {}.get(ns.t) }}"),
    "a nested tuple as a filter": grown(DEEPER, "{{ [1]|map(ns.t)|list }}"),
    "a nested tuple as a test": grown(DEEPER, "{{ [1]|select(ns.t)|list }}"),
    "a nested tuple as a path": grown(DEEPER, "{{ [{}]|map(attribute=ns.t)|list }}"),
    "nested varargs": "{% macro f() %}{% set ns.t = varargs %}{% endmacro %}"
    + grown("{{ f(ns.t) }}", "{{ {ns.t: 1} }}"),
    "a nested list written": grown("{% set ns.l = [ns.l] %}", "{{ ns.l }}"),
    "a nested list as JSON": grown("{% set ns.l = [ns.l] %}", "{{ ns.l|tojson(indent=2) }}"),
    "a nested list compared": grown("{% set ns.l = [ns.l] %}", "{% set a = ns.l %}{% set ns.l = [] %}")
    + "{% for i in range(99999) %}{% set ns.l = [ns.l] %}{% endfor %}{{ a == ns.l }}",
    "a set of keys": grown("{% set ns.l = [ns.l, {'a': 1}.keys() - []] %}", ""),
    # what cannot be compiled
    "a tag that ends": "{% for %}",
    "a tag that does not end": "{{",
    "an unclosed if": "{% if %}",
    "an unknown tag": "{% nope %}",
    "an unknown filter": "{{ 1|nope }}",
    "an unknown test": "{{ 1 is nope }}",
    "deep conditions": "{% if 1 %}" * 500 + "{% endif %}" * 500,
    "deep loops": "{% for i in [1] %}" * 60 + "{% endfor %}" * 60,
    "deep brackets": "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
    "deep lists": "{{ " + "[" * 3000 + "]" * 3000 + " }}",
    "deep attributes": "{{ messages" + ".a" * 5000 + " }}",
    "deep sums": "{{ " + "messages + " * 5000 + "1 }}",
    "deep not": "{{ " + "not " * 5000 + "messages }}",
    "too long": "{{ 1 }}" * 40000,
    "a colon without end": "{%" * 90000,
    "a comment without end": "{#" * 90000,
    "a raw without end": "{% raw %}" * 20000,
    # what fails as it runs
    "a division": "{{ 1/0 }}",
    "a sum of kinds": "{{ 1 + 'a' }}",
    "an undefined name": "{{ nope.nope }}",
    "an index beyond": "{{ messages[100].content }}",
    "a method that is not there": "{{ messages.foo() }}",
    "a product of texts": "{{ messages[0]['content'] * messages }}",
    "kinds that do not sort": "{{ [1, 'a']|sort }}",
    "a float beyond": "{{ 10.0 ** 400 }}",
    "a refusal": "{{ raise_exception('no') }}",
    "a long refusal": "{{ raise_exception('x' * 100000) }}",
    "a date that is no text": "{{ strftime_now(5) }}",
    "a surrogate in a date": "{{ strftime_now('\\ud800') }}",
    "a filter that is computed": "{{ ['a']|map(messages)|list }}",
    "JSON of what is none": "{{ namespace(a=1)|tojson }}",
    "a loop outside": "{{ loop.index }}",
}
"""Each ends in one message."""

FINE = {
    "nothing": "",
    "an empty loop": "{% for i in nope %}{% endfor %}x",
    "a NUL": "a\0b",
    "a surrogate": "{{ '\\ud800'|length }}",
    "many blanks": "{{" + " " * 100_000 + "1 }}",
    "many statements": "{{ 1 }}" * 20_000,
    "a long loop": "{% for i in range(20000) %}x{% endfor %}",
    "a nested tuple let go": grown(DEEPER, "{% set ns.t = 1 %}x"),
    "a nested list let go": grown("{% set ns.l = [ns.l] %}", "{% set ns.l = 1 %}x"),
    "nested namespaces let go": grown("{% set ns.l = namespace(a=ns.l) %}", "{% set ns.l = 1 %}x", 99999),
    "nested maps": grown("{% set ns.l = [ns.l]|map('default') %}", "x", 99999),
    "nested undefined": grown("{% set ns.l = [ns.l].nope or [[ns.l].nope] %}", "x", 99999),
}
"""Each is rendered, to a short text."""


def run(limit: int) -> None:
    """Renders all of them with `limit` bytes of memory beyond what the program itself takes."""
    from xtune.errors import ModelError
    from xtune.templates.own_jinja import OwnTemplate

    OwnTemplate("{{ strftime_now('%Y') }}{{ 1|tojson }}", "", {}).render([])
    used = int(open("/proc/self/statm", encoding="ascii").read().split()[0]) * resource.getpagesize()  # noqa: SIM115
    resource.setrlimit(resource.RLIMIT_AS, (used + limit, used + limit))
    at_first = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    messages = [{"role": "user", "content": "hi"}]
    for name, source in {**REFUSED, **FINE}.items():
        begun = time.process_time()
        try:
            end, text = "rendered", OwnTemplate(source, "M", {}).render(messages)
        except ModelError as error:
            end, text = type(error).__name__, str(error)
        except Exception as error:
            end, text = "traceback", repr(error)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - at_first
        print(json.dumps([name, end, text[:2000], time.process_time() - begun, peak]), flush=True)


if __name__ == "__main__":
    run(int(sys.argv[1]))
