"""Guesses about raw files that no TOML tells of yet: `nightjar new-dataset` writes one of them."""
