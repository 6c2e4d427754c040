"""Our own volume at a store: what canaries and reads may use up in a day, and what follows.

From 80 % of a cap on canaries are sent more rarely, at 100 % none is sent any more and the route
becomes `blind(cap)`. Days are UTC days, as bills have them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from core.clock import Clock
from core.errors import CoalmineError
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.model import LedgerRow, Receipt

SLOW_FROM = 0.8
# A route that is slowed down further would seem stale to whoever looks at its newest result.
SLOWEST_S = 300.0


class CapReachedError(CoalmineError):
    """A canary was not sent, as its backend's cap for the day is used up or nearly so."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used up: bytes of canaries as sent, and reads."""

    bytes_sent: int
    reads: int

    def plus(self, other: "Usage") -> "Usage":
        """Both together."""
        return Usage(self.bytes_sent + other.bytes_sent, self.reads + other.reads)


NOTHING = Usage(0, 0)


@dataclass(frozen=True, slots=True)
class Volume:
    """What one route has used of its backend.

    today: in the present UTC day, before this service began included, as caps count it.
    ever, items: since this service began, only ever more; items: canaries, once for each try.
    """

    today: Usage
    ever: Usage
    items: int


def share(usage: Usage, rules: JudgingRules) -> float:
    """The share of the tighter cap that is used up, 0 where there is no cap."""
    shares = [0.0]
    for used, cap in (
        (usage.bytes_sent, rules.cap_bytes_per_day),
        (usage.reads, rules.cap_reads_per_day),
    ):
        if cap is not None:
            shares.append(used / cap if cap else 1.0)
    return max(shares)


def stretch(used: float) -> float:
    """By how much the interval grows when `used` of the cap is: 1 up to 80 %, infinite at 100 %.

    The pace goes with what is left, so that a day's cap is approached and not run into.
    """
    if used <= SLOW_FROM:
        return 1.0
    return float("inf") if used >= 1 else (1 - SLOW_FROM) / (1 - used)


def usage_today(rows: Sequence[LedgerRow], count: int, now: datetime) -> Usage:
    """What a route used in the present UTC day: `count` canaries, of which `rows` are the newest.

    Bytes are those of the receipts, once for each try; reads are the different moments of the
    looks. The rest of the day's canaries are taken to be like those of `rows`.
    """
    start = now.replace(hour=0, minute=0, second=0, microsecond=0)
    today = [row for row in rows if start <= row.sent.utc <= now]
    receipts = [row.receipt for row in today if row.receipt is not None]
    moments = {
        (round(row.sent.utc.timestamp() + look.at_s, 1), look.path)
        for row in today
        for look in row.looks
    }
    scale = max(1.0, count / len(today)) if today else 0.0
    sent = sum(one.body_bytes * max(1, one.tries) for one in receipts)
    return Usage(round(sent * scale), round(len(moments) * scale))


class VolumeMeter:
    """What all routes of one backend use up in a UTC day; `now` here is aware UTC."""

    def __init__(self) -> None:
        """Nothing used; each route tells at its start what its rows know of the day."""
        self._day: date | None = None
        self._routes: dict[str, Usage] = {}
        self._used = NOTHING
        self._ever: dict[str, Usage] = {}
        self._items: dict[str, int] = {}

    def recall(self, route: str, usage: Usage, now: datetime) -> None:
        """What `route` used earlier today; never less than what is known already."""
        known = self._of(route, now)
        lacking = Usage(
            max(0, usage.bytes_sent - known.bytes_sent), max(0, usage.reads - known.reads)
        )
        self._add(route, lacking, now)

    def sent(self, route: str, size_bytes: int, now: datetime, tries: int = 1) -> None:
        """A canary has left, in so many bytes over all tries."""
        self._items[route] = self._items.get(route, 0) + tries
        self._count(route, Usage(size_bytes, 0), now)

    def read(self, route: str, now: datetime) -> None:
        """The backend was asked once."""
        self._count(route, Usage(0, 1), now)

    def volume(self, route: str, now: datetime) -> Volume:
        """What `route` has used; a route that is not known has used nothing."""
        ever = self._ever.get(route, NOTHING)
        return Volume(self._of(route, now), ever, self._items.get(route, 0))

    def used(self, now: datetime) -> Usage:
        """The sum over all routes, so far in the day of `now`."""
        self._turn(now)
        return self._used

    def _count(self, route: str, usage: Usage, now: datetime) -> None:
        self._ever[route] = self._ever.get(route, NOTHING).plus(usage)
        self._add(route, usage, now)

    def _add(self, route: str, usage: Usage, now: datetime) -> None:
        self._routes[route] = self._of(route, now).plus(usage)
        self._used = self._used.plus(usage)

    def _of(self, route: str, now: datetime) -> Usage:
        self._turn(now)
        return self._routes.get(route, NOTHING)

    def _turn(self, now: datetime) -> None:
        """A new day begins with nothing used; a clock that steps back does not give it twice.

        One that was ahead by more than a day and is right again begins a day as well.
        """
        if self._day is None or not -1 <= (now.date() - self._day).days <= 0:
            self._day, self._routes, self._used = now.date(), {}, NOTHING


class VolumeGuard:
    """What the caps of one route make of the meter of its backend."""

    def __init__(
        self, meter: VolumeMeter, rules: JudgingRules, route: str, every_s: float, clock: Clock
    ) -> None:
        """`meter` is shared by all routes of the backend."""
        self._meter, self._rules, self._clock = meter, rules, clock
        self._route, self._every_s = route, every_s
        self._capped = (rules.cap_bytes_per_day, rules.cap_reads_per_day) != (None, None)

    def recall(self, rows: Sequence[LedgerRow], count: int) -> None:
        """Take over what the ledger knows of the day: `count` canaries, the newest in `rows`."""
        now = self._clock.utc()
        self._meter.recall(self._route, usage_today(rows, count, now), now)

    def sent(self, receipt: Receipt) -> None:
        """Count a canary that has left."""
        tries = max(1, receipt.tries)
        self._meter.sent(self._route, receipt.body_bytes * tries, self._clock.utc(), tries)

    def read(self) -> None:
        """Count a read."""
        self._meter.read(self._route, self._clock.utc())

    def spare(self, injected_s: float | None) -> None:
        """Leave a canary out when the caps say so. Raises CapReachedError.

        injected_s: boot seconds of the one before, None when there was none.
        """
        pace = self.pace()
        if math.isinf(pace):
            raise CapReachedError(self.told())
        if pace == 1 or injected_s is None:
            return
        if self._clock.monotonic() - injected_s < self._every_s * (pace - 0.5):
            raise CapReachedError(self.told())

    def pace(self) -> float:
        """By how much the interval is stretched now, to 5 min; infinite when none may be sent."""
        if not self._capped:
            return 1.0
        pace = stretch(share(self._meter.used(self._clock.utc()), self._rules))
        longest = max(1.0, SLOWEST_S / self._every_s)
        return pace if math.isinf(pace) else min(pace, longest)

    @property
    def reads_left(self) -> bool:
        """Whether the backend may be asked at all today."""
        cap = self._rules.cap_reads_per_day
        return cap is None or self._meter.used(self._clock.utc()).reads < cap

    def told(self) -> str:
        """What is used up of which cap, for people."""
        used, parts = self._meter.used(self._clock.utc()), []
        if self._rules.cap_bytes_per_day is not None:
            parts.append(f"{used.bytes_sent} of {self._rules.cap_bytes_per_day} bytes")
        if self._rules.cap_reads_per_day is not None:
            parts.append(f"{used.reads} of {self._rules.cap_reads_per_day} reads")
        return f"{' and '.join(parts)} used today"
