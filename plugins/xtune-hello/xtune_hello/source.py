"""A reader of files that end in .hello, or in .hello.gz."""

from xtune.sources.row import Row
from xtune.sources.text import open_bytes


def read_names(file, label):
    """A row {"name": line} for each line."""
    with open_bytes(file, label) as opened:
        for number, line in enumerate(opened, 1):
            yield Row({"name": line.decode().strip()}, f"{label}, line {number}")
