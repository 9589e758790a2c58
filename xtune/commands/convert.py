"""xtune convert pth_to_hf|merge|layout|adapters: checkpoints to adapters and model folders, and their layouts."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from xtune.commands.argument_types import given
from xtune.commands.config_arguments import add_trust_argument


def add_arguments(parser: ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    to_hf = kinds.add_parser("pth_to_hf", help="a checkpoint to a peft adapter, or a model folder for full tuning")
    to_hf.add_argument("config", metavar="CONFIG", help="the config that was trained, by name or file")
    to_hf.add_argument(
        "checkpoint", metavar="CHECKPOINT", type=given, help="a checkpoint, or a work dir: its newest good one"
    )
    to_hf.add_argument("out", metavar="OUT", type=given, help="folder to write")
    add_trust_argument(to_hf)
    to_hf.set_defaults(convert=pth_to_hf)
    merge_ = kinds.add_parser("merge", help="a base model and an adapter to one plain model folder")
    merge_.add_argument("model", metavar="MODEL", type=given, help="the base model: folder, GGUF file or hub id")
    merge_.add_argument("adapter", metavar="ADAPTER", type=given, help="folder of the adapter")
    merge_.add_argument("out", metavar="OUT", type=given, help="folder to write")
    merge_.add_argument(
        "--dtype",
        default="auto",
        choices=["auto", "float32", "bfloat16", "float16"],
        help="dtype of the merged weights (auto: the one the base is stored in)",
    )
    merge_.add_argument(
        "--other-base", action="store_true", help="allow a model with other weights than the adapter was trained on"
    )
    merge_.set_defaults(convert=merge)
    layout_ = kinds.add_parser("layout", help="an InternLM, Qwen-1, ChatGLM or Baichuan model to another layout")
    layout_.add_argument("model", metavar="MODEL", type=given, help="the model: folder or hub id")
    layout_.add_argument("out", metavar="OUT", type=given, help="folder to write")
    layout_.set_defaults(convert=layout)
    adapter_ = kinds.add_parser("adapters", help="a LoRA adapter of such a model to another layout's module names")
    adapter_.add_argument("adapter", metavar="ADAPTER", type=given, help="folder of the adapter")
    adapter_.add_argument("out", metavar="OUT", type=given, help="folder to write")
    adapter_.add_argument("--base", metavar="MODEL", type=given, help="the base model, if not where the adapter says")
    adapter_.set_defaults(convert=adapters)
    for kind, default in ((merge_, "original"), (layout_, "native"), (adapter_, "native")):
        kind.add_argument(
            "--layout",
            default=default,
            choices=["original", "native"],
            help=f"the vendor's layout, or that of transformers' own classes (default: {default})",
        )
    for kind in (to_hf, merge_, layout_, adapter_):
        kind.add_argument("--force", action="store_true", help="replace OUT if it exists")


def run(args: Namespace) -> int:
    from xtune.commands.console import quiet_libraries
    from xtune.dist.interrupts import StopNow, Stopped, handlers
    from xtune.export.folder import refuse_needed

    refuse_needed(args.out, *(getattr(args, name, None) for name in ("checkpoint", "model", "adapter", "base")))
    quiet_libraries()
    try:
        with handlers(StopNow()):
            args.convert(args)
    except Stopped as stopped:
        return stopped.code
    return 0


def pth_to_hf(args: Namespace) -> None:
    from xtune.export import pth_to_hf as convert
    from xtune.names import load_config

    config = load_config(args.config, trust_config=args.trust_config)
    taken = convert.pth_to_hf(config, args.checkpoint, args.out, force=args.force)
    print(f"{taken} -> {args.out}")


def merge(args: Namespace) -> None:
    from xtune.export import merge as convert

    choices = {"dtype": args.dtype, "layout": args.layout, "force": args.force, "other_base": args.other_base}
    convert.merge(args.model, args.adapter, args.out, **choices)
    print(f"{args.model} + {args.adapter} -> {args.out}")


def layout(args: Namespace) -> None:
    from xtune.export import layout as convert

    convert.convert_layout(args.model, args.out, args.layout, force=args.force)
    print(f"{args.model} -> {args.out} ({args.layout})")


def adapters(args: Namespace) -> None:
    from xtune.export import adapters as convert

    convert.convert_adapter(args.adapter, args.out, args.layout, base=args.base, force=args.force)
    print(f"{args.adapter} -> {args.out} ({args.layout})")
