"""What Coalmine's own canaries cost a backend: metered as they are sent, priced by the same books.

Hops and stores count canaries like everything else: these figures are a part of the others and are
never added to them. Reads are counted and not priced: what a read scans is not known.
"""

import calendar
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from core.clock import Instant
from core.reason import Reason
from selfcheck.canary.model import Signal
from selfcheck.canary.volume import Volume
from selfcheck.cost.book import PriceBook, PriceEntry
from selfcheck.cost.estimate import at_any_tier, unpriced
from selfcheck.cost.meters import CANARIES, MeterHour
from selfcheck.cost.model import Charge, Point
from selfcheck.cost.tiers import Counts
from selfcheck.hops.protocol import Direction, HopCounters, Meter

NOTE = "Coalmine's own canaries as sent, a part of what hops and stores count; reads are not priced"
DEAREST = "likely at the dearest tier: all else is taken to have used up the cheaper ones"
_RECENT = timedelta(hours=24)
_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class OwnCost:
    """What the canaries of one signal cost at `backend`.

    quantity_hour: bytes or items per hour, the mean of the last 24 h while this service ran.
    hour and next_month go on at that pace; to_date is what was sent since the month began: what
    was not sent while it did not run is not made up for.
    """

    backend: str
    signal: Signal
    quantity_hour: float
    hour: Charge
    to_date: Charge
    next_month: Charge
    notes: tuple[str, ...]


def is_own(row: MeterHour) -> bool:
    """Whether a stored hour is of our own canaries; its source is the backend's name."""
    return row.point is Point.M1


def own_counters(
    backend: str, volumes: Mapping[tuple[str, Signal], Volume], at: Instant, started_s: float
) -> HopCounters:
    """The volume of a backend's routes, by name and signal, as counters for a `UsageMeter`.

    started_s: boot seconds at which all of them began at zero.
    """
    meters: dict[Meter, float] = {}
    for (route, signal), volume in volumes.items():
        meters[Meter(CANARIES, route, Direction.IN, signal)] = volume.items
        meters[Meter(CANARIES, route, Direction.BYTES_IN, signal)] = volume.ever.bytes_sent
    return HopCounters(backend, at, True, Reason.OK, "", started_s, meters, ())


def own_costs(rows: Sequence[MeterHour], book: PriceBook, now: datetime) -> tuple[OwnCost, ...]:
    """One row per backend and signal of which canaries were sent, in that order. `rows`: any hours.

    Which tier canaries fall into depends on what else is billed there, which is not known for each
    backend: a free tier is never taken for granted. now: aware UTC.
    """
    own: dict[tuple[str, Signal], list[MeterHour]] = {}
    for row in filter(is_own, rows):
        own.setdefault((row.source, row.signal), []).append(row)
    return tuple(_cost(*key, own[key], book, now) for key in sorted(own))


def _cost(
    backend: str, signal: Signal, rows: Sequence[MeterHour], book: PriceBook, now: datetime
) -> OwnCost:
    entry = book.entry(signal, now.date())
    recent = [row for row in rows if row.hour > now - _RECENT]
    month = [row for row in rows if (row.hour.year, row.hour.month) == (now.year, now.month)]
    seconds = math.fsum(row.seconds for row in recent)
    an_hour = _sum(recent, entry) * _HOUR_S / seconds if seconds else 0.0
    amounts = (an_hour, float(_sum(month, entry)), an_hour * _hours_of_next_month(now))
    hour, to_date, next_month = (_charge(signal, amount, entry, book) for amount in amounts)
    tiered = entry is not None and len(entry.tiers) > 1 and hour.likely is not None
    notes = (NOTE, DEAREST) if tiered else (NOTE,)
    return OwnCost(backend, signal, an_hour, hour, to_date, next_month, notes)


def _sum(rows: Sequence[MeterHour], entry: PriceEntry | None) -> int:
    """Bytes, or items where the entry counts those; canaries are always counted as both."""
    by_items = entry is not None and entry.unit.counts is Counts.ITEMS
    return sum((row.items if by_items else row.body_bytes) or 0 for row in rows)


def _charge(signal: Signal, amount: float, entry: PriceEntry | None, book: PriceBook) -> Charge:
    if entry is None:
        return unpriced(signal.value, book, None, "no entry for this signal")
    return at_any_tier(Decimal(repr(amount)), entry, book)


def _hours_of_next_month(now: datetime) -> int:
    year, index = divmod(now.year * 12 + now.month, 12)
    return calendar.monthrange(year, index + 1)[1] * 24
