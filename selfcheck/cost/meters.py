"""Counter increments of one hop turned into usage per hour: resets are seen, gaps are not zero."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from selfcheck.canary.model import Signal
from selfcheck.cost.model import Point, Usage
from selfcheck.hops.increase import restarted
from selfcheck.hops.protocol import Direction, HopCounters, Meter

# The component of a meter that counts our own canaries where they are made.
CANARIES = "canaries"
_ITEMS: Mapping[tuple[str, Direction], Point] = {
    (CANARIES, Direction.IN): Point.M1,
    ("receiver", Direction.IN): Point.M2,
    ("exporter", Direction.OUT): Point.M3,
    ("store", Direction.IN): Point.M4,
}
_BYTES: Mapping[tuple[str, Direction], Point] = {
    (CANARIES, Direction.BYTES_IN): Point.M1,
    ("receiver", Direction.BYTES_IN): Point.M2,
    ("exporter", Direction.BYTES_IN): Point.M3,
    ("store", Direction.BYTES_IN): Point.M4,
}
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class MeterHour:
    """What one hop counted in one UTC hour. None = not counted there, never 0.

    seconds: how much of the hour was really measured.
    """

    hour: datetime
    signal: Signal
    point: Point
    source: str
    items: int | None
    body_bytes: int | None
    seconds: float

    def usage(self) -> Usage:
        """The same as a value of the billing seam."""
        return Usage(
            self.signal, self.point, self.items, self.body_bytes, self.seconds, self.source
        )


Key = tuple[datetime, Signal, Point, str]


def merge(rows: Iterable[MeterHour]) -> tuple[MeterHour, ...]:
    """Rows folded by (hour, signal, point, source), in that order.

    A quantity that one part lacks is not known for the whole hour.
    """
    found: dict[Key, MeterHour] = {}
    for row in rows:
        key = (row.hour, row.signal, row.point, row.source)
        was = found.get(key)
        found[key] = row if was is None else _sum(was, row)
    return tuple(found[key] for key in sorted(found))


def _sum(one: MeterHour, two: MeterHour) -> MeterHour:
    return replace(
        one,
        items=_plus(one.items, two.items),
        body_bytes=_plus(one.body_bytes, two.body_bytes),
        seconds=one.seconds + two.seconds,
    )


def _plus(one: int | None, two: int | None) -> int | None:
    return None if one is None or two is None else one + two


class UsageMeter:
    """Meters one hop instance; hops of one chain count the same telemetry: never add them."""

    def __init__(self, source: str) -> None:
        """`source` is shown with every figure: the hop's name."""
        self._source = source
        self._last: HopCounters | None = None
        self._values: dict[Meter, float] = {}
        self._rows: list[MeterHour] = []

    def add(self, counters: HopCounters) -> None:
        """Take a scrape. An unread one leaves the baseline, so that nothing is lost or zero."""
        if counters.unread:
            return
        before, self._last = self._last, counters
        fresh = before is not None and restarted(before, counters)
        was = {} if fresh else self._values
        # A series that is missing for once keeps its last value as the baseline.
        self._values = {**was, **counters.meters}
        if before is None or before.at.boot_id != counters.at.boot_id:
            return
        end_s, begin_s = counters.at.boot_s, before.at.boot_s
        if fresh and counters.started_s is not None:
            # What the dead process counted after its last scrape is a gap.
            begin_s = max(begin_s, counters.started_s)
        if end_s <= begin_s:
            return
        for (signal, point), (items, sizes) in _grown(was, counters).items():
            self._rows += _spread(
                MeterHour(
                    counters.at.utc, signal, point, self._source, items, sizes, end_s - begin_s
                )
            )

    def drain(self) -> tuple[MeterHour, ...]:
        """Increments since the last call, one row an hour: to be added to what is stored."""
        rows, self._rows = merge(self._rows), []
        return rows


def _grown(
    was: Mapping[Meter, float], now: HopCounters
) -> Mapping[tuple[Signal, Point], tuple[int | None, int | None]]:
    items, sizes = _sums(was, now, _ITEMS), _sums(was, now, _BYTES)
    return {key: (items.get(key), sizes.get(key)) for key in items.keys() | sizes.keys()}


def _sums(
    was: Mapping[Meter, float],
    now: HopCounters,
    points: Mapping[tuple[str, Direction], Point],
) -> dict[tuple[Signal, Point], int]:
    found: dict[tuple[Signal, Point], int] = {}
    for meter, value in now.meters.items():
        point = points.get((meter.component, meter.direction))
        if point is None:
            continue
        key = (meter.signal, point)
        # A series never met began at zero only in a process whose start is known.
        base = was.get(meter, 0.0 if now.started_s is not None else value)
        found[key] = found.get(key, 0) + round(value if value < base else value - base)
    return found


def _spread(row: MeterHour) -> list[MeterHour]:
    """`row`, which ends at `row.hour`, over the hours it touches, by time; sums stay exact."""
    begin = row.hour - timedelta(seconds=row.seconds)
    hour = begin.replace(minute=0, second=0, microsecond=0)
    parts: list[MeterHour] = []
    done_items = done_bytes = 0
    while hour < row.hour:
        end = min(row.hour, hour + _HOUR)
        share = (end - begin).total_seconds() / row.seconds
        items, sizes = _part(row.items, share), _part(row.body_bytes, share)
        parts.append(
            replace(
                row,
                hour=hour,
                items=None if items is None else items - done_items,
                body_bytes=None if sizes is None else sizes - done_bytes,
                seconds=(end - max(begin, hour)).total_seconds(),
            )
        )
        done_items, done_bytes = items or 0, sizes or 0
        hour += _HOUR
    return parts


def _part(whole: int | None, share: float) -> int | None:
    return None if whole is None else round(whole * min(1.0, share))
