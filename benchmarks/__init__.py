"""Figures against peers; each module has `run() -> list[str]`."""
