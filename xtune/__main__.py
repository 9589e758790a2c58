"""The command `xtune`, and python -m xtune."""

import sys


def main() -> int:
    """xtune.cli.main, which takes a while to import: Ctrl-C in that time is no traceback either."""
    try:
        from xtune.cli import main as run
    except KeyboardInterrupt:
        print("xtune: stopped", file=sys.stderr)
        return 130
    return run()


if __name__ == "__main__":
    sys.exit(main())
