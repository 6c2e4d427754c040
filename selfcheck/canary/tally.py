"""What one access path has answered of late, and what that says of it. Pure."""

from array import array
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from core.clock import Instant
from core.reason import Reason
from core.verdict import Verdict
from selfcheck.canary.deadline import percentile
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.route import PathStatus

_KEPT_DELAYS = 200
# Of one canary in five that is an hour of a route that sends every 12 s.
_ANSWERS = 60
_ALL = (1 << _ANSWERS) - 1
# What happened at separate times is over when fewer than so many of them are left.
_MENDED = 2


def beginnings(bits: int) -> int:
    """How many runs of ones there are: of a trouble that lasts, only the beginning counts."""
    return (bits & ~(bits >> 1)).bit_count()


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

    evidence: whether the path may decide over a canary. denials, refusals: a bit for each of the
    last answers, the newest one lowest: whether it denied the canary or showed it wrongly; whether
    it was refused. denying, refusing: whether either happens now and then.
    """

    name: str
    rules: JudgingRules
    evidence: bool
    answers: deque[Answer]
    delays_s: "array[float]" = field(default_factory=lambda: array("d"))
    denials: int = 0
    refusals: int = 0
    denying: bool = False
    refusing: bool = False
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
        if answer is not Answer.BLIND and surely:
            self.denials = (self.denials << 1 | (answer in _DENIED)) & _ALL
            self.refusals = (self.refusals << 1 | (answer is Answer.REFUSED)) & _ALL
            self.denying = self._often(self.denials, was=self.denying)
            self.refusing = self._often(self.refusals, was=self.refusing)
        if delay_s is not None:
            self.delays_s.append(delay_s)
            del self.delays_s[:-_KEPT_DELAYS]
        if self.verdict() != before:
            self.since = now.utc

    def _often(self, bits: int, *, was: bool) -> bool:
        return beginnings(bits) >= (_MENDED if was else self.rules.hour_losses)

    def status(self) -> PathStatus:
        """Counts, delays and verdict: nothing shown and nothing missed is `blind`."""
        if self.told is None:
            # Asked for more often than anything changes.
            self.told = self._status()
        return self.told

    def _status(self) -> PathStatus:
        verdict, reason = self.verdict()
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
        told, of = [], len(self.answers)
        if self.denied >= self.rules.losses_to_fail:
            told.append(f"does not show {self.denied} of the last {of} canaries")
        if self.wrong >= self.rules.losses_to_fail:
            told.append(
                f"shows {self.wrong} of the last {of} canaries otherwise than they were sent"
            )
        if not told and self.denying:
            times = f"{beginnings(self.denials)} separate times among its last {_ANSWERS} answers"
            told.append(f"did not show what is stored, or not as it was sent, {times}")
        return " and ".join(told)

    def refuses(self) -> str:
        """How it cannot be read while others can, in words; "" while it can."""
        least = self.rules.losses_to_fail
        if list(self.answers)[-least:] == [Answer.REFUSED] * least:
            count = f"{self.refused} of the last {len(self.answers)}"
            return f"could not be read for {count} canaries that it was asked for"
        if not self.refusing:
            return ""
        times = f"{beginnings(self.refusals)} separate times among its last {_ANSWERS} answers"
        return f"could not be read {times}"

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
