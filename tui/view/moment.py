"""A board at a moment: what every view function draws.

Ages go on between reads, and a board that is too old to stand on makes every row stale: shown as
what it was, and counted as `blind`.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from core.verdict import Verdict
from scheduler.readmodel import Board, IncidentRow, TroubleLine
from tui.view.strip import aged

# Reads come every 2 s; an answer that takes longer than this is no answer.
STALE_AFTER_S = 5.0
# Whoever freezes the screen wants to read it in peace; longer, an old `ok` could pass for news.
FROZEN_STALE_AFTER_S = 300.0
SKEW_LIMIT_S = 2.0
TROUBLES = ("OFFLINE", "STOPPED", "BLIND", "EXPORT")


@dataclass(frozen=True, slots=True)
class Lost:
    """Reading fails: since when (seconds ago), why, and when the next try is due."""

    for_s: float
    why: str
    retry_in_s: float | None


@dataclass(frozen=True, slots=True)
class Moment:
    """board: the last one read, None before the first; elapsed_s: its age now.

    skew_s: how far our wall clock is ahead of the board's. frozen: since when, None when live.
    """

    board: Board | None
    elapsed_s: float
    now: datetime
    lost: Lost | None
    skew_s: float = 0.0
    frozen: datetime | None = None

    @property
    def offline(self) -> Lost | None:
        """The failing read, or the answer that is overdue."""
        if self.lost is not None or self.board is None:
            return self.lost
        if self.frozen is None and self.elapsed_s > STALE_AFTER_S:
            return Lost(self.elapsed_s, "no news", None)
        return None

    @property
    def stopped(self) -> bool:
        """Whether the board says that our own scheduler does not tick."""
        return self.board is not None and "STOPPED" in {one.word for one in self.board.troubles}

    @property
    def stale(self) -> bool:
        """Whether nothing on the board may be taken for the present."""
        too_old = self.frozen is not None and self.elapsed_s > FROZEN_STALE_AFTER_S
        return self.offline is not None or self.stopped or too_old

    @property
    def mark(self) -> str:
        """`*` behind ages while our clock and the board's disagree."""
        return "*" if abs(self.skew_s) > SKEW_LIMIT_S else ""

    def later(self, age_s: float | None) -> float | None:
        """An age of the board as it is now."""
        return None if age_s is None else age_s + self.elapsed_s

    def since(self, then: datetime) -> float:
        """Seconds from `then` until now, by the board's own clock."""
        assert self.board is not None
        return (self.board.at - then).total_seconds() + self.elapsed_s

    def verdict(self, verdict: Verdict) -> Verdict:
        """`verdict` as it counts now."""
        return Verdict.BLIND if self.stale else verdict

    def strip(self, strip: tuple[Verdict | None, ...]) -> list[Verdict | None]:
        """A strip whose right edge is now."""
        return aged(strip, self.elapsed_s)

    def troubles(self) -> tuple[TroubleLine, ...]:
        """Every trouble, worst first; the four kinds stay apart."""
        lines = []
        if self.offline is not None:
            lost = self.offline
            lines.append(TroubleLine("OFFLINE", lost.why, lost.for_s, lost.retry_in_s))
        for line in self.board.troubles if self.board else ():
            retry = line.retry_in_s
            left = None if retry is None else max(0.0, retry - self.elapsed_s)
            lines.append(TroubleLine(line.word, line.text, line.for_s + self.elapsed_s, left))
        order = {word: place for place, word in enumerate(TROUBLES)}
        return tuple(sorted(lines, key=lambda line: order.get(line.word, len(order))))


@dataclass(frozen=True, slots=True)
class Counts:
    """The sums of a screen's first line; they are those of the board while it is fresh."""

    open: int
    acked: int
    muted: int
    checks: Mapping[Verdict, int]
    routes: Mapping[Verdict, int]
    sources: Mapping[Verdict, int]


def counts(moment: Moment) -> Counts:
    """Sums over the whole board: no filter, no page, no fold changes them."""
    board = moment.board
    if board is None:
        return Counts(0, 0, 0, {}, {}, {})
    incidents = open_incidents(board)
    return Counts(
        open=len(incidents),
        acked=sum(bool(row.acked_by) for row in incidents),
        muted=sum(bool(row.muted_by) for row in incidents),
        checks=Counter(moment.verdict(row.verdict) for row in board.checks),
        routes=Counter(moment.verdict(row.verdict) for row in board.routes),
        sources=Counter(moment.verdict(row.verdict) for row in board.sources),
    )


def open_incidents(board: Board) -> list[IncidentRow]:
    """Incidents that have not resolved."""
    return [row for row in board.incidents if row.state != "resolved"]
