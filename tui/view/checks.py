"""Checks: everything that is configured, worst first, with the account of its runs."""

from collections.abc import Mapping, Sequence
from functools import partial

from rich.text import Text

from core.verdict import Verdict, rank
from scheduler.readmodel import CheckRow
from tui.view.account import account_words
from tui.view.ages import age, delay
from tui.view.empty import why_no_incidents
from tui.view.frame import box, framed, plain_row, rule
from tui.view.page import Page, Scene, View, in_order, list_title, order_note
from tui.view.rows import Cell, Row, line
from tui.view.strip import strip_text


class ChecksView(View):
    """The page of all checks."""

    name = "checks"

    def page(self, scene: Scene) -> Page:
        """Worst first, then by name."""
        board = scene.moment.board
        rows = {row.name: row for row in board.checks} if board else {}
        order = sorted(rows, key=lambda name: (-rank(rows[name].verdict), name))
        keys = in_order(order, scene.choice.held)
        shown = [rows[key] for key in keys if _passes(scene, rows[key])]
        body = [Row(row.name, partial(check_line, scene, row)) for row in shown]
        if not rows:
            body.append(plain_row(scene, why_no_incidents(scene.moment)))
        if scene.layout.tiny:
            return Page((), body, (), order)
        width, glyphs = scene.layout.width, scene.glyphs
        title = list_title("CHECKS", len(shown), len(rows), scene.choice.filter)
        note = order_note(order, scene.choice, "worst, then name")
        heads = ["", "", "VERDICT", "CHECK", "KIND", "LAST", "STRIP", "SEEN"]
        head = (
            rule(title, note, width, glyphs, "top"),
            framed(line(_columns(scene, heads), glyphs), width, glyphs),
        )
        blank = framed(Text(""), width, glyphs)
        return Page(head, body, (rule("", "", width, glyphs, "bottom"),), order, blank)

    def panel(self, scene: Scene, key: str | None, height: int) -> Sequence[Text]:
        """The last run and the account."""
        row = _check(scene, key)
        if row is None:
            return ()
        title = f"LAST RUN of {scene.glyphs.text(row.title or row.name, 120)}"
        return box(title, _told(scene, row), scene.layout.width, height, scene.glyphs)

    def detail(self, scene: Scene, key: str) -> tuple[str, Sequence[str]]:
        """Everything known of the check."""
        row = _check(scene, key)
        if row is None:
            return "gone", ["This check is no longer in the config."]
        told = [*_told(scene, row), "", f"coalmine verify {scene.glyphs.text(row.name)}"]
        return scene.glyphs.text(row.title or row.name, 120), told

    def fields(self, scene: Scene, key: str) -> Mapping[str, str]:
        """The check as named words."""
        row = _check(scene, key)
        return {} if row is None else _fields(row)


def check_line(scene: Scene, row: CheckRow) -> Text:
    """One line of the list, framed unless the terminal is tiny."""
    glyphs, moment = scene.glyphs, scene.moment
    stale = is_stale(scene, row)
    glyph = Text(glyphs.verdict(row.verdict, stale=stale), glyphs.style(row.verdict, stale=stale))
    name = glyphs.text(row.title or row.name, 80)
    seen = age(moment.later(row.age_s), glyphs.none) + moment.mark
    if scene.layout.tiny:
        room = max(1, scene.layout.width - 9)
        return line(
            [Cell("", 1), Cell(glyph, 1), Cell(name, room), Cell(seen, 4, right=True)], glyphs
        )
    texts: list[str | Text] = [
        "", glyph, word(scene, row), name, glyphs.text(row.kind, 20),
        delay(row.last_s, glyphs.none), strip_text(moment.strip(row.strip), 20, glyphs), seen,
    ]  # fmt: skip
    return framed(line(_columns(scene, texts), glyphs), scene.layout.width, glyphs)


def is_stale(scene: Scene, row: CheckRow) -> bool:
    """Whether the row's last verdict may no longer be taken for the present."""
    return scene.moment.stale or row.was is not None


def word(scene: Scene, row: CheckRow) -> str:
    """The verdict, or what it was; never a bare `ok` of the past."""
    if not is_stale(scene, row):
        return row.verdict.value
    return f"was {(row.was or row.verdict).value}"


def _columns(scene: Scene, texts: Sequence[str | Text]) -> list[Cell]:
    narrow = scene.layout.narrow
    widths = [2, 1, 12, 0, 0 if narrow else 8, 7, 0 if narrow else 20, 5]
    present = [width for width in widths if width]
    widths[3] = scene.layout.width - 4 - sum(present) - len(present)
    style = "dim" if scene.moment.stale else ""
    return [
        Cell(text, width, style, right=place in {5, 7})
        for place, (text, width) in enumerate(zip(texts, widths, strict=True))
        if width
    ]


def _passes(scene: Scene, row: CheckRow) -> bool:
    chosen = scene.choice.filter
    well = scene.moment.verdict(row.verdict) is Verdict.OK
    return chosen.matches(_fields(row)) and not (chosen.faults and well)


def _fields(row: CheckRow) -> Mapping[str, str]:
    return {
        "route": f"{row.name} {row.title}",
        "kind": row.kind,
        "verdict": row.verdict.value,
        "reason": row.reason,
        "detail": row.detail,
    }


def _check(scene: Scene, key: str | None) -> CheckRow | None:
    rows = scene.moment.board.checks if scene.moment.board else ()
    return next((row for row in rows if row.name == key), None)


def _told(scene: Scene, row: CheckRow) -> list[str]:
    """Verdict and reason, the facts of the last run, the account of all runs."""
    sign = f" {scene.glyphs.dot} "
    facts = sign.join(f"{name} {_fact(value)}" for name, value in row.facts.items())
    seen = age(scene.moment.later(row.age_s), scene.glyphs.none)
    texts = [
        f"{word(scene, row)} ({row.reason}) {row.detail}",
        f"last result {seen} ago, took {delay(row.last_s, scene.glyphs.none)}",
        facts,
        account_words(row.account, scene.glyphs.none),
    ]
    return [scene.glyphs.text(text, 1024) for text in texts if text]


def _fact(value: float | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
