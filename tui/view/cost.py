"""Cost: what does it cost now, and what next month? A figure never stands without its grade.

Every figure is an estimate with the point where it was measured; what no book prices is a dash
and says so, never 0. Figures are as the board gives them: decimal text, in the row's currency.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from rich.cells import cell_len
from rich.text import Text

from scheduler.readmodel import CostRow
from tui.view.empty import why_no_costs
from tui.view.frame import box, framed, plain_row, rule
from tui.view.page import Page, Scene, View, in_order, list_title, order_note
from tui.view.rows import Cell, Row, line

_HEADS = ("METER", "BOOK", "GRADE", "AT", "PER GB", "HOUR", "TO DATE", "NEXT MONTH", "IN")
_FIGURES = frozenset({"PER GB", "HOUR", "TO DATE", "NEXT MONTH"})
# What gives way first when it gets tight; all of it stands in the detail.
_GIVES_WAY = ("HOUR", "GRADE", "AT", "PER GB", "BOOK", "TO DATE", "IN")
_METER_MIN = 14
_CELL_MAX = 34


class CostView(View):
    """The page of meters and their prices."""

    name = "cost"

    def page(self, scene: Scene) -> Page:
        """One row a meter and book, in the order of the board."""
        rows = _rows(scene)
        order = list(rows)
        keys = in_order(order, scene.choice.held)
        shown = [key for key in keys if scene.choice.filter.matches(_fields(rows[key]))]
        if scene.layout.tiny:
            tiny = [Row(key, partial(_tiny, scene, rows[key])) for key in shown]
            return Page((), tiny or [plain_row(scene, why_no_costs(scene.moment))], (), order)
        width, glyphs = scene.layout.width, scene.glyphs
        columns = Columns.of([_texts(scene, row) for row in rows.values()], width)
        body = [Row(key, partial(_cost_line, scene, columns, _texts(scene, rows[key])))
                for key in shown]  # fmt: skip
        if not rows:
            body.append(plain_row(scene, why_no_costs(scene.moment)))
        title = list_title("METERS", len(shown), len(rows), scene.choice.filter)
        note = order_note(order, scene.choice, "estimates before tax, low - likely - high")
        head = (
            rule(title, note, width, glyphs, "top"),
            _cost_line(scene, columns, _OWN),
        )
        blank = framed(Text(""), width, glyphs)
        return Page(head, body, (rule("", "", width, glyphs, "bottom"),), order, blank)

    def panel(self, scene: Scene, key: str | None, height: int) -> Sequence[Text]:
        """What the figure stands on."""
        row = _rows(scene).get(key or "")
        if row is None:
            return ()
        return box(_title(scene, row), _told(scene, row), scene.layout.width, height, scene.glyphs)

    def detail(self, scene: Scene, key: str) -> tuple[str, Sequence[str]]:
        """Every figure and what it stands on."""
        row = _rows(scene).get(key)
        if row is None:
            return "gone", ["This meter is no longer on the board."]
        return _title(scene, row), [*_told(scene, row), "", "coalmine cost"]

    def fields(self, scene: Scene, key: str) -> Mapping[str, str]:
        """The meter as named words."""
        row = _rows(scene).get(key)
        return {} if row is None else _fields(row)


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that fit, with their widths: a figure is shown whole or not at all."""

    widths: Mapping[str, int]

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, str]], width: int) -> "Columns":
        """As many as fit between the sides of a frame; METER gets what is left."""
        needs = {
            head: min(_CELL_MAX, max(cell_len(row[head]) for row in (*rows, _OWN)))
            for head in _HEADS[1:]
        }
        for head in _GIVES_WAY:
            if width - 7 - sum(needs.values()) - len(needs) >= _METER_MIN:
                break
            del needs[head]
        needs["NEXT MONTH"] = min(needs["NEXT MONTH"], max(1, width - 8 - _METER_MIN))
        return cls({"METER": width - 7 - sum(needs.values()) - len(needs), **needs})


_OWN = dict(zip(_HEADS, _HEADS, strict=True))


def _rows(scene: Scene) -> dict[str, CostRow]:
    rows = scene.moment.board.costs if scene.moment.board else ()
    return {f"{row.meter} {row.signal} {row.book}": row for row in rows}


def _texts(scene: Scene, row: CostRow) -> Mapping[str, str]:
    """The cells of a row by the head of their column."""
    none, text = scene.glyphs.none, scene.glyphs.text
    figures = [text(figure or none, 40) for figure in (row.per_gb, row.hour, row.to_date)]
    words = [text(word, 60) or none for word in (row.meter, row.book, row.grade, row.point)]
    return dict(
        zip(_HEADS, (*words, *figures, _month(scene, row), text(row.currency, 8) or none),
            strict=True)
    )  # fmt: skip


def _month(scene: Scene, row: CostRow) -> str:
    if row.likely is None:
        return "unpriced"
    parts = (row.low or scene.glyphs.none, row.likely, row.high or scene.glyphs.none)
    return scene.glyphs.text(" - ".join(parts), 80)


def _cost_line(scene: Scene, columns: Columns, texts: Mapping[str, str]) -> Text:
    style = "dim" if scene.moment.stale else ""
    cells = [
        Cell(texts[head], columns.widths[head], style, right=head in _FIGURES)
        for head in _HEADS
        if head in columns.widths
    ]
    # Two cells for the cursor, as on the other pages.
    inner = line([Cell("", 2), *cells], scene.glyphs)
    return framed(inner, scene.layout.width, scene.glyphs)


def _tiny(scene: Scene, row: CostRow) -> Text:
    glyphs = scene.glyphs
    likely = "unpriced" if row.likely is None else glyphs.text(f"{row.likely} {row.currency}", 16)
    room = max(1, scene.layout.width - 19)
    meter = Cell(glyphs.text(f"{row.meter} {row.book}", 80), room)
    return line([Cell("", 1), meter, Cell(likely, 16, right=True)], glyphs)


def _fields(row: CostRow) -> Mapping[str, str]:
    return {
        "route": row.meter,
        "signal": row.signal,
        "book": row.book,
        "grade": row.grade,
        "note": row.note,
    }


def _title(scene: Scene, row: CostRow) -> str:
    return scene.glyphs.text(f"{row.meter} by {row.book}", 120)


def _told(scene: Scene, row: CostRow) -> list[str]:
    """The figures in words, then what they stand on."""
    none, money = scene.glyphs.none, f" {row.currency}".rstrip()
    now = ", ".join(
        f"{word} {figure}{money}"
        for word, figure in (
            ("per GB", row.per_gb),
            ("an hour", row.hour),
            ("to date", row.to_date),
        )
        if figure is not None
    )
    month = _month(scene, row) + (money if row.likely is not None else "")
    stands = f"measured at {row.point or none}, price grade {row.grade or none}"
    stands += f", billed by the {row.unit}" if row.unit else ""
    texts = (now, f"next month {month}", stands, row.note)
    return [scene.glyphs.text(text, 1024) for text in texts if text]
