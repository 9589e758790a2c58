"""Where rows come from: hub data sets and local json, jsonl, csv, parquet, xlsx and text files."""
