"""Strips: the recent verdicts of a row, oldest first, the right edge now.

Height carries the verdict and the worst of a cell wins. A blind minute is a dot, never a low bar;
a minute without a result is blank.
"""

from collections.abc import Sequence
from itertools import pairwise

from rich.text import Text

from core.verdict import Verdict, worst
from tui.view.glyphs import STYLE, Glyphs

CELL_S = 60.0


def folded(strip: Sequence[Verdict | None], cells: int) -> list[Verdict | None]:
    """`strip` in `cells` cells: every minute falls into exactly one, the worst known wins.

    A strip with fewer minutes than cells is padded on the left with what is not known.
    """
    if len(strip) <= cells:
        return [None] * (cells - len(strip)) + list(strip)
    edges = [index * len(strip) // cells for index in range(cells + 1)]
    return [_worst(strip[start:end]) for start, end in pairwise(edges)]


def aged(strip: Sequence[Verdict | None], elapsed_s: float) -> list[Verdict | None]:
    """`strip` as it stands `elapsed_s` later with nothing new known: moved left, same length."""
    gone = min(len(strip), int(elapsed_s // CELL_S))
    return [*strip[gone:], *([None] * gone)]


def strip_text(strip: Sequence[Verdict | None], cells: int, glyphs: Glyphs) -> Text:
    """The strip, `cells` wide."""
    text = Text()
    for verdict in folded(strip, cells):
        if verdict is None:
            text.append(glyphs.missing, "dim")
        else:
            # Reverse would turn the dot of `blind` into a full block.
            text.append(glyphs.ramp[verdict], STYLE[verdict].replace("reverse ", ""))
    return text


def _worst(cells: Sequence[Verdict | None]) -> Verdict | None:
    known = [verdict for verdict in cells if verdict is not None]
    return worst(known) if known else None
