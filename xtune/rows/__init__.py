"""Rows that come with the package: `package:xtune/rows/self_identity.jsonl` and `package:xtune/rows/everyday.jsonl`."""
