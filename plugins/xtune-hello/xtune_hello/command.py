"""xtune hello: says hello."""

from argparse import ArgumentParser, Namespace

HELP = "say hello"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--name", default="world", help="whom to greet")


def run(args: Namespace) -> int:
    print(f"Hello, {args.name}!")
    return 0
