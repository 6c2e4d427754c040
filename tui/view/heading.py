"""The first line of every page: where we are, the sums, the time. Sums are never cut."""

from collections.abc import Mapping, Sequence

from rich.text import Text

from core.verdict import Verdict
from tui.view.glyphs import STYLE, Glyphs
from tui.view.layout import Layout
from tui.view.moment import Counts, Moment, counts

_GAP = "   "


def heading(page: str, moment: Moment, layout: Layout, glyphs: Glyphs) -> list[Text]:
    """One line; in a tiny terminal as many as the sums need."""
    sums = counts(moment)
    checks = _verdicts("" if layout.tiny else "checks ", sums.checks, glyphs)
    incidents = Text(_incidents(sums, tiny=layout.tiny), "bold" if sums.open else "")
    if layout.tiny:
        return _wrapped([checks, incidents, *_badges(moment)], layout.width)
    body = [checks]
    if page == "pipeline":
        body = [
            _verdicts("routes ", sums.routes, glyphs),
            _verdicts("sources ", sums.sources, glyphs),
        ]
    name = Text(f" coalmine {glyphs.arrow} {page}", "bold")
    space = Text(glyphs.text(moment.board.namespace, 63) if moment.board else "")
    clock = [*_badges(moment), Text(f"{moment.now:%H:%M:%S}Z")]
    # What gives way first stands last: the namespace, then our own name, then the clock.
    for left, right in (
        ([name, space, incidents, *body], clock),
        ([name, incidents, *body], clock),
        ([Text(" ") + incidents, *body], clock),
        ([Text(" ") + incidents, *body], _badges(moment)),
    ):
        joined = _joined(left, right, layout.width)
        if joined is not None:
            return [joined]
    return _wrapped([incidents, *body, *_badges(moment)], layout.width)


def _incidents(sums: Counts, *, tiny: bool) -> str:
    words = [f"{sums.open} open"]
    words += [f"{sums.acked} acked"] if sums.acked else []
    words += [f"{sums.muted} muted"] if sums.muted else []
    return " ".join(words) if tiny else "incidents " + " ".join(words)


def _verdicts(title: str, by_verdict: Mapping[Verdict, int], glyphs: Glyphs) -> Text:
    out = Text(title)
    shown = [verdict for verdict in Verdict if by_verdict.get(verdict)]
    for place, verdict in enumerate(shown):
        out.append(" " if place else "")
        out.append(f"{glyphs.verdicts[verdict]}{by_verdict[verdict]}", STYLE[verdict])
    return out if shown else out.append("none")


def _badges(moment: Moment) -> list[Text]:
    badges = []
    if moment.frozen is not None:
        badges.append(Text(f"FROZEN {moment.frozen:%H:%M}Z", "reverse bold"))
    if moment.mark:
        badges.append(Text(f"clock {moment.skew_s:+.0f}s", "bold"))
    return badges


def _joined(left: Sequence[Text], right: Sequence[Text], width: int) -> Text | None:
    head = Text(_GAP).join(part for part in left if part.cell_len)
    tail = Text(" ").join(right)
    gap = width - head.cell_len - tail.cell_len
    if gap < (1 if right else 0):
        return None
    return Text.assemble(head, " " * gap, tail, no_wrap=True, end="")


def _wrapped(parts: Sequence[Text], width: int) -> list[Text]:
    words = [word for part in parts for word in part.split(" ")]
    lines = [Text(no_wrap=True, end="")]
    for word in words:
        if lines[-1].cell_len and lines[-1].cell_len + 1 + word.cell_len > width:
            lines.append(Text(no_wrap=True, end=""))
        if lines[-1].cell_len:
            lines[-1].append(" ")
        lines[-1].append_text(word)
    return lines
