"""A store may be slow, or become fast: either is learned, and nobody is blamed for it for ever."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.reason import Reason
from core.verdict import Verdict
from selfcheck.canary.first_look import FirstLook
from tests.fakes.route import SPEC, RouteRig

HOUR_S = 3600.0
LEAST_S = 1.0
SEQS = range(1, 1600)


def waits(first: FirstLook, expected_s: float) -> set[float]:
    return {first.wait_s(seq, expected_s) for seq in SEQS}


def tell(first: FirstLook, expected_s: float, there_s: float) -> None:
    """Canaries that are there after so long, none of them sooner or later."""
    for seq in SEQS:
        first.seen(seq, expected_s, at_once=first.wait_s(seq, expected_s) >= there_s)


def test_some_are_looked_for_sooner():
    first = FirstLook(LEAST_S)
    assert waits(first, 20.0) == {20.0, 15.0, 10.0}
    looks = [first.wait_s(seq, 20.0) for seq in range(1600)]
    assert (looks.count(15.0), looks.count(10.0)) == (50, 50)
    assert waits(first, 1.2) == {1.2, LEAST_S}
    assert waits(first, 0.0) == {LEAST_S}


@pytest.mark.parametrize("there_s", [0.0, 3.0, 5.0, 7.0, 11.0, 19.0])
def test_all_are_looked_for_when_they_are_there_and_not_much_later(there_s):
    first = FirstLook(LEAST_S)
    tell(first, 20.0, there_s)
    assert max(LEAST_S, there_s) <= max(waits(first, 20.0)) <= max(LEAST_S, there_s / 0.75)
    tell(first, 20.0, 20.0)
    assert max(waits(first, 20.0)) == 20.0


@given(st.lists(st.booleans(), max_size=200), st.floats(0.0, 900.0))
def test_no_look_is_too_early_nor_later_than_expected(answers, expected_s):
    first = FirstLook(LEAST_S)
    for seq, at_once in enumerate(answers, 1):
        first.seen(seq, expected_s, at_once=at_once)
        assert LEAST_S <= first.wait_s(seq, expected_s) <= max(LEAST_S, expected_s)


@pytest.mark.parametrize("every_s", [10.0, 60.0])
@pytest.mark.parametrize("delay_s", [60.5, 70.0, 90.0, 120.0, 500.0])
async def test_a_store_that_shows_later_than_the_first_deadline_is_learned(delay_s, every_s):
    """Who first looked after the deadline would learn nothing, and call each one late for ever."""
    rig = RouteRig(replace(SPEC, every_s=every_s))
    rig.faults.delay_s = delay_s
    await rig.run(180 * every_s)
    await rig.run(HOUR_S)
    assert rig.cycle.status().verdict is Verdict.OK, rig.cycle.status()
    assert rig.cycle.status().deadline_s > delay_s


@pytest.mark.parametrize("delay_s", [62.0, 65.5])
async def test_a_store_that_shows_right_after_the_first_deadline_is_learned_though_reads_are_few(
    delay_s,
):
    """One that is asked for each canary by itself has no read left between two of its looks."""
    rig = RouteRig()
    rig.faults.delay_s = delay_s
    await rig.run(3 * HOUR_S)
    assert rig.cycle.status().verdict is Verdict.OK, rig.cycle.status()


async def test_a_backlog_at_the_start_is_forgotten():
    rig = RouteRig()
    rig.faults.delay_s = 90.0
    await rig.run(HOUR_S / 3)
    rig.faults.delay_s = 0.5
    await rig.run(HOUR_S / 2)
    for _ in range(20):
        await rig.run(60.0)
        assert rig.cycle.status().verdict is Verdict.OK, rig.cycle.status()


@pytest.mark.parametrize("every_s", [10.0, 60.0])
async def test_a_store_that_becomes_faster_is_shown_to_be(every_s):
    """What is looked for after 20 s only was seen after 20 s, however soon it was there."""
    rig = RouteRig(replace(SPEC, every_s=every_s))
    rig.faults.delay_s = 20.0
    await rig.run(720 * every_s)
    assert 20.0 <= rig.cycle.status().delay_p50_s < 30.0
    rig.faults.delay_s = 0.2
    await rig.run(1000 * every_s)
    assert rig.cycle.status().delay_p50_s < 2.0


@pytest.mark.parametrize(("slow_after_s", "every_s"), [(8.0, 10.0), (8.0, 60.0), (None, 10.0)])
async def test_a_route_that_began_slow_is_told_by_its_canaries_not_by_its_looks(
    slow_after_s, every_s
):
    """Between half the delay that was learned and that delay no look would ever be early enough."""
    rig = RouteRig(replace(SPEC, every_s=every_s, target_s=slow_after_s))
    rig.faults.delay_s = 20.0
    await rig.run(60 * every_s)
    rig.faults.delay_s = 5.0
    await rig.run(HOUR_S + 600 * every_s)
    for _ in range(10):
        await rig.run(6 * every_s)
        assert rig.cycle.status().verdict is Verdict.OK, rig.cycle.status()
    assert 5.0 <= rig.cycle.status().delay_p50_s < 8.0


async def test_a_path_shows_no_delay_of_an_outage():
    """What waited to be asked for while nobody could ask was there long before."""
    rig = RouteRig()
    await rig.run(HOUR_S)
    rig.faults.read_error = Reason.READBACK
    await rig.run(HOUR_S / 3)
    rig.faults.read_error = None
    await rig.run(HOUR_S)
    assert [path.delay_p99_s < 15.0 for path in rig.cycle.status().paths] == [True, True]


async def test_looking_sooner_costs_few_reads():
    rig = RouteRig()
    for delay_s in (5.0, 20.0):
        rig.faults.delay_s = delay_s
        await rig.run(HOUR_S)
        before = len(rig.store.reads)
        await rig.run(HOUR_S)
        assert (len(rig.store.reads) - before) / 60 <= 12.0
