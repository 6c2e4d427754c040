"""What one access path has answered of late, and what that says of it. Pure."""

from array import array
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from core.clock import Instant
from core.reason import Reason
from core.verdict import Verdict
from selfcheck.canary.deadline import percentile
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.lately import Lately
from selfcheck.canary.ledger import PathPast
from selfcheck.canary.route import PathStatus

_KEPT_DELAYS = 200
# Of one canary in five that is an hour of a route that sends every 12 s.
_ANSWERS = 60
# Reads that fail now and then are ordinary; so many of the newest ones are not.
_READS, _FAILURES = 100, 10
# So many that fail in a row are an outage, and so many outages within an hour no accident.
_IN_A_ROW, _OUTAGES = 3, 3
# A path that failed so many in a row cannot be read: two canaries, three times each.
_UNREADABLE = 6


class Answer(StrEnum):
    """What a path made of a canary that is known to be stored, or known to be lost.

    DENIED: it is stored, and this path does not show it. WRONG: this path shows it otherwise than
    it was sent, and another as it was. STALE: a cache went on answering without it. REFUSED: it
    could not be read, while canaries were being read otherwise.
    """

    OK = "ok"
    LOST = "lost"
    DENIED = "denied"
    WRONG = "wrong"
    BLIND = "blind"
    STALE = "stale"
    REFUSED = "refused"


UNREAD = frozenset({Answer.BLIND, Answer.REFUSED})
_DENIED = frozenset({Answer.DENIED, Answer.WRONG})


@dataclass(slots=True)
class PathTally:
    """The newest answers of one path, its delays, and since when its verdict has been the same.

    evidence: whether the path may decide over a canary. denials: of the last answers those that
    denied a canary or showed it wrongly. again: the same of answers to whoever asks once more, at
    its deadline, for what the path has shown before. reads: those that failed. outages: Unix
    seconds at which the last ones began: several reads in a row that failed.
    """

    name: str
    rules: JudgingRules
    evidence: bool
    answers: deque[Answer]
    delays_s: "array[float]" = field(default_factory=lambda: array("d"))
    denials: Lately = field(default_factory=lambda: Lately(_ANSWERS))
    again: Lately = field(default_factory=lambda: Lately(_ANSWERS))
    reads: Lately = field(default_factory=lambda: Lately(_READS, least=_FAILURES))
    outages: deque[float] = field(default_factory=lambda: deque(maxlen=_OUTAGES))
    since: datetime | None = None
    told: PathStatus | None = None

    @classmethod
    def empty(cls, name: str, rules: JudgingRules, *, evidence: bool) -> "PathTally":
        """Nothing asked yet."""
        return cls(name, rules, evidence, deque(maxlen=rules.window))

    def add(
        self, answer: Answer, now: Instant, delay_s: float | None = None, *, surely: bool = True
    ) -> None:
        """Count one answer; a verdict that changed by it began `now`.

        surely: whether the canary was there when it was asked for; one that came late may not have
        been, and speaks for the newest answers only.
        """
        before = self.verdict() if self.answers else None
        self.told = None
        self.answers.append(answer)
        if answer not in UNREAD and surely:
            self.denials.add(answer in _DENIED, self.rules.hour_losses)
        if delay_s is not None:
            self.delays_s.append(delay_s)
            del self.delays_s[:-_KEPT_DELAYS]
        if self.verdict() != before:
            self.since = now.utc

    def asked_again(self, answer: Answer) -> None:
        """Count an answer to whoever asks once more."""
        self.again.add(answer in _DENIED, self.rules.hour_losses)
        self.told = None

    def read(self, now: Instant, *, complete: bool) -> None:
        """Count a read by this path."""
        self.reads.add(not complete, self.rules.hour_losses)
        row = self.reads.bits & ((2 << _IN_A_ROW) - 1)
        if row == (1 << _IN_A_ROW) - 1:
            self.outages.append(now.utc.timestamp())
        self.told = None

    def past(self, shown: Mapping[str, int]) -> PathPast:
        """What outlives a restart, with what was `shown`."""
        bits = self.denials.bits, self.again.bits, self.reads.bits
        return PathPast(self.name, *bits, tuple(self.outages), shown)

    def recall(self, past: PathPast) -> None:
        """Take what was kept for what is known."""
        separate = self.rules.hour_losses
        self.denials.recall(past.denials, separate)
        self.again.recall(past.again, separate)
        self.reads.recall(past.reads, separate)
        self.outages.extend(past.outages)
        self.told = None

    def status(self) -> PathStatus:
        """Counts, delays and verdict: nothing shown and nothing missed is `blind`."""
        if self.told is None:
            # Asked for more often than anything changes.
            self.told = self._status()
        return self.told

    def _status(self) -> PathStatus:
        verdict, reason = self.verdict()
        if verdict is Verdict.OK and self.denies():
            verdict, reason = Verdict.DEGRADED, Reason.SILENT_LOSS
        elif verdict is Verdict.OK and self.reads.often:
            verdict, reason = Verdict.DEGRADED, Reason.READBACK
        known = sorted(self.delays_s)
        return PathStatus(
            name=self.name,
            evidence=self.evidence,
            verdict=verdict,
            reason=reason,
            ok=self.answers.count(Answer.OK),
            lost=self.lost + self.answers.count(Answer.STALE),
            blind=self.answers.count(Answer.BLIND) + self.refused,
            delay_p50_s=percentile(known, 0.5) if known else None,
            delay_p99_s=percentile(known, 0.99) if known else None,
            since=self.since,
        )

    @property
    def lost(self) -> int:
        """How many of the newest answers were without the canary, stored or not."""
        return self.answers.count(Answer.LOST) + self.denied

    @property
    def denied(self) -> int:
        """How many of the newest answers were without a canary that is stored."""
        return self.answers.count(Answer.DENIED)

    @property
    def refused(self) -> int:
        """How many of the newest reads failed while others did not."""
        return self.answers.count(Answer.REFUSED)

    @property
    def wrong(self) -> int:
        """How many of the newest answers showed a canary otherwise than it was sent."""
        return self.answers.count(Answer.WRONG)

    def denies(self) -> str:
        """How often it denies what is stored, or shows it wrongly, in words; "" while it does not.

        Now and then counts as well: at so many separate times, as one outage is one time.
        """
        told, of, window = [], len(self.answers), self.rules.window
        if self.denied >= self.rules.losses_to_fail:
            told.append(f"does not show {self.denied} of the last {of} canaries")
        if self.wrong >= self.rules.losses_to_fail:
            told.append(
                f"shows {self.wrong} of the last {of} canaries otherwise than they were sent"
            )
        if not told and (bad := self.denials.newest(window)) >= self.rules.losses_to_fail:
            told.append(
                f"did not show {bad} of the last {window} canaries, or not as they were sent"
            )
        elif not told and self.denials.often:
            times = f"{self.denials.times} separate times among its last {_ANSWERS} answers"
            told.append(f"did not show what is stored, or not as it was sent, {times}")
        if (gone := self.again.newest(window)) >= self.rules.losses_to_fail:
            told.append(f"asked again, does not show {gone} of the last {window} canaries")
        elif self.again.often:
            times = f"{self.again.times} separate times among its last {_ANSWERS} answers"
            told.append(f"asked again, did not show what it had shown {times}")
        return " and ".join(told)

    def refuses(self, now: Instant, hour_s: float) -> str:
        """How it cannot be read while others can, in words; "" while it can."""
        if self.reads.newest(_UNREADABLE) == _UNREADABLE:
            return f"could not be read the last {_UNREADABLE} times, while others were"
        if self.reads.often:
            of = f"{self.reads.count} of its last {_READS} reads"
            return f"failed {of}, at {self.reads.times} separate times"
        # A wall clock that was set back meanwhile ends it.
        since_s = now.utc.timestamp() - self.outages[0] if self.outages else hour_s
        if len(self.outages) == _OUTAGES and 0 <= since_s < hour_s:
            return f"could not be read {_OUTAGES} separate times within the hour"
        return ""

    def verdict(self) -> tuple[Verdict, Reason]:
        """Verdict of the path, and why."""
        lost = self.lost
        if self.answers and self.answers[-1] is Answer.STALE:
            # One is enough: what the store is known to hold, the cache denies.
            return Verdict.FAIL, Reason.STALE
        if lost >= self.rules.losses_to_fail:
            return Verdict.FAIL, Reason.SILENT_LOSS
        if self.wrong >= self.rules.losses_to_fail:
            return Verdict.FAIL, Reason.ALTERED
        if not self.answers:
            return Verdict.BLIND, Reason.STARTING
        if self.answers[-1] in UNREAD:
            return Verdict.BLIND, Reason.READBACK
        if self.wrong:
            return Verdict.DEGRADED, Reason.ALTERED
        return (Verdict.DEGRADED, Reason.SILENT_LOSS) if lost else (Verdict.OK, Reason.OK)
