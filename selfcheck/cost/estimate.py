"""What telemetry costs: now, this month, next month, each as low, likely and high.

An interval comes from a Monte Carlo over what is not known: hours that were not measured, bytes
per item where only items are counted, the grade of the price, the forecast. What has no price is
unpriced with its quantity, never zero, and makes a total a lower bound.
Rule: docs/design.md, "Estimates with intervals".
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal

from selfcheck.canary.model import Signal
from selfcheck.cost.book import STALE_DAYS, PriceBook, PriceEntry
from selfcheck.cost.forecast import Forecast, forecast, run_rate
from selfcheck.cost.measured import PRIOR_BYTES, Measured, measure
from selfcheck.cost.meters import MeterHour
from selfcheck.cost.model import Charge, Point
from selfcheck.cost.tiers import Counts, cost, priced

NOT_BILLED: Final = "not billed"

_DRAWS = 200
_HOUR_S = 3600.0
_GB = Decimal(10**9)
_SPREAD = {"V": 0.0, "user": 0.0, "S2": 0.1, "S": 0.1, "U": 0.3}

_PRIOR_SIGMA = 0.4


@dataclass(frozen=True, slots=True)
class SignalCost:
    """The cost of one signal under one book.

    point, source: where it was measured; None and "" = nowhere.
    per_gb: the next gigabyte (1e9 bytes as measured); hour: the next hour at the run rate.
    quantity_hour: bytes or items per hour; None = not measured.
    notes: what to know when reading the figures: fallbacks, gaps, age of the price.
    """

    signal: Signal
    point: Point | None
    source: str
    quantity_hour: float | None
    per_gb: Charge
    hour: Charge
    to_date: Charge
    next_month: Charge
    cold: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Total:
    """A sum in one currency. lower_bound: parts of it have no price, listed in `unpriced`."""

    currency: str
    low: Decimal
    likely: Decimal
    high: Decimal
    lower_bound: bool
    unpriced: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Month:
    start: datetime
    now: datetime
    next_start: datetime
    next_end: datetime


def estimate(
    rows: Sequence[MeterHour], book: PriceBook, now: datetime, rng: random.Random
) -> tuple[SignalCost, ...]:
    """One row per signal, in their order. `rows`: the stored hours of 28 days and this month.

    now: aware UTC. Of several hops and points one is used: figures of two are never added.
    """
    return tuple(_signal(signal, rows, book, now, rng) for signal in Signal)


def total(charges: Sequence[Charge]) -> tuple[Total, ...]:
    """Sums per currency, which are never added to each other. Unpriced parts are listed in all."""
    without = tuple(f"{c.meter}: {c.unpriced}" for c in charges if c.likely is None)
    found = []
    for currency in sorted({c.currency for c in charges if c.likely is not None}):
        same = [c for c in charges if c.currency == currency and c.likely is not None]
        sums = [
            sum((value for value in part if value is not None), Decimal(0))
            for part in zip(*((c.low, c.likely, c.high) for c in same), strict=True)
        ]
        found.append(Total(currency, sums[0], sums[1], sums[2], bool(without), without))
    return tuple(found)


def cost_of_loss(
    signal: Signal,
    lost_items: int,
    bytes_per_item: float | None,
    last_point_passed: Point,
    book: PriceBook,
    now: datetime,
) -> Charge | Literal["not billed"]:
    """Money paid for telemetry that was lost: only what was lost behind the billed point, M4.

    Which tier it fell into is not known: low is the cheapest, likely and high the dearest one.
    bytes_per_item None = not measured: unpriced.
    """
    if last_point_passed is not Point.M4:
        return NOT_BILLED
    entry = book.entry(signal, now.date())
    if entry is None:
        return unpriced(f"{signal}.loss", book, None, "no entry for this signal")
    if entry.unit.counts is Counts.ITEMS:
        quantity = Decimal(lost_items)
    elif bytes_per_item is None:
        return unpriced(entry.meter, book, entry, "bytes per item are not measured")
    else:
        quantity = Decimal(lost_items) * Decimal(repr(bytes_per_item))
    return at_any_tier(quantity, entry, book)


def at_any_tier(quantity: Decimal, entry: PriceEntry, book: PriceBook) -> Charge:
    """Money for bytes or items of which it is not known what tier they fall into.

    low is at the cheapest tier, likely and high at the dearest one.
    """
    if not priced(entry.tiers):
        return unpriced(entry.meter, book, entry, "no price entered", quantity)
    tiers = sorted(tier.price for tier in entry.tiers if tier.price is not None)
    units, spread = entry.units(quantity), Decimal(repr(_SPREAD[entry.grade]))
    low, high = units * tiers[0] * (1 - spread), units * tiers[-1]
    return _charge(entry, book, quantity, low, high, high * (1 + spread))


def _signal(
    signal: Signal,
    rows: Sequence[MeterHour],
    book: PriceBook,
    now: datetime,
    rng: random.Random,
) -> SignalCost:
    entry = book.entry(signal, now.date())
    measured = measure([row for row in rows if row.signal is signal], entry)
    rate = run_rate(measured.rates) if measured is not None else None
    if entry is None or measured is None or rate is None:
        why = "not measured" if entry is not None else "no entry for this signal"
        none = unpriced(entry.meter if entry else signal.value, book, entry, why)
        return SignalCost(signal, None, "", rate, none, none, none, none, True, (why,))
    if not priced(entry.tiers):
        none = unpriced(entry.meter, book, entry, "no price entered", Decimal(repr(rate)))
        return SignalCost(
            signal,
            measured.point,
            measured.source,
            rate,
            none,
            none,
            none,
            none,
            True,
            ("no price entered",),
        )
    return _priced(signal, entry, measured, rate, book, now, rng)


def _priced(
    signal: Signal,
    entry: PriceEntry,
    measured: Measured,
    rate: float,
    book: PriceBook,
    now: datetime,
    rng: random.Random,
) -> SignalCost:
    month = _month(now)
    done, gap_hours = _done(measured, month)
    ahead = forecast(measured.rates, month.next_start, month.next_end, rng, _DRAWS)
    behind = _gap(measured, month, gap_hours, rng)
    sizes = _size_errors(measured, rng)
    spread = _SPREAD[entry.grade]
    prices = [1.0 + rng.uniform(-spread, spread) for _ in range(_DRAWS)]

    def money(quantities: Sequence[float], function: Callable[[Decimal], Decimal]) -> list[Decimal]:
        return sorted(
            function(Decimal(repr(quantity))) * Decimal(repr(price))
            for quantity, price in zip(quantities, prices, strict=True)
        )

    def sized(quantities: Sequence[float]) -> list[float]:
        return [quantity * size for quantity, size in zip(quantities, sizes, strict=True)]

    def bill(quantity: Decimal) -> Decimal:
        return cost(entry.units(quantity), entry.tiers)

    spent = Decimal(repr(done + rate * gap_hours))

    def more(quantity: Decimal) -> Decimal:
        return bill(spent + quantity) - bill(spent)

    per_gb = _GB if entry.unit.counts is not Counts.ITEMS else _GB / PRIOR_BYTES[signal]
    next_draws = ahead.draws if ahead is not None else (0.0,) * _DRAWS
    cold = ahead is None or ahead.cold
    to_date = [done + gap for gap in behind]
    made = [
        _quantiles(entry, book, draws, quantity)
        for draws, quantity in (
            (money([float(per_gb)] * _DRAWS, more), float(per_gb)),
            (money(sized([rate] * _DRAWS), more), rate),
            (money(sized(to_date), bill), done + rate * gap_hours),
            (money(sized(next_draws), bill), sorted(next_draws)[_DRAWS // 2]),
        )
    ]
    return SignalCost(
        signal,
        measured.point,
        measured.source,
        rate,
        made[0],
        made[1],
        made[2],
        made[3],
        cold,
        _notes(entry, measured, gap_hours, cold, now),
    )


def _size_errors(measured: Measured, rng: random.Random) -> list[float]:
    sigma = _PRIOR_SIGMA if measured.assumed else 0.0
    return [math.exp(rng.gauss(0, sigma)) for _ in range(_DRAWS)]


def _month(now: datetime) -> _Month:
    start = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = _after(start)
    return _Month(start, now, following, _after(following))


def _after(month: datetime) -> datetime:
    year, index = divmod(month.year * 12 + month.month, 12)
    return month.replace(year=year, month=index + 1)


def _done(measured: Measured, month: _Month) -> tuple[float, float]:
    """What was measured this month, and the hours of it that were not."""
    own = [rate for rate in measured.rates if rate.hour >= month.start]
    done = math.fsum(rate.per_hour * rate.seconds / _HOUR_S for rate in own)
    elapsed = (month.now - month.start).total_seconds()
    covered = math.fsum(rate.seconds for rate in own)
    return done, max(0.0, elapsed - covered) / _HOUR_S


def _gap(
    measured: Measured, month: _Month, gap_hours: float, rng: random.Random
) -> tuple[float, ...]:
    """Draws of what flowed in the hours that were not measured."""
    elapsed_h = (month.now - month.start).total_seconds() / _HOUR_S
    whole: Forecast | None = forecast(measured.rates, month.start, month.now, rng, _DRAWS)
    if whole is None or elapsed_h <= 0:
        return (0.0,) * _DRAWS
    return tuple(draw * gap_hours / elapsed_h for draw in whole.draws)


def _notes(
    entry: PriceEntry, measured: Measured, gap_hours: float, cold: bool, now: datetime
) -> tuple[str, ...]:
    told = ["list price, not your contract"] if entry.grade != "user" else []
    if measured.assumed:
        prior = PRIOR_BYTES[entry.signal]
        told.append(f"only items are counted: {prior} B an item is assumed")
    if gap_hours >= 1:
        told.append(f"{gap_hours:.0f} h of this month were not measured: modelled")
    if cold:
        told.append("cold: less than seven days measured")
    if measured.point is not Point.M4:
        told.append(f"measured at {measured.point.value}, billed at {Point.M4.value}")
    age = (now.date() - entry.seen_on).days
    if age > STALE_DAYS:
        told.append(f"the price was read {age} days ago")
    if entry.free_scope:
        told.append(f"free tier per {entry.free_scope}")
    if entry.alternatives:
        told.append(f"read differently by {', '.join(entry.alternatives)}")
    return tuple(told)


def _quantiles(
    entry: PriceEntry, book: PriceBook, ordered: Sequence[Decimal], quantity: float
) -> Charge:
    low, likely, high = (
        ordered[min(len(ordered) - 1, round(share * len(ordered)))] for share in (0.1, 0.5, 0.9)
    )
    return _charge(entry, book, Decimal(repr(quantity)), low, likely, high)


def _charge(
    entry: PriceEntry,
    book: PriceBook,
    quantity: Decimal,
    low: Decimal,
    likely: Decimal,
    high: Decimal,
) -> Charge:
    return Charge(
        meter=entry.meter,
        book=book.name,
        currency=entry.currency,
        unit=entry.unit.name,
        quantity=entry.units(quantity),
        low=low,
        likely=likely,
        high=high,
        grade=entry.grade,
        seen_on=entry.seen_on.isoformat(),
        unpriced="",
    )


def unpriced(
    meter: str,
    book: PriceBook,
    entry: PriceEntry | None,
    why: str,
    quantity: Decimal | None = None,
) -> Charge:
    """A charge without money, and why; `quantity` in bytes or items, None = not known."""
    return Charge(
        meter=meter,
        book=book.name,
        currency=entry.currency if entry else "",
        unit=entry.unit.name if entry else "",
        quantity=entry.units(quantity) if entry and quantity is not None else None,
        low=None,
        likely=None,
        high=None,
        grade=entry.grade if entry else "",
        seen_on=entry.seen_on.isoformat() if entry else "",
        unpriced=why,
    )
