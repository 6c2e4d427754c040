"""Frames, drawn as text: a frame's sides, its titled lines, a box around wrapped text."""

from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text

from tui.view.glyphs import Glyphs
from tui.view.page import Scene
from tui.view.rows import Row, fit, padded, paragraph


def framed(inner: Text, width: int, glyphs: Glyphs) -> Text:
    """`inner` between the frame's two sides, `width` cells in all."""
    out = Text(glyphs.vertical, "dim", no_wrap=True, end="")
    out.append_text(padded(inner, width - 2))
    return out.append(glyphs.vertical, "dim")


def rule(title: str, note: str, width: int, glyphs: Glyphs, place: str = "middle") -> Text:
    """A frame's `top`, `middle` or `bottom` line with a title at the left, a note at the right.

    The note gives way first, then the end of the title.
    """
    at = {"top": 0, "middle": 2, "bottom": 4}[place]
    left, right = glyphs.corners[at], glyphs.corners[at + 1]
    bar = glyphs.horizontal
    head = f"{bar} {fit(title, width - 6, glyphs)} " if title else bar
    tail = f" {note} {bar}" if note else bar
    if cell_len(head) + cell_len(tail) + 3 > width:
        tail = bar
    fill = bar * (width - 2 - cell_len(head) - cell_len(tail))
    out = Text(left, "dim", no_wrap=True, end="")
    out.append(head, "bold" if title else "dim")
    return out.append(fill + tail + right, "dim")


def box(
    title: str, texts: Sequence[str | Text], width: int, height: int, glyphs: Glyphs
) -> list[Text]:
    """A frame around wrapped texts, `height` lines in all; Text values are not wrapped."""
    inner: list[Text] = []
    plain = [text for text in texts if isinstance(text, str)]
    inner += [text for text in texts if isinstance(text, Text)]
    inner += paragraph(plain, width - 4, height - 2 - len(inner), glyphs)
    inner += [Text("")] * (height - 2 - len(inner))
    return [
        rule(title, "", width, glyphs, "top"),
        *(framed(Text(" ") + padded(text, width - 4, glyphs.cut), width, glyphs) for text in inner),
        rule("", "", width, glyphs, "bottom"),
    ]


def plain_row(scene: Scene, text: str) -> Row:
    """A line that the cursor passes over."""
    width, glyphs = scene.layout.width, scene.glyphs
    if scene.layout.tiny:
        return Row(None, lambda: Text(fit(text, width, glyphs), no_wrap=True, end=""))
    shown = fit(f"    {text}", width - 3, glyphs)
    return Row(None, lambda: framed(Text(shown), width, glyphs))
