"""xtune chat MODEL: talks to a model, with or without an adapter."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xtune.chat.session import Session


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="model or adapter folder, GGUF file or hub id")
    parser.add_argument("--adapter", metavar="DIR", help="adapter to load on top of the model")
    parser.add_argument("--bits", type=int, choices=[4, 8], help="load the model in 4 or 8 bits")
    parser.add_argument("--dtype", default="auto", choices=["auto", "float32", "bfloat16", "float16"])
    parser.add_argument("--prompt-template", metavar="NAME|FILE", help="chat template, in place of the trained one")
    parser.add_argument("--system", metavar="TEXT", default="", help="system message")
    parser.add_argument("--prompt", metavar="TEXT", help="answer this once and exit")
    parser.add_argument("--max-new-tokens", metavar="N", type=int, default=512)
    parser.add_argument("--temperature", metavar="T", type=float, default=0.0, help="0: always the likeliest token")
    parser.add_argument("--top-p", metavar="P", type=float, default=1.0, help="sample from this share of probability")
    parser.add_argument("--seed", type=int, default=0, help="seed of sampling")


def run(args: Namespace) -> int:
    from xtune.commands.console import quiet_libraries

    quiet_libraries()
    from transformers import set_seed

    from xtune.chat.open import open_session
    from xtune.plugins import components

    set_seed(args.seed)
    session = open_session(
        args.model,
        components(),
        adapter=args.adapter,
        bits=args.bits,
        template=args.prompt_template,
        dtype=args.dtype,
    )
    session.system = args.system
    session.max_new_tokens = args.max_new_tokens
    session.temperature = args.temperature
    session.top_p = args.top_p
    if args.prompt is not None:
        say(session, args.prompt)
    else:
        talk(session)
    return 0


def say(session: Session, text: str) -> None:
    """Prints the answer as it comes."""
    session.ask(text, write=lambda piece: print(piece, end="", flush=True))
    print()


def talk(session: Session) -> None:
    """Reads questions until /exit or Ctrl-D; Ctrl-C ends an answer, /new forgets what was said."""
    from xtune.errors import XtuneError

    print("Ask away. /new starts over, /exit or Ctrl-D leaves, Ctrl-C stops an answer.")
    while True:
        try:
            text = input("\n>>> ").strip()
        except EOFError:
            print()
            return
        if text == "/exit":
            return
        if text == "/new":
            session.turns = []
        elif text:
            try:
                say(session, text)
            except KeyboardInterrupt:
                print("\n(stopped; this question is forgotten)")
            except XtuneError as error:
                print(f"xtune: {error}")
