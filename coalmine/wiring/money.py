"""What the measured telemetry costs: meters fed by hop scrapes, priced by the config's books."""

import random
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal

from coalmine.config.parsed import Config
from core.clock import Clock, instant
from scheduler.readmodel import CostRow
from scheduler.store import SamplesStore
from selfcheck.canary.model import Signal
from selfcheck.canary.route import RouteStatus
from selfcheck.canary.volume import Volume
from selfcheck.cost.book import PriceBook, read_book
from selfcheck.cost.estimate import SignalCost, cost_of_loss, estimate
from selfcheck.cost.meters import MeterHour, UsageMeter, merge
from selfcheck.cost.model import Charge, Point
from selfcheck.cost.own import OwnCost, is_own, own_costs, own_counters
from selfcheck.hops.finding import Cause, Finding
from selfcheck.hops.protocol import HopCounters

_HISTORY = timedelta(days=62)
# Behind these a store had taken the canary in before it was lost.
_STORED = frozenset({Cause.READ_SIDE})


class Money:
    """Meters of the present plan and the estimates made from them. Lives in the probing loop."""

    def __init__(self, config: Config, clock: Clock, rng: random.Random) -> None:
        """Reads the books. Raises ConfigError or CoalmineError when one cannot be used."""
        self._clock, self._rng = clock, rng
        today = clock.utc().date()
        self.books = tuple(
            read_book(name, config.base_dir, today) for name in config.top.cost.price_books
        )
        self._meters: dict[str, UsageMeter] = {}
        self._own: dict[str, UsageMeter] = {}
        self._hours: tuple[MeterHour, ...] = ()
        self._born_s = instant(clock).boot_s
        self.rows: tuple[CostRow, ...] = ()

    def adopt(self, other: "Money") -> None:
        """Go on with the meters and hours of another one: only the books differ."""
        self._meters, self._hours = other._meters, other._hours  # noqa: SLF001  of the same class
        self._own, self._born_s = other._own, other._born_s  # noqa: SLF001  of the same class

    def remember(self, samples: SamplesStore) -> None:
        """Take up the hours that are stored. Raises StoreError."""
        since = self._clock.utc() - _HISTORY
        self._hours = merge(
            MeterHour(hour, usage.signal, usage.point, usage.source, usage.items,
                      usage.body_bytes, usage.seconds)
            for hour, usage in samples.meters(since)
        )  # fmt: skip

    def heard(self, counters: HopCounters) -> None:
        """Take a scrape of a hop."""
        meter = self._meters.setdefault(counters.hop, UsageMeter(counters.hop))
        meter.add(counters)

    def sent(self, backend: str, volumes: Mapping[tuple[str, Signal], Volume]) -> None:
        """Take what our own canaries have come to, by name and signal of the backend's routes."""
        meter = self._own.setdefault(backend, UsageMeter(backend))
        meter.add(own_counters(backend, volumes, instant(self._clock), self._born_s))

    def settle(self, samples: SamplesStore) -> None:
        """Add what was metered to its hours, keep those, and estimate anew."""
        meters = (*self._meters.values(), *self._own.values())
        fresh = [row for meter in meters for row in meter.drain()]
        if fresh:
            self._hours = merge((*self._hours, *fresh))
            touched = {(row.hour, row.signal, row.point, row.source) for row in fresh}
            for row in self._hours:
                if (row.hour, row.signal, row.point, row.source) in touched:
                    samples.meter(row.hour, row.usage())
        now = self._clock.utc()
        self._hours = tuple(row for row in self._hours if row.hour > now - _HISTORY)
        real, rng = self._real(), self._rng
        rows = [_row(book, cost) for book in self.books for cost in estimate(real, book, now, rng)]
        for book in self.books:
            rows += [_own_row(book, own) for own in own_costs(self._hours, book, now)]
        self.rows = tuple(rows)

    def _real(self) -> list[MeterHour]:
        """The hours that hops measured."""
        return [row for row in self._hours if not is_own(row)]

    def loss(self, status: RouteStatus, finding: Finding) -> str:
        """What the lost share of the real telemetry costs, as a sentence; "" without books."""
        if not self.books or not status.losses or not status.rows:
            return ""
        signal, share = status.spec.signal, status.losses / len(status.rows)
        per_hour = self._items_per_hour(signal)
        passed = Point.M4 if finding.cause in _STORED else Point.M2
        if per_hour is None:
            return f"{share:.0%} of {signal.value}; their volume is not measured"
        lost = round(per_hour * share)
        charge = cost_of_loss(
            signal, lost, self._bytes_per_item(signal), passed, self.books[0], self._clock.utc()
        )
        told = f"about {lost} {signal.value} items an hour lost"
        if isinstance(charge, str):
            return f"{told}, before the billed point: not billed"
        if charge.likely is None:
            return f"{told}, paid for and lost: unpriced ({charge.unpriced})"
        return f"{told}, paid for: {money(charge.likely)} {charge.currency} an hour"

    def _items_per_hour(self, signal: Signal) -> float | None:
        for point in (Point.M4, Point.M3, Point.M2):
            rows = [
                r for r in self._hours
                if r.signal is signal and r.point is point and r.items is not None and r.seconds > 0
            ]  # fmt: skip
            if rows:
                return (rows[-1].items or 0) * 3600.0 / rows[-1].seconds
        return None

    def _bytes_per_item(self, signal: Signal) -> float | None:
        for row in reversed(self._real()):
            if row.signal is signal and row.items and row.body_bytes is not None:
                return row.body_bytes / row.items
        return None


def money(amount: Decimal) -> str:
    """An amount with three significant digits, never in exponent form."""
    if not amount:
        return "0"
    digits = max(0, 2 - amount.adjusted())
    return f"{amount:.{min(digits, 9)}f}"


def _text(charge: Charge) -> str | None:
    return None if charge.likely is None else money(charge.likely)


def _own_row(book: PriceBook, own: OwnCost) -> CostRow:
    month = own.next_month
    notes = (f"unpriced: {month.unpriced}", *own.notes) if month.unpriced else own.notes
    return CostRow(
        meter=f"self {own.backend} {month.meter}",
        signal=own.signal.value,
        book=book.name,
        point=Point.M1.value,
        grade=month.grade,
        unit=month.unit,
        quantity_hour=own.quantity_hour,
        per_gb=None,
        hour=_text(own.hour),
        to_date=_text(own.to_date),
        low=None if month.low is None else money(month.low),
        likely=_text(month),
        high=None if month.high is None else money(month.high),
        currency=month.currency,
        note="; ".join(notes),
        own=own.backend,
    )


def _row(book: PriceBook, cost: SignalCost) -> CostRow:
    month = cost.next_month
    note = month.unpriced or cost.per_gb.unpriced or "; ".join(cost.notes)
    if month.unpriced:
        note = f"unpriced: {note}"
    return CostRow(
        meter=month.meter,
        signal=cost.signal.value,
        book=book.name,
        point=cost.point.value if cost.point else "",
        grade=month.grade,
        unit=month.unit,
        quantity_hour=cost.quantity_hour,
        per_gb=_text(cost.per_gb),
        hour=_text(cost.hour),
        to_date=_text(cost.to_date),
        low=None if month.low is None else money(month.low),
        likely=_text(month),
        high=None if month.high is None else money(month.high),
        currency=month.currency,
        note=note,
    )
