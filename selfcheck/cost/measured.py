"""Which of the stored figures an estimate stands on: one point and one hop, never a sum. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from selfcheck.canary.model import Signal
from selfcheck.cost.book import PriceEntry
from selfcheck.cost.forecast import HourRate
from selfcheck.cost.meters import MeterHour
from selfcheck.cost.model import Point
from selfcheck.cost.tiers import Counts

_HOUR_S = 3600.0
# The point that the bill is made of first, then what is nearest to it.
_POINTS = (Point.M4, Point.M3, Point.M2, Point.M1)

# Bytes per item before any is measured: serialized protobuf in batches of a hundred or more.
PRIOR_BYTES = {Signal.LOGS: 270, Signal.TRACES: 385, Signal.METRICS: 152}


@dataclass(frozen=True, slots=True)
class Measured:
    """Rates of one signal. assumed: made from items and a prior size, as no bytes are counted."""

    point: Point
    source: str
    rates: tuple[HourRate, ...]
    assumed: bool


def measure(rows: Sequence[MeterHour], entry: PriceEntry | None) -> Measured | None:
    """The one point and hop to take: nearest to the bill, then the longest measured."""
    by_items = entry is not None and entry.unit.counts is Counts.ITEMS
    for assumed in (False, True):
        for point in _POINTS:
            at_point = [row for row in rows if row.point is point and row.seconds > 0]
            found = [_rates(at_point, source, by_items, assumed) for source in _sources(at_point)]
            best = max(found, key=lambda one: sum(r.seconds for r in one.rates), default=None)
            if best is not None and best.rates:
                return best
    return None


def _sources(rows: Sequence[MeterHour]) -> list[str]:
    return sorted({row.source for row in rows})


def _rates(rows: Sequence[MeterHour], source: str, by_items: bool, assumed: bool) -> Measured:
    own = [row for row in rows if row.source == source]
    pairs = [(row, _quantity(row, by_items, assumed)) for row in own]
    known = [(row, value) for row, value in pairs if value is not None]
    rates = tuple(
        HourRate(row.hour, value * _HOUR_S / row.seconds, row.seconds) for row, value in known
    )
    point = own[0].point
    return Measured(point, source, rates, assumed)


def _quantity(row: MeterHour, by_items: bool, assumed: bool) -> float | None:
    if by_items:
        return row.items
    if not assumed:
        return row.body_bytes
    return None if row.items is None else float(row.items * PRIOR_BYTES[row.signal])
