"""What is kept in mind of a route's canaries: the newest and the open rows, and an hour in figures.

What lies further back is in the ledger. Rows are let go of, so that memory does not grow with the
age of a ledger; what a verdict needs of an hour is counted by the minute in which a canary was
sent. A route that sends rarely has longer hours and minutes: in few canaries nothing is rare. Pure.
"""

import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby, islice

from core.clock import Instant
from selfcheck.canary.judge import duplicated, past_deadline
from selfcheck.canary.ledger import Brief, Past, late, untaken, untold
from selfcheck.canary.model import CanaryKey, LedgerRow, Outcome

HOUR_S = 3600.0
_MINUTE_S = 60.0
# Canaries that the hour and the minute of a route hold at least.
_OF_HOUR, _OF_MINUTE = 60, 6


def hour_s(every_s: float) -> float:
    """How long an hour is, in seconds, on a route with so many between two canaries."""
    return max(HOUR_S, _OF_HOUR * every_s)


@dataclass(slots=True)
class Tally:
    """Canaries by what is known of them.

    doubled: stored more often than sent. counted: the store told how many copies there are.
    untaken: arrived though their sender was not told that they were taken. late: arrived after
    their deadlines. slow: took longer than the route says it may. times: at how many separate
    times some went astray; one outage is one time, and each minute in which only some did is
    another. runs: the same, whole runs of minutes.
    """

    judged: int = 0
    lost: int = 0
    doubled: int = 0
    counted: int = 0
    altered: int = 0
    dropped: int = 0
    refused: int = 0
    untold: int = 0
    untaken: int = 0
    late: int = 0
    slow: int = 0
    times: int = 0
    runs: int = 0

    @property
    def astray(self) -> int:
        """Canaries that were refused, doubled, late, not to be told of, or kept without a yes."""
        late = self.late + self.slow
        return self.refused + self.untold + self.untaken + self.doubled + late

    def add(self, brief: Brief, by: int, epoch: int = 0, slow_s: float = math.inf) -> None:
        """Count one canary `by` times. epoch: the present one. slow_s: what is slow."""
        self.judged += by * (brief.outcome is not Outcome.PENDING)
        self.lost += by * (brief.outcome is Outcome.LOST)
        self.doubled += by * (brief.doubled is True)
        self.counted += by * (brief.doubled is not None)
        self.altered += by * (brief.outcome is Outcome.ALTERED)
        self.dropped += by * (brief.outcome is Outcome.POLICY_DROP)
        self.refused += by * (brief.outcome is Outcome.REJECTED)
        # What the end of an earlier epoch may have kept from leaving says nothing of its route.
        killed = brief.unheard and brief.key.epoch < epoch
        self.untold += by * (brief.untold and not killed)
        self.untaken += by * brief.untaken
        self.late += by * brief.late
        self.slow += by * (not brief.late and brief.delay_s is not None and brief.delay_s > slow_s)

    def take(self, other: "Tally") -> None:
        """Take another one off this."""
        self.judged -= other.judged
        self.lost -= other.lost
        self.doubled -= other.doubled
        self.counted -= other.counted
        self.altered -= other.altered
        self.dropped -= other.dropped
        self.refused -= other.refused
        self.untold -= other.untold
        self.untaken -= other.untaken
        self.late -= other.late
        self.slow -= other.slow


def brief_of(row: LedgerRow) -> Brief:
    """The part of a row that outlives it in mind."""
    doubled = None if row.copies is None else duplicated(row, 1)
    return Brief(
        row.canary.key, row.sent, row.sent_under, row.outcome, doubled, row.judged, row.delay_s,
        row.first_path, row.empty_path, untaken(row.outcome, row.receipt),
        untold(row.outcome, row.reason), row.receipt is None, late(row.outcome, row.reason),
    )  # fmt: skip


class KeptRows:
    """The newest judged rows of one route, at most `most`, those under way and those held."""

    def __init__(
        self,
        most: int,
        verifying: Collection[Outcome],
        now: Instant,
        every_s: float = 0.0,
        epoch: int = 0,
        slow_s: float | None = None,
    ) -> None:
        """`verifying`: outcomes that say a complete read has judged a canary.

        every_s: between two canaries. epoch: the present one. slow_s: the delay that the route
        says is slow.
        """
        self._epoch, self._slow_s = epoch, slow_s or math.inf
        self.hour_s = hour_s(every_s)
        self._minute_s = max(_MINUTE_S, _OF_MINUTE * every_s)
        self._most, self._verifying, self._began = most, frozenset(verifying), now
        self._rows: dict[CanaryKey, LedgerRow] = {}
        self._pending: dict[CanaryKey, None] = {}
        # By the minute of sending in the present boot, oldest first.
        self._minutes: dict[int, Tally] = {}
        self._hour = Tally()
        self._judged: tuple[int, list[LedgerRow]] | None = None
        self._verified: tuple[CanaryKey, Instant] | None = None

    def __getitem__(self, key: CanaryKey) -> LedgerRow:
        return self._rows[key]

    def recall(self, rows: Iterable[LedgerRow], past: Past) -> None:
        """Begin anew with what the ledger knows; `rows` in sending order."""
        self._minutes, self._hour, self._verified, self._judged = {}, Tally(), None, None
        self._rows = {row.canary.key: row for row in rows}
        self._pending = {k: None for k, r in self._rows.items() if r.outcome is Outcome.PENDING}
        for brief in past.recent:
            self._count(brief, 1)
        for brief in past.newest:
            self._verify(brief)

    def put(self, row: LedgerRow) -> None:
        """Keep a row, in place of what was known of it."""
        key, brief = row.canary.key, brief_of(row)
        before = self._rows.get(key)
        if before is None:
            self._count(brief, 1)
        elif self._minute(brief) in self._minutes:
            # A canary whose hour is over is not counted any more, whatever becomes of it.
            self._count(brief_of(before), -1)
            self._count(brief, 1)
        self._rows[key], self._judged = row, None
        self._verify(brief)
        if row.outcome is Outcome.PENDING:
            self._pending[key] = None
        else:
            self._pending.pop(key, None)

    def _count(self, brief: Brief, by: int) -> None:
        for tally in (self._minutes.setdefault(self._minute(brief), Tally()), self._hour):
            tally.add(brief, by, self._epoch, self._slow_s)

    def _minute(self, brief: Brief) -> int:
        sent, began = brief.sent, self._began
        if sent.boot_id == began.boot_id:
            return int(sent.boot_s // self._minute_s)
        # What an earlier boot sent lies back by the wall clock, as it stood at our beginning.
        # A wall clock that was set back since would put it ahead of us, where no hour ends.
        back_s = max(0.0, (began.utc - sent.utc).total_seconds())
        return int((began.boot_s - back_s) // self._minute_s)

    def _verify(self, brief: Brief) -> None:
        newer = self._verified is None or brief.key >= self._verified[0]
        if newer and brief.outcome in self._verifying:
            self._verified = (brief.key, brief.sent)

    def forget(self, held: Collection[CanaryKey], now: Instant) -> list[CanaryKey]:
        """Let go of the oldest judged rows that are not `held`; their keys are returned."""
        loose = [key for key in self._rows if key not in self._pending and key not in held]
        gone = loose[: max(0, len(loose) - self._most)]
        if settled := self.settled(self._most, now):
            gone = [key for key in gone if key < settled[-1].canary.key]
        for key in gone:
            del self._rows[key]
        self._judged = None
        return gone

    def newest(self) -> Iterator[LedgerRow]:
        """All rows that are kept, from the newest."""
        return reversed(self._rows.values())

    def pending(self) -> list[LedgerRow]:
        """Rows without an outcome, oldest first."""
        return [self._rows[key] for key in self._pending]

    def judged(self, count: int) -> list[LedgerRow]:
        """The newest `count` rows that have an outcome, newest first."""
        if self._judged is None or self._judged[0] != count:
            done = (r for r in reversed(self._rows.values()) if r.outcome is not Outcome.PENDING)
            # A status is asked for more often than anything changes.
            self._judged = count, list(islice(done, count))
        return self._judged[1]

    def settled(self, count: int, now: Instant) -> list[LedgerRow]:
        """The newest `count` judged rows whose deadline has passed, newest first.

        What arrives is judged at once and what does not at its deadline: among the newest judged
        ones those that arrived are too many, as long as a later canary was seen than one that is
        still waited for. Empty when none is.
        """
        oldest = next(iter(self._pending), None)
        seen = next((key for key, row in self._from_newest() if row.seen is not None), None)
        if oldest is None or seen is None or seen < oldest:
            return []
        done = (row for key, row in self._from_newest() if key not in self._pending)
        if past_deadline(self._rows[oldest], now):
            # It waits for its last read, and all behind it are in the same doubt.
            older = (row for row in done if row.canary.key < oldest)
        else:
            older = (row for row in done if past_deadline(row, now))
        return list(islice(older, count))

    def _from_newest(self) -> Iterator[tuple[CanaryKey, LedgerRow]]:
        return reversed(self._rows.items())

    def hour(self, now: Instant) -> Tally:
        """Canaries sent within the last hour, to the minute."""
        while self._minutes:
            minute = next(iter(self._minutes))
            if (minute + 1) * self._minute_s > now.boot_s - self.hour_s:
                break
            self._hour.take(self._minutes.pop(minute))
        hour = self._hour
        if not hour.astray:
            return replace(hour)
        known = [one for one in self._minutes.values() if one.judged]
        mixed = sum(0 < one.astray < one.judged for one in known)
        runs = sum(1 for astray, _ in groupby(known, lambda one: one.astray > 0) if astray)
        return replace(hour, times=max(mixed, runs), runs=runs)

    @property
    def verified(self) -> Instant | None:
        """When the newest canary was sent that a complete read has judged; None without one."""
        return self._verified[1] if self._verified else None
