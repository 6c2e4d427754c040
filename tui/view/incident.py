"""One incident as a screen tells it: its line, who holds it, why it is open and where.

The glyph shows the verdict, severity is a word. Ack and mute stand in a column of their own: they
change who is told, not what is true.
"""

from collections.abc import Mapping, Sequence

from rich.text import Text

from scheduler.readmodel import CheckRow, IncidentRow, RouteRow
from tui.view.account import account_words, canary_words
from tui.view.ages import age, number, span
from tui.view.flow import flow_line
from tui.view.frame import framed
from tui.view.groups import SEVERITY, carried
from tui.view.moment import open_incidents
from tui.view.page import Scene
from tui.view.rows import Cell, line
from tui.view.strip import strip_text


def fields(row: IncidentRow) -> Mapping[str, str]:
    """What the filter sees of an incident."""
    return {
        "sev": f"{SEVERITY.get(row.severity, row.severity)} {row.severity}",
        "route": " ".join((row.subject, *row.members)),
        "hop": row.hop,
        "verdict": row.verdict.value,
        "title": row.title,
        "summary": row.summary,
        "by": f"{row.acked_by} {row.muted_by}".strip(),
    }


HEADS = ("", "", "SEV", "FOR", "WHAT", "SUBJECT", "WHERE", "STRIP", "SEEN")


def columns(scene: Scene, texts: Sequence[str | Text], styles: Sequence[str] = ()) -> list[Cell]:
    """The cells of one row: lead, verdict, SEV, FOR, WHAT, SUBJECT, WHERE, STRIP, SEEN."""
    layout = scene.layout
    widths = [2, 1, 4, 4, 0, 20 if layout.wide else 0, 0 if layout.narrow else 10,
              10 if layout.narrow else 20, 5]  # fmt: skip
    present = [width for width in widths if width]
    widths[4] = layout.width - 4 - sum(present) - len(present)
    rights = (3, 8)
    styles = styles or ("",) * len(texts)
    return [
        Cell(text, width, style, right=place in rights)
        for place, (text, width, style) in enumerate(zip(texts, widths, styles, strict=True))
        if width
    ]


def incident_line(scene: Scene, row: IncidentRow) -> Text:
    """One framed line of the list."""
    glyphs, moment = scene.glyphs, scene.moment
    stale = moment.stale
    dim = "dim" if stale else ""
    texts: list[str | Text] = [
        f" {overlay(scene, row)}",
        glyphs.verdict(row.verdict, stale=stale),
        SEVERITY.get(row.severity, glyphs.text(row.severity.upper(), 4)),
        age(moment.since(row.since)) + moment.mark,
        what(scene, row),
        glyphs.text(row.subject, 80),
        glyphs.text(row.hop, 40) or glyphs.none,
        strip_text(moment.strip(row.strip), 10 if scene.layout.narrow else 20, glyphs),
        age(moment.later(row.seen_age_s), glyphs.none) + moment.mark,
    ]
    severe = "bold" if row.severity == "critical" and not stale else dim
    styles = ["", glyphs.style(row.verdict, stale=stale), severe, dim, dim, dim, dim, "", dim]
    return framed(line(columns(scene, texts, styles), glyphs), scene.layout.width, glyphs)


def tiny_row(scene: Scene, row: IncidentRow) -> Text:
    """Glyph, severity, age and text: all that fits a very small terminal."""
    glyphs, stale = scene.glyphs, scene.moment.stale
    cells = [
        Cell(f" {overlay(scene, row)}".rstrip() or " ", 2 if overlay(scene, row).strip() else 1),
        Cell(glyphs.verdict(row.verdict, stale=stale), 1, glyphs.style(row.verdict, stale=stale)),
        Cell(SEVERITY.get(row.severity, glyphs.text(row.severity.upper(), 4)), 4),
        Cell(age(scene.moment.since(row.since)) + scene.moment.mark, 4, right=True),
    ]
    used = sum(cell.width + 1 for cell in cells)
    cells.append(Cell(glyphs.text(row.title, 120), max(1, scene.layout.width - used)))
    return line(cells, glyphs)


def overlay(scene: Scene, row: IncidentRow) -> str:
    """Who is told: pending, acked or muted; a blank else."""
    if row.key in scene.choice.pending:
        return scene.glyphs.pending
    if row.acked_by:
        return scene.glyphs.acked
    return scene.glyphs.muted if row.muted_by else " "


def what(scene: Scene, row: IncidentRow) -> str:
    """Title and summary; for acked and muted rows who has it, and for how long."""
    glyphs = scene.glyphs
    title = glyphs.text(row.title, 120)
    if row.members:
        title += f" +{len(row.members)}"
    holder = _holder(scene, row)
    rest = holder or glyphs.text(found(scene, row)[0])
    return f"{title} {glyphs.dot} {rest}" if rest else title


def _holder(scene: Scene, row: IncidentRow) -> str:
    held = []
    for by, until, verb, end in (
        (row.acked_by, row.acked_until, "acked", "lapses"),
        (row.muted_by, row.muted_until, "muted", "ends"),
    ):
        if by:
            left = f", {end} in {span(-scene.moment.since(until))}" if until else ""
            held.append(f"{verb} by {scene.glyphs.text(by, 40)}{left}")
    return "; ".join(held)


def told(scene: Scene, row: IncidentRow) -> list[str]:
    """Severity, verdict, since when, how fresh, who holds it."""
    word = SEVERITY.get(row.severity, row.severity)
    was = "was " if scene.moment.stale else ""
    holder = _holder(scene, row)
    state = f"{scene.glyphs.text(word, 12)} {was}{row.verdict.value}"
    open_for = span(scene.moment.since(row.since))
    return [
        f"{state}, open for {open_for}, since {row.since:%Y-%m-%d %H:%M:%SZ}",
        f"last result {age(scene.moment.later(row.seen_age_s), scene.glyphs.none)} ago",
        *([holder] if holder else []),
    ]


def found(scene: Scene, row: IncidentRow) -> tuple[str, Sequence[str]]:
    """What was found and its evidence: the route's own finding, else what the incident says.

    One source for every pane: the incident's words are as old as its last change.
    """
    route = _route(scene, row)
    if route is not None and route.finding:
        return route.finding, route.evidence
    return row.summary, row.evidence


def members(scene: Scene, row: IncidentRow) -> list[str]:
    """A line for each open incident that the page of `row` carries. Safe text."""
    board = scene.moment.board
    rows = carried(row, open_incidents(board)) if board else []
    return [scene.glyphs.text(f"{one.title}: {found(scene, one)[0]}", 1024) for one in rows]


def why(scene: Scene, row: IncidentRow) -> list[str]:
    """What was found, the evidence, who was told, what else this page carries. Safe text."""
    headline, evidence = found(scene, row)
    texts = [headline, *evidence]
    texts += [f"page: {page}" for page in row.pages] or ["page: none yet"]
    if row.members:
        texts.append(f"and {number(len(row.members))} more: {', '.join(row.members)}")
    return [scene.glyphs.text(text, 1024) for text in texts if text]


def where(scene: Scene, row: IncidentRow) -> list[str | Text]:
    """The route's hops and what became of its canaries; of a check its reason and account.

    What was found is told by `why`: one finding, in one place.
    """
    route, check = _route(scene, row), _check(scene, row)
    glyphs = scene.glyphs
    if route is not None:
        unknown = [] if route.finding else [route.detail or "no finding yet"]
        texts = [*unknown, *canary_words(route, glyphs.none)]
        return [flow_line(route, scene), *(glyphs.text(text, 1024) for text in texts)]
    if check is not None:
        reason = f"{check.reason}: {check.detail}" if check.detail else check.reason
        texts = [f"{check.kind} {check.name}", reason, account_words(check.account, glyphs.none)]
        return [glyphs.text(text, 1024) for text in texts if text]
    return ["its check is no longer in the config"]


def _route(scene: Scene, row: IncidentRow) -> RouteRow | None:
    board = scene.moment.board
    rows = board.routes if board else ()
    return next((one for one in rows if one.name == row.subject), None)


def _check(scene: Scene, row: IncidentRow) -> CheckRow | None:
    board = scene.moment.board
    rows = board.checks if board else ()
    return next((one for one in rows if one.name == row.subject), None)


def plain(texts: Sequence[str | Text]) -> list[str]:
    """The same without styles."""
    return [text.plain if isinstance(text, Text) else text for text in texts]
