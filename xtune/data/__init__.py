"""Rows to samples, packs and batches."""
