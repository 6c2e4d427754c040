"""What is usual for a route, by the hour, and when it has become slower than that. Pure.

What is learned from a route's newest delays follows them within minutes; hours before the present
one cannot. Source: docs/design.md, "Slower than it was".
"""

import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from core.clock import Instant
from selfcheck.canary.deadline import Learned
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.ledger import HourPast
from selfcheck.canary.model import LedgerRow

HOURS = 168
# So many known hours before anything is called usual.
LEAST_HOURS = 6
# A deadline has grown when what stretches it came in so many separate hours of the last day: one
# backlog stretches it too, for as long as it is among the newest delays.
DAY_HOURS, GROWN_HOURS = 24, 3
_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Usual:
    """Medians over the known hours of the last seven days, the present one left out, in seconds.

    longest_s: the longest delay of each hour of the last day, the present one too, as it becomes
    known; NaN = none.
    """

    deadline_s: float
    delay_s: float
    longest_s: Sequence[float]

    def grown(self, learned: Learned, floor_s: float, rules: JudgingRules) -> str:
        """How the deadline has grown past twice what is usual, in words; "" when it has not.

        What the present rules make of a usual delay counts as usual as well, so that rules which
        were changed are no growth.
        """
        now_s = learned.steady_s
        least, most = max(rules.deadline_floor, floor_s), rules.deadline_ceiling
        ruled_s = max(least, min(self.delay_s + rules.deadline_margin, most))
        usual_s = max(self.deadline_s, ruled_s)
        if now_s is None or now_s <= 2 * usual_s:
            return ""
        hours = sum(one + rules.deadline_margin > 2 * usual_s for one in self.longest_s)
        if hours < GROWN_HOURS:
            return ""
        return (
            f"a loss takes {now_s:.0f} s to be told, usual in 7 days were {usual_s:.0f} s:"
            f" slow canaries in {hours} of the last {DAY_HOURS} hours"
        )

    def target_s(self, floor_s: float, rules: JudgingRules) -> float:
        """Delay above which a canary takes longer than what is usual."""
        margin = rules.target_margin
        return max(2 * self.delay_s, self.delay_s + margin, floor_s + margin)

    def slow(
        self, rows: Sequence[LedgerRow], floor_s: float, rules: JudgingRules, *, surely: bool
    ) -> str:
        """How most of `rows` took longer than is usual, in words; "" when they did not.

        surely: the gap before the read that showed one does not count.
        """
        limit_s = self.target_s(floor_s, rules)
        known = [(row, row.delay_s) for row in rows if row.delay_s is not None]
        above = [row for row, delay_s in known if delay_s > limit_s]
        slow = sum(not surely or surely_s(row) > limit_s for row in above)
        if slow < rules.losses_to_fail or 2 * slow <= len(known):
            return ""
        return (
            f"{slow} of the last {len(known)} seen took more than {limit_s:.1f} s,"
            f" usual in 7 days were {self.delay_s:.1f} s"
        )


def surely_s(row: LedgerRow) -> float:
    """Seconds after sending at which a canary was surely not visible by the path that showed it.

    `delay_s` is when a read showed it: the gap since the last look is our own. 0 = no complete
    look had missed it.
    """
    missed = (look for look in row.looks if look.complete and not look.seen)
    return max((look.at_s for look in missed if look.path == row.first_path), default=0.0)


class UsualHours:
    """Hourly figures of one route, at most a week of them: in less than 2 KiB.

    An hour is one of UTC when the service starts; from then on the boot clock counts.
    """

    __slots__ = (
        "_deadlines", "_delays", "_hour", "_longest", "_n", "_origin_s", "_sum_deadline",
        "_sum_delay", "_usual",
    )  # fmt: skip

    def __init__(self) -> None:
        self._clear()
        self._origin_s, self._hour = 0.0, 0

    def _clear(self) -> None:
        # Slot `hour % size`, of the hours before the present one; NaN is not known.
        self._deadlines, self._delays = (array("f", [math.nan]) * HOURS for _ in range(2))
        # The present hour's slot is in use here.
        self._longest = array("f", [math.nan]) * DAY_HOURS
        self._n, self._sum_deadline, self._sum_delay = 0, 0.0, 0.0
        self._usual: Usual | None = None

    def recall(self, hours: Iterable[HourPast], now: Instant) -> None:
        """Begin anew with what the ledger knows."""
        self._clear()
        self._origin_s = now.utc.timestamp() - now.boot_s
        self._hour = self._hour_of(now.boot_s)
        for one in hours:
            age = self._hour - one.hour
            if 0 < age <= HOURS:
                self._keep(one.hour, one.deadline_s, one.delay_s)
            if 0 <= age < DAY_HOURS:
                self._longest[one.hour % DAY_HOURS] = one.longest_s
            if not age:
                self._n = one.n
                self._sum_deadline, self._sum_delay = one.n * one.deadline_s, one.n * one.delay_s
        self._learn()

    def add(self, boot_s: float, deadline_s: float, delay_s: float) -> None:
        """Learn of a canary that was seen at `boot_s`. Earlier hours stay what they are."""
        self._go_on(boot_s)
        self._n += 1
        self._sum_deadline += deadline_s
        self._sum_delay += delay_s
        slot = self._hour % DAY_HOURS
        self._longest[slot] = max(delay_s, self._longest[slot])

    def usual(self, boot_s: float) -> Usual | None:
        """What is usual as of `boot_s`; None while too few hours are known."""
        self._go_on(boot_s)
        return self._usual

    def _hour_of(self, boot_s: float) -> int:
        return int((self._origin_s + boot_s) // _HOUR_S)

    def _keep(self, hour: int, deadline_s: float, delay_s: float) -> None:
        self._deadlines[hour % HOURS], self._delays[hour % HOURS] = deadline_s, delay_s

    def _go_on(self, boot_s: float) -> None:
        """Close the present hour when it is over."""
        hour = self._hour_of(boot_s)
        if hour <= self._hour:
            return
        n = self._n or math.nan
        self._keep(self._hour, self._sum_deadline / n, self._sum_delay / n)
        for gone in range(max(self._hour + 1, hour - HOURS), hour):
            self._keep(gone, math.nan, math.nan)
        for begun in range(max(self._hour + 1, hour - DAY_HOURS + 1), hour + 1):
            self._longest[begun % DAY_HOURS] = math.nan
        self._hour, self._n, self._sum_deadline, self._sum_delay = hour, 0, 0.0, 0.0
        self._learn()

    def _learn(self) -> None:
        deadlines = [one for one in self._deadlines if not math.isnan(one)]
        delays = [one for one in self._delays if not math.isnan(one)]
        known = len(delays) >= LEAST_HOURS
        self._usual = Usual(median(deadlines), median(delays), self._longest) if known else None
