"""Triage: what needs me, since when, is it real, and can I trust this screen?"""

from collections.abc import Mapping, Sequence
from functools import partial

from rich.text import Text

from core.verdict import Verdict
from scheduler.readmodel import Board, IncidentRow
from tui.view.empty import why_no_incidents
from tui.view.frame import box, framed, plain_row, rule
from tui.view.glyphs import Glyphs
from tui.view.groups import folded, section_of, severity_of
from tui.view.incident import (
    HEADS,
    columns,
    fields,
    incident_line,
    members,
    plain,
    tiny_row,
    told,
    where,
    why,
)
from tui.view.moment import open_incidents
from tui.view.page import Page, Scene, View, in_order, list_title, order_note
from tui.view.rows import Row, line

_SOON_S = 900.0
_NOTE = "severity, then age"


class TriageView(View):
    """The page of open incidents."""

    name = "triage"

    def page(self, scene: Scene) -> Page:
        """Three sections of incidents, and how many checks are blind without one.

        Members stand under their leader, unless a filter looks for rows.
        """
        board = scene.moment.board
        every = open_incidents(board) if board else []
        by_key = {row.key: row for row in every}
        order = [row.key for row in sorted(every, key=partial(_rank, scene))]
        away = () if scene.choice.filter.text.strip() else folded(every, scene.choice.pending)
        rows = [row for row in every if row.key not in away]
        keys = [key for key in in_order(order, scene.choice.held) if key not in away]
        shown = [key for key in keys if self._passes(scene, by_key[key])]
        sections = [[by_key[key] for key in shown if section_of(by_key[key]) == at]
                    for at in range(3)]  # fmt: skip
        if scene.layout.tiny:
            flat = [row for rows in sections for row in rows]
            tiny = [Row(row.key, partial(tiny_row, scene, row)) for row in flat]
            return Page((), tiny or self._empty(scene), (), order)
        return Page(
            head=self._head(scene, order, sections[0], rows),
            body=[*self._body(scene, sections, rows), *blind_note(scene)],
            foot=(rule("", "", scene.layout.width, scene.glyphs, "bottom"),),
            order=order,
            blank=framed(Text(""), scene.layout.width, scene.glyphs),
        )

    def _passes(self, scene: Scene, row: IncidentRow) -> bool:
        chosen = scene.choice.filter
        return chosen.matches(fields(row)) and not (chosen.faults and section_of(row) == 2)

    def _head(
        self, scene: Scene, order: Sequence[str], needs: Sequence[IncidentRow],
        rows: Sequence[IncidentRow],
    ) -> Sequence[Text]:  # fmt: skip
        total = sum(section_of(row) == 0 for row in rows)
        title = list_title("NEEDS YOU", len(needs), total, scene.choice.filter)
        note = order_note(order, scene.choice, f"{_NOTE} {scene.glyphs.dot} {legend(scene.glyphs)}")
        width = scene.layout.width
        return (
            rule(title, note, width, scene.glyphs, "top"),
            framed(line(columns(scene, HEADS), scene.glyphs), width, scene.glyphs),
        )

    def _body(
        self, scene: Scene, sections: Sequence[Sequence[IncidentRow]], rows: Sequence[IncidentRow]
    ) -> Sequence[Row]:
        body = [Row(row.key, partial(incident_line, scene, row)) for row in sections[0]]
        if not rows:
            body += self._empty(scene)
        elif not body:
            body.append(plain_row(scene, "nothing needs you here"))
        for at, title in ((1, "BLIND"), (2, "ACKED AND MUTED")):
            total = sum(section_of(row) == at for row in rows)
            if not total:
                continue
            named = list_title(title, len(sections[at]), total, scene.choice.filter)
            body.append(Row(None, partial(rule, named, "", scene.layout.width, scene.glyphs)))
            body += [Row(row.key, partial(incident_line, scene, row)) for row in sections[at]]
        return body

    def _empty(self, scene: Scene) -> list[Row]:
        return [plain_row(scene, why_no_incidents(scene.moment))]

    def panel(self, scene: Scene, key: str | None, height: int) -> Sequence[Text]:
        """WHY at the left, WHERE at the right."""
        row = incident(scene.moment.board, key)
        width, glyphs = scene.layout.width, scene.glyphs
        left_width = width // 2
        if row is None:
            return ()
        left_title = f"WHY: {glyphs.text(row.title, 120)}, episode {row.episode}"
        left = box(left_title, why(scene, row), left_width, height, glyphs)
        right_title = f"WHERE: {glyphs.text(row.hop) or 'not located'}"
        right = box(right_title, where(scene, row), width - left_width, height, glyphs)
        return [Text.assemble(a, b, no_wrap=True, end="") for a, b in zip(left, right, strict=True)]

    def detail(self, scene: Scene, key: str) -> tuple[str, Sequence[str]]:
        """Everything known of the incident."""
        row = incident(scene.moment.board, key)
        if row is None:
            return "resolved", ["This incident is no longer open."]
        carries = members(scene, row)
        lines = [
            *told(scene, row),
            "", "WHY", *plain(why(scene, row)),
            "", "WHERE", *plain(where(scene, row)), "",
            *(["CARRIES", *carries, ""] if carries else []),
            f"as told: {scene.glyphs.text(row.summary, 1024)}",
            f"key {scene.glyphs.text(row.key)}",
            f"coalmine ack {scene.glyphs.text(row.subject)}",
        ]  # fmt: skip
        return scene.glyphs.text(row.title, 120), lines

    def fields(self, scene: Scene, key: str) -> Mapping[str, str]:
        """The incident as named words."""
        row = incident(scene.moment.board, key)
        return {} if row is None else fields(row)


def incident(board: Board | None, key: str | None) -> IncidentRow | None:
    """The open incident with this key."""
    rows = open_incidents(board) if board else []
    return next((row for row in rows if row.key == key), None)


def _rank(scene: Scene, row: IncidentRow) -> tuple[int, int, int, float]:
    """Section, then what ends soon, then severity, then the oldest."""
    until = row.muted_until
    ends_soon = until is not None and -scene.moment.since(until) < _SOON_S
    return (section_of(row), 0 if ends_soon else 1, severity_of(row), row.since.timestamp())


def blind_note(scene: Scene) -> list[Row]:
    """One line for checks that are blind and have no incident yet: they must not look fine."""
    board = scene.moment.board
    if board is None or scene.moment.stale:
        return []
    told = {name for row in open_incidents(board) for name in (row.subject, *row.members)}
    names = [
        row.name for row in board.checks
        if row.verdict is Verdict.BLIND and row.name not in told
    ]  # fmt: skip
    if not names or len(names) == len(board.checks):
        return []
    glyphs = scene.glyphs
    named = ", ".join(glyphs.text(name, 63) for name in names[:20])
    text = f"{glyphs.verdicts[Verdict.BLIND]} {len(names):,} blind without an incident: {named}"
    return [plain_row(scene, text)]


def legend(glyphs: Glyphs) -> str:
    """The strip's scale."""
    ramp = glyphs.ramp
    return (
        f"strip 30 min: {ramp[Verdict.OK]} ok {ramp[Verdict.DEGRADED]} degraded"
        f" {ramp[Verdict.FAIL]} fail {ramp[Verdict.BLIND]} blind"
    )
