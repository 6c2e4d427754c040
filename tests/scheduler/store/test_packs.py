"""Packs: eight bytes a run, the same whatever the order and however often it was written."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.verdict import Verdict
from scheduler.store.columns import from_us, read_instant, to_us, write_instant
from scheduler.store.packs import Point, hour_of, merge, point_of, strip_of, sums, unpack
from tests.support.clock import VirtualClock

HOUR = datetime(2026, 11, 21, 3, tzinfo=UTC)
points = st.lists(
    st.builds(
        Point,
        st.integers(0, 3599),
        st.integers(1, 255),
        st.sampled_from(Verdict),
        st.floats(0, 1000, width=32),
    ),
    min_size=1,
    unique_by=lambda point: (point.offset_s, point.attempt),
)


@given(points, st.randoms())
def test_a_pack_is_a_function_of_the_set_of_its_runs(runs, rng):
    shuffled = list(runs)
    rng.shuffle(shuffled)
    packed = merge(b"", runs)
    assert len(packed) == 8 * len(runs)
    assert merge(merge(b"", shuffled), runs) == packed
    assert set(unpack(packed)) == set(runs)


@given(points)
def test_sums_count_every_run_once_by_its_own_verdict(runs):
    total = sums(merge(b"", runs))
    assert sum(total.counts.values()) == len(runs)
    for verdict in Verdict:
        assert total.counts[verdict] == sum(point.verdict is verdict for point in runs)
    assert total.min_s <= total.sum_s / len(runs) * 1.000001
    assert total.max_s == max(point.took_s for point in runs)


@given(points, st.integers(1, 60), st.sampled_from([30.0, 60.0, 300.0]))
def test_a_cell_without_a_run_is_none_and_never_ok(runs, cells, cell_s):
    end = HOUR + timedelta(hours=1)
    strip = strip_of({HOUR: merge(b"", runs)}, end, cells, cell_s)
    inside = {int((3600 - point.offset_s) // cell_s) for point in runs}
    assert [cell is not None for cell in strip] == [
        cells - 1 - index in inside for index in range(cells)
    ]


@given(st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC)))
def test_moments_are_exact_to_the_microsecond(moment):
    assert from_us(to_us(moment)) == moment


@given(st.floats(0, 1e9), st.text("abcdef- 0123456789", min_size=1, max_size=36))
def test_an_instant_comes_back_bit_for_bit(boot_s, boot_id):
    from core.clock import Instant

    at = Instant(VirtualClock().utc(), boot_id, boot_s)
    assert read_instant(write_instant(at)) == at


def test_a_naive_moment_is_refused():
    with pytest.raises(ValueError, match="no time zone"):
        to_us(datetime(2026, 1, 1))


def test_the_point_of_a_run_is_its_second_in_its_hour():
    at = HOUR + timedelta(minutes=7, seconds=3, microseconds=9)
    assert hour_of(at) == HOUR
    assert point_of(at, 999, Verdict.BLIND, -0.1) == Point(423, 255, Verdict.BLIND, 0.0)
