"""When each canary is looked for: often at first, always *at* its deadline, rarely once lost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from core.clock import Instant
from core.text import safe_text
from selfcheck.backends.protocol import AccessPath, Question, Reading
from selfcheck.canary.judge import UNDECIDED, age_bounds_s
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.ledger import OPEN_S, OPEN_UNKNOWN_S
from selfcheck.canary.model import Canary, CanaryKey, LedgerRow, Look, Outcome, Signal

_DETAIL_CHARS = 160
# Query frontends cut start and end of a range to their step: Grafana Mimir's and Loki's to at most
# a minute by default. What is asked for too much is left out by stamp and id.
_ALIGNED_NS = 60_000_000_000
_SEEN = frozenset({Outcome.OK, Outcome.LATE, Outcome.ALTERED})


@dataclass(frozen=True, slots=True)
class _Look:
    at_s: float
    from_s: float


def deadline_at_s(row: LedgerRow, boot_id: str) -> float:
    """Boot seconds at which the deadline has provably passed."""
    return row.deadline_s + (row.sent.boot_s if row.sent.boot_id == boot_id else 0.0)


def is_open(row: LedgerRow, now: Instant) -> bool:
    """Whether a read may still change the row."""
    if row.outcome is Outcome.PENDING:
        return True
    limit_s = OPEN_UNKNOWN_S if row.outcome is Outcome.UNKNOWN else OPEN_S
    return row.outcome not in _SEEN and age_bounds_s(row.sent, now)[0] <= limit_s


def question_of(
    signal: Signal, canaries: Sequence[Canary], now_ns: int, *, stamped: bool
) -> Question:
    """The question for canaries of one route: a wider range than their stamps, on both sides."""
    stamps = [canary.stamp_ns for canary in canaries]
    end_ns = max(stamps) if stamped else max(now_ns, *stamps)
    return Question(
        signal,
        canaries[0].key.route,
        tuple(canaries),
        min(stamps) - _ALIGNED_NS,
        end_ns + _ALIGNED_NS,
        stamped,
    )


def look_of(row: LedgerRow, reading: Reading, path: AccessPath, *, seen: bool) -> Look:
    """What the ledger keeps of one read that asked `path` for `row`."""
    return Look(
        at_s=age_bounds_s(row.sent, reading.asked)[1],
        path=path.name,
        complete=reading.complete,
        seen=seen,
        reason=reading.reason,
        detail=safe_text(reading.detail, _DETAIL_CHARS),
    )


class Looks:
    """The next look at every open canary of a route; times in boot seconds.

    The gap between looks belongs to the route: it grows while reads come back empty and starts
    again when one shows a canary, so that a loss costs no more reads than health does.
    """

    def __init__(self, rules: JudgingRules, rng: Random, slow_s: float | None = None) -> None:
        """`rng` gives the jitter. slow_s: the delay that the route says is slow."""
        self._rules, self._rng, self._slow_s = rules, rng, slow_s or 0.0
        self._looks: dict[CanaryKey, _Look] = {}
        self._gap_s = rules.poll_first

    def __contains__(self, key: CanaryKey) -> bool:
        return key in self._looks

    def keys(self) -> list[CanaryKey]:
        """Keys of all open rows."""
        return list(self._looks)

    def plan(self, row: LedgerRow, at_s: float, boot_id: str) -> None:
        """First look at a row; while nothing arrives it waits for a read that it can share."""
        at = at_s
        if self._gap_s >= self._rules.poll_max:
            at = min(at_s + self._gap_s, max(at_s, deadline_at_s(row, boot_id)))
        self._looks[row.canary.key] = _Look(at, at_s)

    def due(self, now_s: float) -> list[CanaryKey]:
        """Keys whose time has come, in sending order."""
        return sorted(key for key, look in self._looks.items() if look.at_s <= now_s)

    def turn(self, key: CanaryKey) -> tuple[float, CanaryKey]:
        """By how long a look has been due: its moment, and the key; what is closed comes last."""
        look = self._looks.get(key)
        return look.at_s if look else math.inf, key

    def may_join(self, key: CanaryKey, now_s: float) -> bool:
        """Whether the row could already be there, so that it may share another's read."""
        look = self._looks.get(key)
        return look is not None and look.from_s <= now_s

    def overdue_s(self, key: CanaryKey, now_s: float) -> float:
        """For how long a look that is made now had to wait for its turn."""
        look = self._looks.get(key)
        return max(0.0, now_s - look.at_s) if look else 0.0

    def next_s(self) -> float | None:
        """Moment of the next look, None when nothing is open."""
        return min((look.at_s for look in self._looks.values()), default=None)

    def again(self, rows: Sequence[LedgerRow], now: Instant) -> None:
        """Plan the next look after `rows` were asked for; drop what is closed."""
        if [row for row in rows if row.outcome in _SEEN]:
            self._gap_s = self._rules.poll_first
        for row in rows:
            key = row.canary.key
            if not is_open(row, now):
                self._looks.pop(key, None)
            elif key in self._looks:
                self._looks[key] = _Look(self._after(row, now), now.boot_s)
        if [row for row in rows if row.outcome is Outcome.PENDING]:
            self._gap_s = min(self._rules.poll_max, self._gap_s * self._rules.poll_factor)

    def _after(self, row: LedgerRow, now: Instant) -> float:
        rules, deadline = self._rules, deadline_at_s(row, now.boot_id)
        confirm = self._confirm_at(row, now)
        if confirm is not None:
            return confirm
        if row.outcome is not Outcome.PENDING:
            # On common ticks, so that one read answers for all that is missing.
            return (now.boot_s // rules.poll_late_max + 1) * rules.poll_late_max
        jitter = 1 + rules.poll_jitter * (2 * self._rng.random() - 1)
        at = now.boot_s + self._gap_s * jitter
        # Between two looks nobody knows: what is seen at the limit was not slow.
        slow = deadline - row.deadline_s + self._slow_s
        return min([at, *(one for one in (slow, deadline) if now.boot_s < one)])

    def _confirm_at(self, row: LedgerRow, now: Instant) -> float | None:
        """Moment of the confirming read, while it lies ahead."""
        if row.outcome not in UNDECIDED or row.empty_read is None:
            return None
        if row.empty_read.boot_id != now.boot_id:
            return None
        at = row.empty_read.boot_s + self._rules.confirm_after
        return at if at > now.boot_s else None
