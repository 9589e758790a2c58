"""xtune chat MODEL: talks to a model, with or without an adapter."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from xtune.commands.argument_types import LARGEST_SEED, given, within

if TYPE_CHECKING:
    from xtune.generate.session import Session


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", type=given, help="model or adapter folder, GGUF file or hub id")
    parser.add_argument("--adapter", metavar="DIR", type=given, help="adapter to load on top of the model")
    parser.add_argument(
        "--other-base", action="store_true", help="allow a model with other weights than the adapter was trained on"
    )
    parser.add_argument("--bits", type=int, choices=[4, 8], help="load the model in 4 or 8 bits")
    parser.add_argument(
        "--dtype",
        default="auto",
        choices=["auto", "float32", "bfloat16", "float16"],
        help="what the model computes in (auto: bfloat16 where the device has it, else float32)",
    )
    parser.add_argument("--prompt-template", metavar="NAME|FILE", help="chat template, in place of the trained one")
    parser.add_argument("--system", metavar="TEXT", default="", help="system message")
    parser.add_argument("--prompt", metavar="TEXT", type=given, help="answer this once and exit")
    parser.add_argument(
        "--max-new-tokens", metavar="N", type=within(1), default=512, help="longest answer, default 512"
    )
    parser.add_argument(
        "--temperature", metavar="T", type=within(0.0, 100.0), default=0.0, help="0: always the likeliest token"
    )
    parser.add_argument(
        "--top-p", metavar="P", type=within(0.0, 1.0), default=1.0, help="sample from this share of probability"
    )
    parser.add_argument("--seed", metavar="N", type=within(0, LARGEST_SEED), default=0, help="seed of sampling")


def run(args: Namespace) -> int:
    from xtune.commands.console import quiet_libraries

    quiet_libraries()
    from transformers import set_seed

    from xtune.generate.open import open_session
    from xtune.generate.sampling import Sampling
    from xtune.registries import components

    set_seed(args.seed)
    session = open_session(
        args.model,
        components(),
        adapter=args.adapter,
        bits=args.bits,
        template=args.prompt_template,
        dtype=args.dtype,
        other_base=args.other_base,
    )
    session.system = args.system
    session.sampling = Sampling(args.max_new_tokens, args.temperature, args.top_p)
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
    """Reads questions until /exit or Ctrl-D; Ctrl-C ends an answer, /new forgets what was said.

    Where they come from a file or a pipe, a line each, only the answers are printed, and what goes wrong is raised.
    """
    from xtune.errors import DataError, XtuneError

    person = sys.stdin.isatty()
    if person:
        print("Ask away. /new starts over, /exit or Ctrl-D leaves, Ctrl-C stops an answer.")
    while True:
        try:
            text = input("\n>>> " if person else "").strip()
        except EOFError:
            if person:
                print()
            return
        except UnicodeDecodeError as error:
            got = f"byte 0x{error.object[error.start]:02x}"
            raise DataError(f"questions should be UTF-8 text: got `{got}`", "check what is piped in") from error
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
                if not person:
                    raise
                print(f"xtune: {error.lines()}")
