"""A terminal's picture as plain text, compared with a file that is read in a diff."""

import html
import os
import re
from difflib import unified_diff
from pathlib import Path

from textual.app import App

FRAMES = Path(__file__).parents[1] / "frames"
_SPAN = re.compile(r'<text[^>]*?\bx="([\d.]+)"[^>]*?\by="([\d.]+)"[^>]*>(.*?)</text>', re.DOTALL)
_GROUP = re.compile(r'<g class="[^"]*-matrix">(.*?)</g>\s*</g>', re.DOTALL)
_CELL = 12.2


def frame(app: App[None]) -> str:
    """What is on the screen: one line a row, blanks at the right end stripped."""
    matrix = _GROUP.search(app.export_screenshot(simplify=True))
    assert matrix is not None
    rows: dict[float, list[tuple[int, str]]] = {}
    for x, y, text in _SPAN.findall(matrix[1]):
        shown = html.unescape(text).replace("\u00a0", " ")
        rows.setdefault(float(y), []).append((round(float(x) / _CELL), shown))
    lines = []
    for y in sorted(rows):
        line = ""
        for x, text in sorted(rows[y]):
            line = line.ljust(x) + text
        lines.append(line.rstrip())
    return "\n".join(lines).rstrip() + "\n"


def check_frame(app: App[None], name: str) -> None:
    """Compare with tests/frames/NAME.txt; UPDATE_FRAMES=1 writes it, which the gate refuses."""
    path, got = FRAMES / f"{name}.txt", frame(app)
    if os.environ.get("UPDATE_FRAMES") == "1":
        assert os.environ.get("COALMINE_REQUIRE_ALL") != "1", "the gate compares, it never writes"
        path.write_text(got, encoding="utf-8")
        return
    want = path.read_text(encoding="utf-8")
    diff = "\n".join(unified_diff(want.splitlines(), got.splitlines(), "frame", "screen"))
    assert got == want, f"{path.name} differs (UPDATE_FRAMES=1 writes it):\n{diff}"
