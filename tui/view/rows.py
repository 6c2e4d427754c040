"""Rows of fixed columns: cells padded and cut by terminal cells, not by characters."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from textwrap import wrap

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from tui.view.glyphs import Glyphs


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a list; `key` is None on lines that the cursor passes over.

    draw: called only for lines in sight, so that a long list costs what is seen of it.
    """

    key: str | None
    draw: Callable[[], Text]


@dataclass(frozen=True, slots=True)
class Cell:
    """A piece of a row: `text` is already safe; right-aligned cells are numbers."""

    text: str | Text
    width: int
    style: str = ""
    right: bool = False


def fit(text: str, width: int, glyphs: Glyphs) -> str:
    """`text` cut at the right with the set's cut sign, in at most `width` cells."""
    if cell_len(text) <= width:
        return text
    room = width - len(glyphs.cut)
    if room <= 0:
        return glyphs.cut[:width]
    return set_cell_size(text, room) + glyphs.cut


def line(cells: Sequence[Cell], glyphs: Glyphs) -> Text:
    """The cells side by side, one blank between them; no style spills over."""
    out = Text(no_wrap=True, end="")
    for place, cell in enumerate(cells):
        if place:
            out.append(" ")
        _append(out, cell, glyphs)
    return out


def _append(out: Text, cell: Cell, glyphs: Glyphs) -> None:
    if isinstance(cell.text, Text):
        out.append_text(cell.text)
        out.append(" " * (cell.width - cell.text.cell_len))
        return
    shown = fit(cell.text, cell.width, glyphs)
    gap = " " * (cell.width - cell_len(shown))
    if cell.right:
        out.append(gap)
    out.append(shown, cell.style)
    if not cell.right:
        out.append(gap)


def padded(text: Text, width: int, cut: str = "") -> Text:
    """`text` in exactly `width` cells; what is too long ends with `cut`."""
    out = text.copy()
    out.no_wrap = True
    if out.cell_len > width:
        out.truncate(width - len(cut))
        out.append(cut)
    out.append(" " * (width - out.cell_len))
    return out


def paragraph(texts: Sequence[str], width: int, height: int, glyphs: Glyphs) -> list[Text]:
    """Safe texts wrapped at blanks, each on lines of its own; what does not fit is cut, visibly."""
    lines = [
        fit(part, width, glyphs)
        for text in texts
        for part in wrap(text, width, break_long_words=True) or [""]
    ]
    if len(lines) > height:
        lines = [*lines[: height - 1], fit(lines[height - 1] + " " + glyphs.cut, width, glyphs)]
    return [Text(one, no_wrap=True, end="") for one in lines]


def marked(text: Text, at: int, cursor: str) -> Text:
    """`text` with the cell `at`, which a list leaves blank, taken by the cursor."""
    return Text.assemble(text[:at], (cursor, "bold"), text[at + 1 :], no_wrap=True, end="")
