"""A row as Markdown, for the incident channel."""

from collections.abc import Sequence
from datetime import datetime


def as_markdown(title: str, lines: Sequence[str], now: datetime) -> str:
    """Title, time of the copy, and the lines as a list; blank lines are left out."""
    items = "\n".join(f"- {line}" for line in lines if line)
    return f"**{title}** (read {now:%Y-%m-%dT%H:%M:%SZ})\n{items}\n"
