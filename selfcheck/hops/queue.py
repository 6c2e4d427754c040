"""How full a sending queue is, and when it will lose. Rule: docs/design.md, "Time to loss"."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from selfcheck.canary.model import Signal
from selfcheck.hops.increase import Window
from selfcheck.hops.protocol import Direction, Meter

_MIN_POINTS = 10
_MAX_POINTS = 60
_Z_95 = 1.959964
_STALLED_SCRAPES = 3


@dataclass(frozen=True, slots=True)
class QueueState:
    """A sending queue at the end of a window.

    size, capacity: in the sizer's own unit, which counters do not tell; their ratio is safe.
    fill: largest size over smallest capacity of the window; None = capacity 0 or absent: blind.
    full_in_s: earliest and latest seconds until it is full; None = no significant growth.
    growing: it holds more than when the exporter last delivered something.
    sends: whether the exporter delivered anything within the last two scrapes; None = not counted.
    """

    exporter: str
    signal: Signal
    size: int
    capacity: int | None
    fill: float | None
    full_in_s: tuple[float, float] | None
    growing: bool
    sends: bool | None

    def loss_in_s(self, retry_left_s: float | None) -> float | None:
        """Seconds until items are lost at the earliest: queue full or retries used up.

        retry_left_s: what is left of the retry budget of the oldest request, None = not known.
        """
        known = [
            value
            for value in (self.full_in_s[0] if self.full_in_s else None, retry_left_s)
            if value is not None
        ]
        return min(known, default=None)

    @property
    def held(self) -> bool:
        """Whether items pile up behind an exporter that delivers nothing."""
        return self.size > 0 and self.growing and self.sends is not True


def queues(window: Window, signal: Signal) -> tuple[QueueState, ...]:
    """The sending queues of one signal, by exporter id; none when the window cannot be read."""
    if window.missing():
        return ()
    found = [m for m in window.meters() if m.direction is Direction.STORED and m.signal is signal]
    return tuple(_queue(window, meter) for meter in found)


def _queue(window: Window, meter: Meter) -> QueueState:
    def sibling(direction: Direction) -> Meter:
        return Meter(meter.component, meter.component_id, direction, meter.signal)

    points = [(s.at.boot_s, s.meters[meter]) for s in window.read if meter in s.meters]
    sizes = [size for _, size in points]
    capacity = min(window.gauge(sibling(Direction.CAPACITY)), default=0.0)
    sent_s = _last_sent_s(window, sibling(Direction.OUT))
    since = [size for at_s, size in points if sent_s is None or at_s >= sent_s]
    counted = bool(window.gauge(sibling(Direction.OUT)))
    return QueueState(
        exporter=meter.component_id,
        signal=meter.signal,
        size=round(sizes[-1]),
        capacity=round(capacity) if capacity > 0 else None,
        fill=max(sizes) / capacity if capacity > 0 else None,
        full_in_s=_full_in_s(points, capacity - sizes[-1]) if capacity > 0 else None,
        growing=sizes[-1] > since[0] if since else False,
        sends=len(since) < _STALLED_SCRAPES if counted else None,
    )


def _last_sent_s(window: Window, meter: Meter) -> float | None:
    """Boot seconds of the newest scrape at which the counter had moved; None when it never did."""
    moved = [
        now.at.boot_s
        for before, now in itertools.pairwise(window.read)
        if now.meters.get(meter, 0.0) != before.meters.get(meter, 0.0)
    ]
    return max(moved, default=None)


def _full_in_s(points: Sequence[tuple[float, float]], room: float) -> tuple[float, float] | None:
    low, high = slope_interval(points) or (0.0, 0.0)
    if low <= 0:
        return None
    return max(0.0, room) / high, max(0.0, room) / low


def slope_interval(points: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """95 % interval of the Theil-Sen slope of (seconds, value); None below ten points.

    Source: P. K. Sen, "Estimates of the regression coefficient based on Kendall's tau", 1968.
    """
    step = math.ceil(len(points) / _MAX_POINTS)
    kept = points[::-1][:: max(1, step)]
    count = len(kept)
    if count < _MIN_POINTS:
        return None
    slopes = sorted(
        (b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.combinations(kept, 2) if a[0] != b[0]
    )
    if not slopes:
        return None
    spread = _Z_95 * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    low = max(0, math.floor((len(slopes) - spread) / 2))
    high = min(len(slopes) - 1, math.ceil((len(slopes) + spread) / 2))
    return slopes[low], slopes[high]
