"""Increases of counters between scrapes: restarts are seen, gaps are not zero."""

import itertools
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from selfcheck.hops.protocol import HopCounters, Meter

MIN_SCRAPES = 4

# A start time is derived from two clocks and a scrape's duration: this much is no restart.
_START_JITTER_S = 2.0


@dataclass(frozen=True, slots=True)
class Increase:
    """How much a counter grew. error: what a restart may have hidden, at most, in its units."""

    amount: float
    error: float


@dataclass(frozen=True, slots=True)
class Window:
    """Scrapes of one hop instance, oldest first, all of one boot of ours."""

    scrapes: tuple[HopCounters, ...]

    @classmethod
    def of(cls, scrapes: Sequence[HopCounters], span_s: float) -> "Window":
        """The scrapes of the last `span_s` seconds before the newest one."""
        if not scrapes:
            return cls(())
        last = scrapes[-1].at
        kept = (
            s
            for s in scrapes
            if s.at.boot_id == last.boot_id and last.boot_s - s.at.boot_s <= span_s
        )
        return cls(tuple(kept))

    @property
    def read(self) -> tuple[HopCounters, ...]:
        """The scrapes that were read without a gap in them."""
        return tuple(scrape for scrape in self.scrapes if not scrape.unread)

    @property
    def seconds(self) -> float:
        """From the first to the last scrape that was read."""
        read = self.read
        return read[-1].at.boot_s - read[0].at.boot_s if read else 0.0

    @property
    def skew_s(self) -> float:
        """Mean seconds between scrapes: how far apart two hops may have been read."""
        return self.seconds / max(1, len(self.read) - 1)

    @property
    def restarts(self) -> int:
        """How often the process was started anew within the window, as its uptime says."""
        read = self.read
        return sum(restarted(a, b) for a, b in itertools.pairwise(read))

    def missing(self) -> tuple[str, ...]:
        """Why nothing can be said of this window; empty when it can."""
        if not self.scrapes:
            return ("never scraped",)
        if self.scrapes[-1].unread:
            return self.scrapes[-1].unread
        if len(self.read) < MIN_SCRAPES:
            return (f"{len(self.read)} of {MIN_SCRAPES} scrapes",)
        return ()

    def increase(self, meter: Meter) -> Increase | None:
        """Growth of a counter over the window; None when the series is not there.

        A series that first appears while the process has been up since an earlier complete
        scrape began at zero then; without a known start its first value is only a baseline.
        """
        read, amount, error, seen = self.read, 0.0, 0.0, False
        largest = 0.0
        for before, now in itertools.pairwise(read):
            value, was = now.meters.get(meter), before.meters.get(meter)
            if value is None:
                continue
            seen = True
            fresh = restarted(before, now)
            if fresh or (was is not None and value < was):
                amount, error = amount + value, error + max(largest, value)
            elif was is not None:
                amount, largest = amount + value - was, max(largest, value - was)
            elif now.started_s is not None and not _seen_before(read, before, meter):
                amount += value
        if not seen and not (read and meter in read[-1].meters):
            return None
        return Increase(amount, error)

    def total(self, meters: Sequence[Meter]) -> Increase | None:
        """Sum over several counters; None when none of them is there."""
        found = [grown for grown in map(self.increase, meters) if grown is not None]
        if not found:
            return None
        return Increase(math.fsum(g.amount for g in found), math.fsum(g.error for g in found))

    def gauge(self, meter: Meter) -> tuple[float, ...]:
        """The values of a gauge, oldest first; scrapes without it are left out."""
        return tuple(s.meters[meter] for s in self.read if meter in s.meters)

    def meters(self) -> tuple[Meter, ...]:
        """Every meter seen in the window, in a stable order."""
        return tuple(sorted({m for s in self.read for m in s.meters}, key=_order))


class Ring:
    """The newest scrapes of one hop instance, bounded in time and number."""

    def __init__(self, span_s: float = 1800.0, most: int = 1000) -> None:
        """Scrapes older than `span_s` before the newest, or beyond `most`, are forgotten."""
        self._span_s = span_s
        self._scrapes: deque[HopCounters] = deque(maxlen=most)

    def add(self, counters: HopCounters) -> None:
        """Keep a scrape; a boot of ours starts anew, as its clock does."""
        last = self._scrapes[-1] if self._scrapes else None
        if last is not None and last.at.boot_id != counters.at.boot_id:
            self._scrapes.clear()
        self._scrapes.append(counters)
        while counters.at.boot_s - self._scrapes[0].at.boot_s > self._span_s:
            self._scrapes.popleft()

    def window(self, span_s: float) -> Window:
        """The scrapes of the last `span_s` seconds before the newest one."""
        return Window.of(tuple(self._scrapes), span_s)


def restarted(before: HopCounters, now: HopCounters) -> bool:
    """Whether the process was started anew between two scrapes, as far as its uptime says."""
    if before.started_s is None or now.started_s is None:
        return False
    return now.started_s - before.started_s > _START_JITTER_S


def _seen_before(read: Sequence[HopCounters], until: HopCounters, meter: Meter) -> bool:
    for scrape in read:
        if meter in scrape.meters:
            return True
        if scrape is until:
            return False
    return False


def _order(meter: Meter) -> tuple[str, str, str, str]:
    return (meter.component, meter.component_id, meter.direction, meter.signal)
