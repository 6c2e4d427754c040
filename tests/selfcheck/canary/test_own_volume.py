"""What our own volume at a store may be, and how it is known."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import Instant
from core.reason import Reason
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.model import CanaryKey, LedgerRow, Look, Receipt, Sent
from selfcheck.canary.volume import (
    CapReachedError,
    Usage,
    Volume,
    VolumeGuard,
    VolumeMeter,
    share,
    stretch,
    usage_today,
)
from tests.support.clock import VirtualClock
from tests.support.stores import pending_row

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
RECEIPT = Receipt(Sent.ACCEPTED, Reason.OK, "", 1, Sent.ACCEPTED, 0.1, 300, silent=False)


def row(seq: int, at: datetime, tries: int = 1, looks: tuple[float, ...] = ()) -> LedgerRow:
    key = CanaryKey("r", 1, seq)
    one = pending_row("0a1b2c3d", key, VirtualClock(), sent=Instant(at, "boot-1", 1000.0))
    told = tuple(Look(s, "by_id", True, False, Reason.OK, "") for s in looks)
    return replace(one, receipt=replace(RECEIPT, tries=tries), looks=told)


@given(st.floats(0, 2), st.floats(0, 2))
def test_the_pace_only_ever_slows_down_as_a_cap_fills_up(one, other):
    less, more = sorted((one, other))
    assert 1 <= stretch(less) <= stretch(more)


@pytest.mark.parametrize(
    ("used", "pace"), [(0.0, 1), (0.8, 1), (0.9, 2), (0.95, 4), (0.98, 10), (1.0, float("inf"))]
)
def test_from_80_percent_on_the_interval_grows_with_what_is_left(used, pace):
    assert stretch(used) == pytest.approx(pace)


def test_the_tighter_cap_counts_and_without_one_nothing_is_capped():
    usage = Usage(500, 90)
    assert share(usage, JudgingRules()) == 0
    assert share(usage, JudgingRules(cap_bytes_per_day=1000)) == 0.5
    both = JudgingRules(cap_bytes_per_day=1000, cap_reads_per_day=100)
    assert share(usage, both) == 0.9
    assert share(Usage(0, 0), JudgingRules(cap_bytes_per_day=0)) == 1


def test_a_new_day_begins_with_nothing_and_a_step_back_gives_no_day_twice():
    meter = VolumeMeter()
    meter.sent("a", 100, NOON)
    meter.read("b", NOON)
    assert meter.used(NOON) == Usage(100, 1)
    assert meter.used(NOON + timedelta(days=1)) == Usage(0, 0)
    meter.sent("a", 50, NOON + timedelta(days=1))
    assert meter.used(NOON) == Usage(50, 0)


def test_a_clock_that_was_far_ahead_uses_up_no_day_once_it_is_right():
    meter = VolumeMeter()
    meter.sent("a", 100, NOON + timedelta(days=400))
    assert meter.used(NOON) == Usage(0, 0)


def test_what_a_route_recalls_is_added_to_the_others_and_never_twice():
    meter = VolumeMeter()
    meter.sent("a", 100, NOON)
    meter.recall("b", Usage(70, 7), NOON)
    meter.recall("b", Usage(60, 8), NOON)
    assert meter.used(NOON) == Usage(170, 8)


def test_what_a_route_has_used_only_ever_grows_while_its_day_begins_anew():
    """A counter that fell back at midnight, or held what an earlier process sent, would lie."""
    meter = VolumeMeter()
    meter.recall("a", Usage(5000, 50), NOON)
    meter.sent("a", 300, NOON, tries=3)
    meter.read("a", NOON)
    meter.sent("b", 70, NOON)
    assert meter.volume("a", NOON) == Volume(Usage(5300, 51), Usage(300, 1), 3)
    tomorrow = NOON + timedelta(days=1)
    meter.sent("a", 100, tomorrow)
    assert meter.volume("a", tomorrow) == Volume(Usage(100, 0), Usage(400, 1), 4)
    assert meter.volume("new", tomorrow) == Volume(Usage(0, 0), Usage(0, 0), 0)


def test_every_try_of_a_canary_is_counted():
    clock, meter = VirtualClock(), VolumeMeter()
    guard = VolumeGuard(meter, JudgingRules(), "r", 10.0, clock)
    guard.sent(replace(RECEIPT, tries=3))
    guard.sent(replace(RECEIPT, tries=0))
    assert meter.volume("r", clock.utc()).ever == Usage(4 * 300, 0)
    assert meter.volume("r", clock.utc()).items == 4


def test_rows_tell_bytes_of_every_try_and_each_read_once():
    yesterday = row(1, NOON - timedelta(days=1), looks=(1.0,))
    first = row(2, NOON - timedelta(seconds=10), tries=3, looks=(1.0, 12.0))
    second = row(3, NOON - timedelta(seconds=5), looks=(7.0,))
    used = usage_today([yesterday, first, second], 2, NOON + timedelta(seconds=9))
    # The look 12 s after the first canary and 7 s after the second was one read.
    assert used == Usage(4 * 300, 2)


def test_the_newest_rows_stand_for_all_canaries_of_the_day():
    rows = [row(n, NOON - timedelta(seconds=3600 - n * 36), looks=(1.0,)) for n in range(100)]
    assert usage_today(rows, 100, NOON) == Usage(100 * 300, 100)
    assert usage_today(rows, 1234, NOON) == Usage(1234 * 300, 1234)
    assert usage_today([], 0, NOON) == Usage(0, 0)


def test_a_guard_spares_canaries_by_the_pace_and_stops_at_the_cap():
    clock, meter = VirtualClock(), VolumeMeter()
    rules = JudgingRules(cap_bytes_per_day=1000)
    guard = VolumeGuard(meter, rules, "r", 10.0, clock)
    guard.spare(None)
    guard.sent(replace(RECEIPT, body_bytes=900))
    last_s = clock.monotonic()
    clock.move(10)
    with pytest.raises(CapReachedError, match="900 of 1000 bytes"):
        guard.spare(last_s)
    clock.move(10)
    guard.spare(last_s)
    guard.sent(replace(RECEIPT, body_bytes=100))
    with pytest.raises(CapReachedError):
        guard.spare(None)
    assert guard.reads_left


def test_reads_have_a_cap_of_their_own():
    clock = VirtualClock()
    guard = VolumeGuard(VolumeMeter(), JudgingRules(cap_reads_per_day=2), "r", 10.0, clock)
    guard.read()
    assert guard.reads_left
    guard.read()
    assert not guard.reads_left
    assert "2 of 2 reads" in guard.told()
