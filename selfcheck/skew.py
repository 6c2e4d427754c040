"""How far another clock is from ours, told by the `Date` of an HTTP answer. It decides nothing.

A store whose clock is wrong hides or refuses records in ways that look like loss; whoever looks at
a route that is not ok is told of the clock beside it.
"""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache

from core.clock import Clock, Instant, instant
from core.outbound.protocol import Response

# Below it clocks are as good as they are set, and no store minds.
TOLD_FROM_S = 10.0
_KEPT_S = 600.0
# A wall clock that moved by more than this beside the boot clock was set meanwhile.
_STEP_S = 1.0
_SECOND = timedelta(seconds=1)


@lru_cache(maxsize=64)
def http_date(value: str) -> datetime | None:
    """The aware moment of an HTTP date (RFC 9110, 5.6.7); None when it cannot be read as one."""
    try:
        moment = parsedate_to_datetime(value.strip())
    except (ValueError, TypeError, OverflowError):
        return None
    return None if moment.tzinfo is None else moment.astimezone(UTC)


def skew_s(response: Response, asked: Instant, got: Instant) -> float | None:
    """Seconds that the answering clock is at least ahead of ours (negative: behind); 0.0: none.

    The answer was made after `asked` and before `got`, in the whole second that its Date names
    (RFC 9110, 6.6.1). None when it does not say: no Date, one out of a cache (an Age header, RFC
    9111, 5.1), or our own clock was set meanwhile.
    """
    date = response.header("date")
    made = None if date is None or response.header("age") is not None else http_date(date)
    if made is None or _stepped(asked, got):
        return None
    least, most = made - got.utc, made + _SECOND - asked.utc
    return max(0.0, least.total_seconds()) + min(0.0, most.total_seconds())


def _stepped(then: Instant, now: Instant) -> bool:
    wall_s, boot_s = (now.utc - then.utc).total_seconds(), now.boot_s - then.boot_s
    return then.boot_id != now.boot_id or abs(wall_s - boot_s) > _STEP_S


class SkewWatch:
    """The newest skew of whoever answers a client."""

    def __init__(self, clock: Clock) -> None:
        """Nothing is known yet."""
        self._clock = clock
        self._last: tuple[float, Instant] | None = None

    def heard(self, response: Response, asked: Instant) -> None:
        """Take an answer to what was asked at `asked`; one that says nothing changes nothing."""
        got = instant(self._clock)
        found = skew_s(response, asked, got)
        if found is not None:
            self._last = (found, got)

    @property
    def skew_s(self) -> float | None:
        """As `skew_s`; None when not known, 10 min old, or from before our own clock was set."""
        if self._last is None:
            return None
        found, at = self._last
        now = instant(self._clock)
        return None if _stepped(at, now) or now.boot_s - at.boot_s > _KEPT_S else found


def told(whose: str, found_s: float | None) -> str:
    """A skew of 10 s or more as a sentence for people, else ""."""
    if found_s is None or abs(found_s) < TOLD_FROM_S:
        return ""
    way = "ahead of" if found_s > 0 else "behind"
    return f"the clock of {whose} is {_span(abs(found_s))} {way} ours"


def ends_of(
    backend: str, store_s: float | None = None, taker_s: float | None = None
) -> tuple[str, ...]:
    """Clocks at the ends of a route that are off, in words: they explain, and decide nothing."""
    store = told(f"backend {backend}", store_s)
    taker = told("what takes the canaries", taker_s)
    return tuple(filter(None, (store, taker)))


def _span(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        # A Date is known to the second.
        if seconds + 1 >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
