"""Ticks are exact, and a name's place in the interval is fixed."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from scheduler.engine.timeline import Timeline, first_offset_s, next_tick, on_slot, ticks_between
from tests.support.clock import VirtualClock

ANCHOR = datetime(2026, 11, 21, tzinfo=UTC)
EVERY = st.integers(1, 10**9).map(lambda ms: ms / 1000)
MOMENT = st.integers(-(10**14), 10**14).map(lambda us: ANCHOR + timedelta(microseconds=us))


@given(EVERY, MOMENT)
def test_the_next_tick_is_later_and_at_most_one_interval_away(every_s, now):
    """Also at the very moment of a tick, and before the anchor."""
    tick = next_tick(ANCHOR, every_s, now)
    assert now < tick <= now + timedelta(seconds=every_s)
    assert (tick - ANCHOR) % timedelta(seconds=every_s) == timedelta(0)
    assert next_tick(ANCHOR, every_s, tick) == tick + timedelta(seconds=every_s)


@given(EVERY, MOMENT, MOMENT, MOMENT)
def test_ticks_of_two_spans_add_up_to_those_of_the_whole(every_s, a, b, c):
    """Nothing is counted twice or left out at a border."""
    a, b, c = sorted((a, b, c))
    left, right = ticks_between(ANCHOR, every_s, a, b)[0], ticks_between(ANCHOR, every_s, b, c)[0]
    assert left + right == ticks_between(ANCHOR, every_s, a, c)[0]


@given(st.text(), EVERY)
def test_the_first_offset_lies_within_the_interval_and_depends_on_the_name_only(name, every_s):
    """Restarts and machines agree on it."""
    assert 0 <= first_offset_s(name, every_s) < every_s
    assert first_offset_s(name, every_s) == first_offset_s(name, every_s)


@given(MOMENT, st.sampled_from([0.1, 0.25, 1.0, 7.0]))
def test_a_slot_is_a_whole_multiple_that_is_not_later(at, slot_s):
    """What lies on a slot stays there: a cadence that goes on after a restart does not creep."""
    slot, width = on_slot(at, slot_s), timedelta(seconds=slot_s)
    assert at - width < slot <= at
    assert (slot - datetime(1970, 1, 1, tzinfo=UTC)) % width == timedelta()
    assert on_slot(slot, slot_s) == slot
    assert on_slot(at, 0.0) == at


def test_offsets_spread_checks_evenly():
    """No second of a minute holds twice its share of 6,000 checks."""
    seconds = Counter(int(first_offset_s(f"check-{i}", 60.0)) for i in range(6000))
    assert len(seconds) == 60
    assert max(seconds.values()) < 200


def test_the_timeline_follows_elapsed_time_and_shows_a_step_as_skew():
    """The wall clock cannot move it."""
    clock = VirtualClock()
    timeline, began = Timeline(clock), clock.utc()
    clock.move(5)
    clock.step_wall(-3600)
    assert timeline.now() == began + timedelta(seconds=5)
    assert timeline.skew() == timedelta(hours=-1)
