"""Every built-in config, as a product of small tables."""
