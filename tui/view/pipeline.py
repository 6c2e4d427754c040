"""Pipeline: where is telemetry lost or late, and how is that known?

A row per route. A cell is the stretch that ends at its hop; loss on an edge stands in the cell of
the hop that it did not reach. A blank cell is a hop that is not on the route.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from rich.text import Text

from core.verdict import Verdict, rank, worst
from scheduler.readmodel import BalanceRow, HopCell, RouteRow, SourceRow
from tui.view.account import canary_words
from tui.view.ages import age, number
from tui.view.empty import why_no_routes
from tui.view.flow import cell_words, flow_line
from tui.view.frame import box, framed, plain_row, rule
from tui.view.page import Page, Scene, View, in_order, list_title, order_note
from tui.view.rows import Cell, Row, line
from tui.view.strip import strip_text

_CELL = 7
_ROUTE_MIN = 16
_ENDS = ("send", "read")


class PipelineView(View):
    """The page of routes, the hop balance, and the sources that went quiet."""

    name = "pipeline"

    def page(self, scene: Scene) -> Page:
        """Routes worst first, then what the hops' own counters say, then quiet sources."""
        board = scene.moment.board
        rows = {row.name: row for row in board.routes} if board else {}
        order = sorted(rows, key=lambda name: (-rank(rows[name].verdict), name))
        keys = in_order(order, scene.choice.held)
        shown = [rows[key] for key in keys if _passes(scene, rows[key])]
        plan = HopColumns.of(list(rows.values()), scene.layout.width, scene.layout.narrow)
        body = [Row(row.name, partial(route_line, scene, row, plan)) for row in shown]
        if not rows:
            body.append(plain_row(scene, why_no_routes(scene.moment)))
        if scene.layout.tiny:
            return Page((), [Row(row.name, partial(_tiny, scene, row)) for row in shown] or body,
                        (), order)  # fmt: skip
        width, glyphs = scene.layout.width, scene.glyphs
        title = list_title("ROUTES", len(shown), len(rows), scene.choice.filter)
        note = order_note(order, scene.choice, "cell: the stretch ending at this hop, 30 min")
        head = (rule(title, note, width, glyphs, "top"), _heads(scene, plan))
        foot = (rule("", "", width, glyphs, "bottom"),)
        blank = framed(Text(""), width, glyphs)
        return Page(head, [*body, *_balance(scene), *_sources(scene)], foot, order, blank)

    def panel(self, scene: Scene, key: str | None, height: int) -> Sequence[Text]:
        """The chosen route's finding, evidence and account."""
        row = _route(scene, key)
        if row is None:
            return ()
        glyphs = scene.glyphs
        title = f"WHY: {glyphs.text(row.title or row.name, 120)}"
        texts: list[str | Text] = [flow_line(row, scene), *_told(scene, row)]
        return box(title, texts, scene.layout.width, height, glyphs)

    def detail(self, scene: Scene, key: str) -> tuple[str, Sequence[str]]:
        """Everything known of the route."""
        row = _route(scene, key)
        if row is None:
            return "gone", ["This route is no longer in the config."]
        told = [flow_line(row, scene).plain, "", *_told(scene, row)]
        told += ["", f"coalmine verify {scene.glyphs.text(row.name)}"]
        return scene.glyphs.text(row.title or row.name, 120), told

    def fields(self, scene: Scene, key: str) -> Mapping[str, str]:
        """The route as named words."""
        row = _route(scene, key)
        return {} if row is None else _fields(row)


@dataclass(frozen=True, slots=True)
class HopColumns:
    """Which hops have a column; the rest share one that shows the worst of them."""

    named: tuple[str, ...]
    more: bool

    @classmethod
    def of(cls, routes: Sequence[RouteRow], width: int, narrow: bool) -> "HopColumns":
        """As many of the hops between `send` and the store as fit, in the order of the flow."""
        place: dict[str, int] = {}
        for row in routes:
            for at, cell in enumerate(_middle(row)):
                place[cell.hop] = max(at, place.get(cell.hop, 0))
        middle = sorted(place, key=place.__getitem__)
        strip = 0 if narrow else 11
        fixed = 4 + 2 + 2 + 8 + _ROUTE_MIN + 3 * (_CELL + 1) + strip + 6
        room = max(0, (width - fixed) // (_CELL + 1))
        if len(middle) <= room:
            return cls(tuple(middle), more=False)
        return cls(tuple(middle[: max(0, room - 1)]), more=room > 0)

    def titles(self) -> list[str]:
        """One title a column, `SEND` first, `STORE` and `READ` last."""
        more = ["MORE"] if self.more else []
        return ["SEND", *(name.upper() for name in self.named), *more, "STORE", "READ"]

    def cells(self, row: RouteRow) -> list[HopCell | None]:
        """The route's cells in the order of the columns; None where the hop is not on it."""
        by_name = {cell.hop: cell for cell in row.hops}
        middle = _middle(row)
        hidden = [cell for cell in middle if cell.hop not in self.named]
        more = [_folded(hidden)] if self.more else []
        named = [cell if (cell := by_name.get(name)) in middle else None for name in self.named]
        return [by_name.get("send"), *named, *more, _store(row), by_name.get("read")]


def _store(row: RouteRow) -> HopCell | None:
    between = [cell for cell in row.hops if cell.hop not in _ENDS]
    return between[-1] if between else None


def _middle(row: RouteRow) -> list[HopCell]:
    return [cell for cell in row.hops if cell.hop not in _ENDS][:-1]


def _folded(cells: Sequence[HopCell]) -> HopCell | None:
    if not cells:
        return None
    verdict = worst(cell.verdict for cell in cells)
    return HopCell("more", verdict, None, None, f"{len(cells)} hop{'s'[: len(cells) > 1]}")


def _columns(scene: Scene, plan: HopColumns, texts: Sequence[str | Text]) -> list[Cell]:
    """Lead, verdict, SIGNAL, ROUTE, the hops, STRIP, SEEN."""
    strip = 0 if scene.layout.narrow else 10
    hops = len(plan.titles())
    widths = [2, 1, 7, 0, *([_CELL] * hops), strip, 5]
    present = [width for width in widths if width]
    widths[3] = scene.layout.width - 4 - sum(present) - len(present)
    last = len(widths) - 1
    return [
        Cell(text, width, "dim" if scene.moment.stale else "", right=place == last)
        for place, (text, width) in enumerate(zip(texts, widths, strict=True))
        if width
    ]


def _heads(scene: Scene, plan: HopColumns) -> Text:
    titles = [scene.glyphs.text(title, 63) for title in plan.titles()]
    cells = _columns(scene, plan, ["", "", "SIGNAL", "ROUTE", *titles, "STRIP", "SEEN"])
    return framed(line(cells, scene.glyphs), scene.layout.width, scene.glyphs)


def route_line(scene: Scene, row: RouteRow, plan: HopColumns) -> Text:
    """One framed line of the list."""
    glyphs, moment = scene.glyphs, scene.moment
    cells = _columns(
        scene,
        plan,
        [
            "",
            _glyph(scene, row.verdict),
            glyphs.text(row.signal, 20),
            glyphs.text(row.title or row.name, 80),
            *(_hop(scene, cell) for cell in plan.cells(row)),
            strip_text(moment.strip(row.strip), 10, glyphs),
            age(moment.later(row.age_s), glyphs.none) + moment.mark,
        ],
    )
    return framed(line(cells, glyphs), scene.layout.width, glyphs)


def _tiny(scene: Scene, row: RouteRow) -> Text:
    glyphs = scene.glyphs
    room = max(1, scene.layout.width - 9)
    seen = age(scene.moment.later(row.age_s), glyphs.none)
    name = Cell(glyphs.text(row.title or row.name, 80), room)
    verdict = Cell(_glyph(scene, row.verdict), 1)
    return line([Cell("", 1), verdict, name, Cell(seen, 4, right=True)], glyphs)


def _glyph(scene: Scene, verdict: Verdict) -> Text:
    stale = scene.moment.stale
    return Text(
        scene.glyphs.verdict(verdict, stale=stale), scene.glyphs.style(verdict, stale=stale)
    )


def _hop(scene: Scene, cell: HopCell | None) -> str | Text:
    if cell is None:
        return ""
    out = _glyph(scene, cell.verdict)
    words = Cell(cell_words(cell, scene), _CELL - 2, "dim" if scene.moment.stale else "")
    return Text.assemble(out, " ", line([words], scene.glyphs))


def _passes(scene: Scene, row: RouteRow) -> bool:
    chosen = scene.choice.filter
    well = scene.moment.verdict(row.verdict) is Verdict.OK
    return chosen.matches(_fields(row)) and not (chosen.faults and well)


def _fields(row: RouteRow) -> Mapping[str, str]:
    return {
        "route": f"{row.name} {row.title}",
        "signal": row.signal,
        "hop": " ".join(cell.hop for cell in row.hops),
        "verdict": row.verdict.value,
        "reason": row.reason,
        "finding": row.finding or row.detail,
    }


def _route(scene: Scene, key: str | None) -> RouteRow | None:
    rows = scene.moment.board.routes if scene.moment.board else ()
    return next((row for row in rows if row.name == key), None)


def _told(scene: Scene, row: RouteRow) -> list[str]:
    """Finding, evidence, the account of every canary, delays."""
    was = "was " if scene.moment.stale else ""
    texts = [
        f"{was}{row.verdict.value} ({row.reason}) {row.detail}",
        row.finding,
        *row.evidence,
        *canary_words(row, scene.glyphs.none),
        row.duplicates,
    ]
    return [scene.glyphs.text(text, 1024) for text in texts if text]


_BALANCE = (("HOP", 20), ("IN", 9), ("OUT", 9), ("STORED", 7), ("INTENDED", 8), ("LOSS", 8))


def _balance(scene: Scene) -> list[Row]:
    board = scene.moment.board
    if board is None or not board.balance:
        return []
    width, glyphs = scene.layout.width, scene.glyphs
    title = "HOP BALANCE: loss = in - out - stored - intended"
    heads = _balance_cells(scene, [*(name for name, _ in _BALANCE), "EVIDENCE"])
    return [
        Row(None, partial(rule, title, "", width, glyphs)),
        Row(None, lambda: framed(line(heads, glyphs), width, glyphs)),
        *(Row(None, partial(_balance_line, scene, row)) for row in board.balance),
    ]


def _balance_cells(scene: Scene, texts: Sequence[str]) -> list[Cell]:
    used = sum(width + 1 for _, width in _BALANCE)
    style = "dim" if scene.moment.stale else ""
    cells = [Cell("", 1)]
    cells += [
        Cell(text, width, style, right=place > 0)
        for place, (text, (_, width)) in enumerate(zip(texts, _BALANCE, strict=False))
    ]
    return [*cells, Cell(texts[-1], scene.layout.width - 4 - used - 1, style)]


def _balance_line(scene: Scene, row: BalanceRow) -> Text:
    glyphs = scene.glyphs
    figures = (row.came_in, row.went_out, row.stored, row.intended, row.loss)
    seen = age(scene.moment.later(row.age_s), glyphs.none)
    cells = _balance_cells(
        scene,
        [
            glyphs.text(f"{row.hop} {row.signal}", 80),
            *(number(figure, glyphs.none) for figure in figures),
            glyphs.text(f"{seen} {row.evidence}", 200),
        ],
    )
    return framed(line(cells, glyphs), scene.layout.width, glyphs)


def _sources(scene: Scene) -> list[Row]:
    board = scene.moment.board
    if board is None or not board.sources:
        return []
    told = [row for row in board.sources if scene.moment.verdict(row.verdict) is not Verdict.OK]
    title = f"SOURCES ({len(told):,} of {len(board.sources):,} quiet or not known)"
    width, glyphs = scene.layout.width, scene.glyphs
    head = Row(None, partial(rule, title, "", width, glyphs))
    return [head, *(Row(None, partial(_source_line, scene, row)) for row in told)]


def _source_line(scene: Scene, row: SourceRow) -> Text:
    glyphs = scene.glyphs
    newest = age(scene.moment.later(row.newest_age_s), glyphs.none)
    cells = [
        Cell("", 2),
        Cell(_glyph(scene, row.verdict), 1),
        Cell(glyphs.text(row.name, 63), 24),
        Cell(glyphs.text(row.backend, 63), 10),
        Cell(f"newest {newest}", 12),
        Cell(glyphs.text(f"{row.reason}: {row.detail}", 200), scene.layout.width - 58),
    ]
    return framed(line(cells, glyphs), scene.layout.width, glyphs)
