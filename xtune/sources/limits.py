"""How much of what data files may hold is read. Beyond it a file is damaged or hostile, or has to be split."""

from __future__ import annotations

ROW_BYTES = 2**25
"""Of one row in a file, 32 MiB: to decode JSON takes up to 40 times its bytes in memory."""

ROW_CHARACTERS = 12_000_000
"""Of one row's text, more than twice the Bible: a tokenizer takes 90 bytes of memory a character, 350 of digits."""

BATCH_CHARACTERS = 2**22
"""Of the conversations that a worker gets at once: 256 rows of usual length have a tenth of it."""

BLANK_LINES = 2**20
"""One after another: a gzip file of 1 MB has room for a thousand million, which take an hour to pass over."""

UNPACKED_RATIO = 250
"""How many times its size a compressed file may unpack to. Text unpacks to 3 to 30 times, a bomb to 1,000."""

SHARED_RATIO = 1000
"""The same for a Parquet file, where a long system message that all rows share is stored once."""

UNPACKED_FREE = 2**28
"""Bytes, 256 MiB, that may be unpacked whatever the ratio: rows that are all alike are rare, but real."""

SHEET_ROWS = 2**20
"""Rows of a sheet, as many as Excel has: a row with a higher number stands after as many empty ones."""

SHEET_EMPTY = 2**25
"""Empty cells that are passed over in one sheet, half a minute of them: a cell far to the right stands after many."""

MOST_ENTRIES = 1_000_000
"""Files and folders that are looked at below one folder or pattern, in a few seconds."""
