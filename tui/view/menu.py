"""The bottom line: keys and labels; what is off is greyed and stays where it was."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text


@dataclass(frozen=True, slots=True)
class MenuKey:
    """One entry; `off` says why it cannot be used now, empty when it can."""

    shown: str
    label: str
    off: str


def menu_line(keys: Sequence[MenuKey], width: int) -> Text:
    """As many entries as fit; the last two (keys, quit) always stand."""
    last = [_entry(key) for key in keys[-2:]]
    room = width - sum(entry.cell_len + 2 for entry in last)
    out = Text(no_wrap=True, end="")
    for entry in map(_entry, keys[:-2]):
        if out.cell_len + entry.cell_len + 2 > room:
            break
        out.append_text(entry).append("  ")
    for place, entry in enumerate(last):
        out.append("  " if place else "").append_text(entry)
    return Text(" ", no_wrap=True, end="").append_text(out) if out.cell_len < width else out


def _entry(key: MenuKey) -> Text:
    if key.off:
        return Text(f"{key.shown} {key.label}", "dim strike")
    return Text.assemble((key.shown, "bold"), f" {key.label}")
