"""`xtune list-templates`: chat templates, each with an exchange as it would be written."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from xtune.commands.table import matches
from xtune.errors import ConfigError
from xtune.registries import components


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("-p", "--pattern", default="", help="part of a name, or a glob")


def run(args: Namespace) -> int:
    from xtune.conversation import Conversation, Turn
    from xtune.names import render

    chosen = {name: template for name, template in components().templates.items() if matches(name, args.pattern)}
    if not chosen:
        raise ConfigError(f"no template matches: got `{args.pattern}`", "xtune list-templates lists all")
    example = Conversation(
        (Turn("user", "Hello"), Turn("assistant", "Hi!"), Turn("user", "Bye"), Turn("assistant", "Bye!"))
    )
    print("The text between [[ and ]] is trained on; {bos} and {eos} are the tokenizer's own tokens.\n")
    for name, template in chosen.items():
        text = "".join(f"[[{span.text}]]" if span.learn else span.text for span in render(example, template))
        print(name)
        print("".join(f"    {line}\n" for line in text.replace("]][[", "").split("\n")), end="")
    return 0
