"""What Coalmine's own canaries cost: metered as sent, priced at the dearest tier, never guessed."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import Instant
from selfcheck.canary.model import Signal
from selfcheck.canary.volume import Usage, Volume
from selfcheck.cost.book import PriceBook, shipped
from selfcheck.cost.meters import MeterHour, UsageMeter, merge
from selfcheck.cost.model import Point
from selfcheck.cost.own import DEAREST, NOTE, is_own, own_costs, own_counters
from selfcheck.cost.tiers import UNITS, Tier

START = datetime(2026, 11, 21, 12, tzinfo=UTC)
GOOGLE = shipped("google-cloud", START.date())
SELF_HOSTED = shipped("self-hosted", date(2026, 11, 21))
GIB = 2**30
LOGS, TRACES = ("gw-logs", Signal.LOGS), ("gw-traces", Signal.TRACES)


def volume(items: int, size_bytes: int) -> Volume:
    used = Usage(size_bytes, 9)
    return Volume(used, used, items)


def metered(*steps, apart_s=60.0, started_s=1000.0):
    """Hours of a meter that is shown each of `steps`, `apart_s` apart."""
    meter = UsageMeter("store")
    for n, step in enumerate(steps):
        at = Instant(START + timedelta(seconds=n * apart_s), "boot-1", 1000.0 + n * apart_s)
        meter.add(own_counters("store", step, at, started_s))
    return merge(meter.drain())


def hours(count: int, body_bytes: int, signal=Signal.LOGS, source="store", point=Point.M1):
    return [
        MeterHour(START - timedelta(hours=n), signal, point, source, 360, body_bytes, 3600.0)
        for n in range(count)
    ]


def priced(rows, book=GOOGLE, now=START + timedelta(minutes=30)):
    return own_costs(rows, book, now)


def test_canaries_are_metered_as_sent_under_the_name_of_their_backend():
    first, second = {LOGS: volume(1, 300)}, {LOGS: volume(7, 2100), TRACES: volume(2, 900)}
    rows = metered(first, second)
    assert [(r.signal, r.point, r.source, r.items, r.body_bytes, r.seconds) for r in rows] == [
        (Signal.LOGS, Point.M1, "store", 6, 1800, 60.0),
        # A route that a reload has added began at zero.
        (Signal.TRACES, Point.M1, "store", 2, 900, 60.0),
    ]
    assert [is_own(row) for row in rows] == [True, True]


def test_a_route_that_is_gone_takes_nothing_away():
    both = {LOGS: volume(5, 500), ("other", Signal.LOGS): volume(50, 5000)}
    (row,) = metered(both, {LOGS: volume(6, 600)}, {LOGS: volume(8, 800)})
    assert (row.items, row.body_bytes) == (3, 300)


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=20))
def test_what_is_metered_is_what_was_sent_after_the_first_look(sizes):
    totals = [sum(sizes[: n + 1]) for n in range(len(sizes))]
    rows = metered(*({LOGS: volume(n, total)} for n, total in enumerate(totals)), apart_s=1700.0)
    assert sum(row.body_bytes or 0 for row in rows) == totals[-1] - totals[0]
    assert sum(row.items or 0 for row in rows) == len(sizes) - 1


def test_a_free_tier_is_not_taken_for_granted():
    """50 GiB of logs are free at this vendor, and what else flows may have used them up."""
    (own,) = priced(hours(2, GIB // 16))
    assert (own.backend, own.signal, own.quantity_hour) == ("store", Signal.LOGS, GIB // 16)
    half = Decimal("0.50") / 16
    assert (own.hour.low, own.hour.likely, own.hour.high) == (0, half, half)
    assert own.to_date.likely == 2 * half
    assert own.next_month.likely == 31 * 24 * half
    assert own.notes == (NOTE, DEAREST)


def test_what_was_not_sent_is_not_made_up_for_and_another_month_is_not_this_one_s():
    """An hour that was not measured at a hop is modelled; one in which we did not run is nothing."""
    begun = datetime(2026, 11, 1, 0, 10, tzinfo=UTC)
    rows = [
        MeterHour(begun - timedelta(minutes=70), Signal.LOGS, Point.M1, "store", 9, GIB, 3600.0),
        MeterHour(
            begun - timedelta(minutes=10), Signal.LOGS, Point.M1, "store", 1, GIB // 8, 450.0
        ),
    ]
    (own,) = priced(rows, now=begun)
    assert own.to_date.likely == Decimal("0.50") / 8
    assert own.hour.likely == Decimal("0.50")
    (own,) = priced(rows, now=begun + timedelta(days=2))
    assert (own.quantity_hour, own.to_date.likely) == (0, Decimal("0.50") / 8)


def test_items_are_priced_as_items():
    (entry,) = (one for one in GOOGLE.entries if one.signal is Signal.LOGS)
    spans = replace(
        entry, signal=Signal.TRACES, unit=UNITS["1000000 Items"], rule_kind="items_sum",
        settings={}, tiers=(Tier(None, Decimal(2)),),
    )  # fmt: skip
    (own,) = priced(hours(1, GIB, Signal.TRACES), PriceBook("b", (spans,)))
    assert (own.quantity_hour, own.hour.likely) == (360, Decimal("0.00072"))
    assert own.notes == (NOTE,)


def test_each_backend_and_signal_has_its_own_figure_and_what_hops_measure_is_left_out():
    rows = [
        *hours(2, GIB), *hours(2, 3 * GIB, source="archive"),
        *hours(2, GIB, Signal.TRACES), *hours(2, 100 * GIB, source="gateway", point=Point.M3),
    ]  # fmt: skip
    found = {(own.backend, own.signal): own.hour.likely for own in priced(rows)}
    assert list(found) == [
        ("archive", Signal.LOGS), ("store", Signal.LOGS), ("store", Signal.TRACES)
    ]  # fmt: skip
    assert found["archive", Signal.LOGS] == 3 * (found["store", Signal.LOGS] or 0)
    assert priced(hours(2, GIB, source="gateway", point=Point.M3)) == ()


@pytest.mark.parametrize(
    ("signal", "entries", "why"),
    [(Signal.METRICS, SELF_HOSTED.entries, "no price entered"),
     (Signal.LOGS, (), "no entry for this signal")],
)  # fmt: skip
def test_without_a_price_there_is_a_quantity_and_no_figure(signal, entries, why):
    """The shipped book leaves the price of one's own disks to its user."""
    (own,) = priced(hours(2, GIB, signal), PriceBook("b", entries))
    for charge in (own.hour, own.to_date, own.next_month):
        assert (charge.low, charge.likely, charge.high, charge.unpriced) == (None, None, None, why)
    assert own.quantity_hour == GIB
    assert own.notes == (NOTE,)
