"""Money re-adds exactly, grows with volume, and is never made of what was not measured."""

import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfcheck.canary.model import Signal
from selfcheck.cost.book import shipped
from selfcheck.cost.estimate import NOT_BILLED, cost_of_loss, estimate, total
from selfcheck.cost.forecast import HourRate, forecast
from selfcheck.cost.meters import MeterHour, UsageMeter, merge
from selfcheck.cost.model import Point
from selfcheck.cost.tiers import Tier, cost, tier_rows
from selfcheck.hops.protocol import Direction, Meter
from tests.selfcheck.hops import scrapes as s

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
GOOGLE = shipped("google-cloud", date(2026, 11, 21))
OWN = shipped("self-hosted", date(2026, 11, 21))
BYTES = Meter("receiver", "http", Direction.BYTES_IN, s.LOGS)
GIB = 2**30

quantities = st.integers(0, 10**15).map(lambda n: Decimal(n) / 1000)
cuts = st.lists(st.integers(1, 10**9), min_size=0, max_size=4, unique=True).map(sorted)


@st.composite
def tiers(draw):
    ends = [Decimal(cut) for cut in draw(cuts)]
    prices = [Decimal(draw(st.integers(0, 10**6))) / 10**4 for _ in range(len(ends) + 1)]
    return tuple(Tier(end, price) for end, price in zip([*ends, None], prices, strict=True))


@given(quantities, tiers())
def test_tier_rows_sum_exactly(quantity, bands):
    rows = tier_rows(quantity, bands)
    assert sum((row.quantity for row in rows), Decimal(0)) == quantity
    assert sum((row.cost for row in rows), Decimal(0)) == cost(quantity, bands)


@given(quantities, quantities, tiers())
def test_more_never_costs_less(one, two, bands):
    assert cost(min(one, two), bands) <= cost(max(one, two), bands)


@given(quantities, quantities, st.integers(0, 10**6))
def test_a_flat_price_is_additive(one, two, price):
    flat = (Tier(None, Decimal(price) / 10**4),)
    assert cost(one, flat) + cost(two, flat) == cost(one + two, flat)


def test_one_byte_beyond_the_free_tier_costs_one_byte():
    entry = GOOGLE.entry(Signal.LOGS, NOW.date())
    edge = Decimal(50 * GIB)
    assert cost(entry.units(edge - 1), entry.tiers) == 0
    assert cost(entry.units(edge), entry.tiers) == 0
    assert cost(entry.units(edge + 1), entry.tiers) == Decimal("0.50") / GIB


@pytest.mark.parametrize("bad", ["NaN", "Infinity", "-1"])
def test_a_quantity_that_is_none_is_refused(bad):
    with pytest.raises(ValueError, match="finite and not negative"):
        tier_rows(Decimal(bad), (Tier(None, Decimal(1)),))


def test_increments_become_usage_of_their_hour():
    meter = UsageMeter("gateway")
    for i in range(5):
        meter.add(s.scrape(60.0 * i, {s.RECEIVED: 100.0 + 10 * i, BYTES: 5000.0 + 1000 * i}))
    (row,) = meter.drain()
    assert (row.hour, row.point, row.items, row.body_bytes) == (s.START, Point.M2, 40, 4000)
    assert row.seconds == 240
    assert row.usage().source == "gateway"
    assert meter.drain() == ()


def test_an_unread_scrape_is_a_longer_interval_and_not_zero():
    meter = UsageMeter("gateway")
    meter.add(s.scrape(0, {s.RECEIVED: 0.0}))
    meter.add(s.scrape(60, {}, unread=("timeout",)))
    meter.add(s.scrape(120, {s.RECEIVED: 70.0}))
    (row,) = meter.drain()
    assert (row.items, row.seconds, row.body_bytes) == (70, 120, None)


def test_a_restart_leaves_a_gap_and_counts_what_came_after():
    meter = UsageMeter("gateway")
    meter.add(s.scrape(0, {s.RECEIVED: 1000.0}))
    meter.add(s.scrape(60, {s.RECEIVED: 30.0}, started=1040.0))
    (row,) = meter.drain()
    assert (row.items, row.seconds) == (30, 20)


def test_a_series_that_is_missing_for_once_is_not_counted_twice():
    meter = UsageMeter("gateway")
    meter.add(s.scrape(0, {s.RECEIVED: 1000.0}))
    meter.add(s.scrape(60, {}))
    meter.add(s.scrape(120, {s.RECEIVED: 1070.0}))
    assert [row.items for row in meter.drain()] == [70]


def test_a_first_value_without_a_known_start_is_only_a_baseline():
    meter = UsageMeter("gateway")
    meter.add(s.scrape(0, {}, started=None))
    meter.add(s.scrape(60, {s.RECEIVED: 1000.0}, started=None))
    assert [row.items for row in meter.drain()] == [0]


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=20), st.integers(1, 5000))
def test_spreading_over_hours_loses_nothing(steps, apart):
    meter, value = UsageMeter("gateway"), 0
    meter.add(s.scrape(0, {s.RECEIVED: 0.0}))
    for index, step in enumerate(steps, 1):
        value += step
        meter.add(s.scrape(float(apart * index), {s.RECEIVED: float(value)}))
    rows = meter.drain()
    assert sum(row.items for row in rows) == value
    assert sum(row.seconds for row in rows) == pytest.approx(apart * len(steps))
    assert all(row.seconds <= 3600.001 for row in rows)


def hours(count: int, per_hour: int, signal=Signal.LOGS, point=Point.M4) -> list[MeterHour]:
    """Hours up to now, each measured in full."""
    return [
        MeterHour(
            NOW - timedelta(hours=i + 1),
            signal,
            point,
            "gateway",
            per_hour // 270,
            per_hour,
            3600.0,
        )
        for i in range(count)
    ]


def row_for(signal, rows, book=GOOGLE, seed=1):
    found = {cost_.signal: cost_ for cost_ in estimate(rows, book, NOW, random.Random(seed))}
    return found[signal]


def test_a_month_that_was_measured_in_full_has_a_sharp_figure_to_date():
    full = 20 * 24 + 12
    found = row_for(Signal.LOGS, hours(full, GIB))
    expected = Decimal(full - 50) * Decimal("0.50")
    assert found.to_date.low == found.to_date.high
    assert abs(found.to_date.likely - expected) < Decimal("0.0001")
    assert abs(found.hour.likely - Decimal("0.50")) < Decimal("0.0001")
    assert not found.cold
    assert abs(found.next_month.likely - (31 * 24 - 50) * Decimal("0.50")) < Decimal("0.01")


def test_hours_that_were_not_measured_are_modelled_and_not_zero():
    found = row_for(Signal.LOGS, hours(48, GIB))
    assert found.to_date.low < found.to_date.likely < found.to_date.high
    assert found.to_date.likely > 150
    assert any("444 h of this month were not measured" in note for note in found.notes)


def test_below_seven_days_the_forecast_is_cold_and_wide():
    found = row_for(Signal.LOGS, hours(24, 10 * GIB))
    assert found.cold
    assert found.next_month.high > 3 * found.next_month.low
    assert "cold: less than seven days measured" in found.notes


def test_a_signal_without_an_entry_is_unpriced_and_never_zero():
    found = row_for(Signal.TRACES, hours(24, GIB, Signal.TRACES))
    assert found.hour.likely is None
    assert found.hour.unpriced == "no entry for this signal"


def test_a_price_that_was_not_entered_is_unpriced_with_its_quantity():
    found = row_for(Signal.METRICS, hours(24, GIB, Signal.METRICS), OWN)
    assert found.hour.unpriced == "no price entered"
    assert found.hour.quantity > 0


def test_a_total_with_unpriced_parts_is_a_lower_bound():
    rows = hours(24, GIB) + hours(24, GIB, Signal.TRACES)
    costs = estimate(rows, GOOGLE, NOW, random.Random(1))
    (sum_,) = total([cost_.next_month for cost_ in costs])
    assert sum_.lower_bound
    assert "traces: no entry for this signal" in sum_.unpriced
    assert sum_.likely > 0


def test_nothing_measured_is_unpriced():
    found = row_for(Signal.LOGS, [])
    assert found.hour.unpriced == "not measured"
    assert found.quantity_hour is None
    assert total([found.hour]) == ()


def test_figures_of_two_points_are_never_added():
    both = hours(200, GIB) + hours(200, 5 * GIB, point=Point.M2)
    assert row_for(Signal.LOGS, both) == row_for(Signal.LOGS, hours(200, GIB))


def test_items_without_bytes_are_priced_by_an_assumption_that_is_told():
    bare = [replace(row, body_bytes=None) for row in hours(200, 10 * GIB)]
    found = row_for(Signal.LOGS, bare)
    assert found.to_date.low < found.to_date.high
    assert "only items are counted: 270 B an item is assumed" in found.notes


def test_an_old_price_is_told_with_its_age():
    later = NOW.replace(year=2027, month=9)
    rows = [replace(row, hour=row.hour + (later - NOW)) for row in hours(24, GIB)]
    found = estimate(rows, GOOGLE, later, random.Random(1))[0]
    assert any("the price was read" in note for note in found.notes)


def test_a_second_hand_price_widens_the_figure():
    found = row_for(Signal.LOGS, hours(20 * 24 + 12, GIB), OWN)
    assert found.per_gb.low < found.per_gb.likely < found.per_gb.high
    assert found.per_gb.grade == "S2"


@given(st.integers(1, 10**10), st.integers(1, 10**10), st.integers(0, 99))
def test_more_volume_never_estimates_to_less(one, two, seed):
    low, high = (row_for(Signal.LOGS, hours(30, v), seed=seed) for v in sorted((one, two)))
    assert low.to_date.likely <= high.to_date.likely
    assert low.next_month.high <= high.next_month.high


def test_the_same_rows_and_seed_give_the_same_estimate():
    assert row_for(Signal.LOGS, hours(300, GIB)) == row_for(Signal.LOGS, hours(300, GIB)[::-1])


def test_a_weekly_pattern_is_forecast_from_its_hours():
    def rate(hour):
        return 1000.0 if hour.weekday() < 5 and 8 <= hour.hour < 18 else 100.0

    rates = [
        HourRate(h, rate(h), 3600.0) for i in range(28 * 24) for h in [NOW - timedelta(hours=i + 1)]
    ]
    ahead = forecast(rates, NOW, NOW + timedelta(days=7), random.Random(1), 50)
    true = sum(rate(NOW + timedelta(hours=i)) for i in range(7 * 24))
    assert not ahead.cold
    assert all(abs(draw - true) < 0.01 * true for draw in ahead.draws)


def test_a_loss_before_the_billed_point_is_not_billed():
    for point in (Point.M1, Point.M2, Point.M3):
        assert cost_of_loss(Signal.LOGS, 10**6, 300.0, point, GOOGLE, NOW) == NOT_BILLED


def test_a_loss_behind_the_billed_point_was_paid_for():
    charge = cost_of_loss(Signal.LOGS, GIB, 2.0, Point.M4, GOOGLE, NOW)
    assert (charge.low, charge.likely, charge.high) == (0, 1, 1)


def test_a_loss_of_unknown_size_is_unpriced():
    assert cost_of_loss(Signal.LOGS, 5, None, Point.M4, GOOGLE, NOW).likely is None


def test_merging_keeps_what_is_not_known_unknown():
    row = hours(1, 100)[0]
    (both,) = merge([row, replace(row, body_bytes=None)])
    assert both.body_bytes is None
    assert both.seconds == 7200
