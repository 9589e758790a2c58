"""Rows that come with the package: `package:xtune/catalogue/rows/self_identity.jsonl`, and `everyday.jsonl` there."""
