"""Engine time: UTC at start plus elapsed boot time, and the arithmetic of fixed-rate ticks.

No step of the wall clock moves it. Everything here is exact: ticks are integer microseconds from
their anchor, so a tick can neither repeat nor drift.
"""

from datetime import UTC, datetime, timedelta
from hashlib import blake2b

from core.clock import Clock

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Timeline:
    """The only clock that the clockwork is given."""

    def __init__(self, clock: Clock) -> None:
        """Starts at the wall time of this moment."""
        self._clock = clock
        self._utc0, self._boot0_s = clock.utc(), clock.monotonic()

    def now(self) -> datetime:
        """Aware UTC that only elapsed time advances."""
        return self._utc0 + timedelta(seconds=self._clock.monotonic() - self._boot0_s)

    def skew(self) -> timedelta:
        """Wall time minus engine time: what to add to speak of the wall."""
        return self._clock.utc() - self.now()


def next_tick(anchor: datetime, every_s: float, after: datetime) -> datetime:
    """The first tick of anchor + k * every strictly after `after`; k may be negative."""
    every = timedelta(seconds=every_s)
    return anchor + every * ((after - anchor) // every + 1)


def ticks_between(
    anchor: datetime, every_s: float, after: datetime, until: datetime
) -> tuple[int, datetime, datetime]:
    """How many ticks lie in (after, until], and the first and last; 0 repeats `after` twice."""
    first = next_tick(anchor, every_s, after)
    if first > until:
        return 0, after, after
    every = timedelta(seconds=every_s)
    more = (until - first) // every
    return more + 1, first, first + every * more


def first_offset_s(name: str, every_s: float) -> float:
    """Seconds from the start of the engine to the first run of check `name`, in [0, every_s).

    A hash of the name, so that checks are spread over their interval and keep their place over
    restarts and machines. Nothing else delays a first run. Rule: docs/design.md, "Scheduling".
    """
    digest = blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest) % round(every_s * 1e6) / 1e6


def on_slot(at: datetime, slot_s: float) -> datetime:
    """The last whole multiple of `slot_s` since 1970 that is not after `at`; with 0, `at`."""
    return at - (at - _EPOCH) % timedelta(seconds=slot_s) if slot_s else at
