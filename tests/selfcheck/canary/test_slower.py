"""A route that has become slower for good is told so for days, not only until it is learned."""

import math
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import instant
from core.reason import Reason
from core.verdict import Verdict
from selfcheck.canary.deadline import Learned, steady_s
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.ledger import HourPast
from selfcheck.canary.model import CanaryKey, LedgerRow, Look, Outcome
from selfcheck.canary.policy import ExpectDrop
from selfcheck.canary.usual import (
    GROWN_HOURS,
    HOURS,
    LEAST_HOURS,
    Usual,
    UsualHours,
    surely_s,
)
from tests.fakes.route import SPEC, RouteRig
from tests.fakes.store import BY_ID, SEARCH, FakeBackend, FakeStore, Faults
from tests.support.clock import VirtualClock
from tests.support.stores import pending_row

RULES = JudgingRules()
HOUR_S, HOUR_US = 3600.0, 3_600_000_000
SLOWER = (Verdict.DEGRADED, Reason.SLOWER)
EACH_MINUTE = replace(SPEC, every_s=60.0)
DELAYS = st.lists(st.floats(0.0, 900.0), min_size=20, max_size=60)


def told(rig: RouteRig) -> tuple[Verdict, Reason]:
    status = rig.cycle.status()
    return status.verdict, status.reason


async def for_hours(hours: float = LEAST_HOURS + 1, spec=EACH_MINUTE, **given) -> RouteRig:
    """A route that has been running well for so long."""
    rig = RouteRig(spec, **given)
    await rig.run(hours * HOUR_S)
    assert told(rig) == (Verdict.OK, Reason.OK)
    return rig


async def reasons(rig: RouteRig, seconds: float) -> set[tuple[Verdict, Reason]]:
    """What is told at every minute of so many seconds."""
    found = set()
    for _ in range(int(seconds // 60)):
        await rig.run(60)
        found.add(told(rig))
    return found


# A route by the clock.


@pytest.mark.parametrize(("every_s", "delay_s"), [(10.0, 20.0), (60.0, 20.0), (60.0, 10.0)])
async def test_a_route_that_became_slower_for_good_is_told_so_for_hours(every_s, delay_s):
    rig = await for_hours(spec=replace(SPEC, every_s=every_s))
    rig.faults.delay_s = delay_s
    await rig.run(HOUR_S / 2)
    assert await reasons(rig, 3 * HOUR_S) == {SLOWER}
    assert "usual in 7 days were 1.0 s" in rig.cycle.status().detail


async def test_it_is_over_as_soon_as_the_newest_are_as_quick_as_before():
    """So many have been slow that the first looks would come too late to show it otherwise."""
    rig = await for_hours(spec=SPEC)
    rig.faults.delay_s = 20.0
    await rig.run(2 * HOUR_S)
    assert rig.cycle.status().delay_p50_s > 20
    assert told(rig) == SLOWER
    rig.faults.delay_s = 0.2
    await rig.run(5 * 60)
    assert told(rig) == (Verdict.OK, Reason.OK)


async def test_what_a_declared_sampler_lets_through_tells_it_too():
    spec = replace(EACH_MINUTE, expect_drop=ExpectDrop(0.5, ""))
    rig = await for_hours(spec=spec, faults=Faults(drop=lambda canary: canary.key.seq % 2 == 0))
    rig.faults.delay_s = 100.0
    await rig.run(2 * HOUR_S)
    assert await reasons(rig, HOUR_S) == {SLOWER}


async def test_a_restart_neither_raises_it_nor_ends_it():
    rig = await for_hours()
    again = rig.restarted()
    assert await reasons(again, HOUR_S / 2) == {(Verdict.OK, Reason.OK)}
    again.faults.delay_s = 20.0
    await again.run(HOUR_S)
    assert told(again) == SLOWER
    once_more = again.restarted()
    await once_more.run(120)
    assert told(once_more) == SLOWER


async def test_other_parameters_are_another_route_without_a_past():
    rig = await for_hours()
    rig.faults.delay_s = 20.0
    moved = rig.restarted(sent_under="under-2")
    await moved.run(HOUR_S / 2)
    assert await reasons(moved, HOUR_S) == {(Verdict.OK, Reason.OK)}


async def test_a_route_without_a_past_says_nothing_of_it():
    rig = RouteRig(EACH_MINUTE)
    await rig.run(HOUR_S)
    rig.faults.delay_s = 20.0
    await rig.run(HOUR_S / 2)
    assert await reasons(rig, HOUR_S) == {(Verdict.OK, Reason.OK)}


async def test_one_backlog_stretches_the_deadline_and_is_not_told_as_a_slower_route():
    rig = await for_hours()
    rig.faults.delay_s = 300.0
    await rig.run(600)
    rig.faults.delay_s = 0.2
    await rig.run(600)
    assert rig.cycle.status().deadline_s > 300
    assert await reasons(rig, 2 * HOUR_S) == {(Verdict.OK, Reason.OK)}


async def test_a_deadline_that_slow_canaries_of_several_hours_have_doubled_is_told():
    """Two in an hour are no slow route, but a loss would be told minutes later than before."""
    rig = await for_hours()
    for _ in range(GROWN_HOURS + 1):
        rig.faults.delay_s = 45.0
        await rig.run(120)
        rig.faults.delay_s = 0.2
        await rig.run(HOUR_S - 120)
    assert told(rig) == SLOWER
    assert "a loss takes" in rig.cycle.status().detail
    again = rig.restarted()
    await again.run(60)
    assert told(again) == SLOWER


async def test_an_outage_of_our_own_reading_makes_no_route_slower():
    rig = await for_hours()
    for _ in range(GROWN_HOURS + 1):
        rig.faults.read_error = Reason.READBACK
        await rig.run(300)
        rig.faults.read_error = None
        await rig.run(300)
        assert SLOWER not in await reasons(rig, HOUR_S - 600)


# A store that is asked by id for one canary, and by search for several, shows both the same.
IN_TURNS = (replace(BY_ID, batched=False), SEARCH)


@pytest.mark.parametrize(("every_s", "delay_s"), [(10.0, 12.0), (15.0, 17.0), (20.0, 22.0)])
async def test_a_slowness_is_told_whichever_path_is_asked(every_s, delay_s):
    """A canary is looked for again by the path that was asked before, or no delay could be told."""
    clock = VirtualClock()
    store = FakeStore(clock)
    backend = FakeBackend(store, paths=IN_TURNS)
    spec = replace(SPEC, every_s=every_s, target_s=8.0)
    rig = RouteRig(spec, clock=clock, store=store, backend=backend)
    await rig.run(HOUR_S / 2)
    assert told(rig) == (Verdict.OK, Reason.OK)
    rig.faults.delay_s = delay_s
    await rig.run(HOUR_S / 4)
    for _ in range(60):
        await rig.run(60.0)
        assert told(rig) == (Verdict.DEGRADED, Reason.SLOW), rig.cycle.status()
    rows = [row for row in await rig.rows() if row.seen]
    assert sum(row.delay_s is None for row in rows) < len(rows) / 4
    assert rig.cycle.status().delay_p50_s >= delay_s


async def test_a_route_that_has_become_slower_is_told_so_whichever_path_is_asked():
    clock = VirtualClock()
    store = FakeStore(clock)
    backend = FakeBackend(store, paths=IN_TURNS)
    rig = await for_hours(
        spec=replace(SPEC, every_s=15.0), clock=clock, store=store, backend=backend
    )
    rig.faults.delay_s = 17.0
    await rig.run(HOUR_S)
    assert told(rig) == SLOWER


async def test_a_path_that_denies_what_is_stored_is_no_proof_that_it_was_not_there():
    """Asked in turn with one that shows it: what the delays come to is not made of its answers."""
    clock = VirtualClock()
    store = FakeStore(clock)
    rig = RouteRig(clock=clock, store=store, backend=FakeBackend(store, paths=IN_TURNS))
    rig.faults.hidden = {"search"}
    await rig.run(HOUR_S)
    assert rig.cycle.status().delay_p50_s < 2.0


# The rule.


def row_of(delay_s: float | None, *looks: Look) -> LedgerRow:
    row = pending_row("0a1b2c3d", CanaryKey("r", 1, 1), VirtualClock())
    return replace(row, outcome=Outcome.OK, delay_s=delay_s, first_path="by_id", looks=looks)


def look(at_s: float, path: str = "by_id", *, complete: bool = True, seen: bool = False) -> Look:
    return Look(at_s, path, complete, seen, Reason.OK, "")


def test_only_a_complete_look_by_the_same_path_proves_that_it_was_not_there():
    looks = (look(3.0), look(9.0), look(12.0, complete=False), look(15.0, "search"))
    assert surely_s(row_of(20.0, *looks, look(20.0, seen=True))) == 9.0
    assert surely_s(row_of(20.0, look(20.0, seen=True))) == 0.0


@given(st.floats(0.0, 60.0), st.lists(st.tuples(st.floats(0, 900), st.floats(0, 1)), max_size=8))
def test_what_was_seen_within_the_target_or_after_no_look_is_never_slower(usual_s, seen):
    usual = Usual(31.0, usual_s, [])
    limit_s = usual.target_s(0.0, RULES)
    rows = [row_of(delay_s, look(delay_s * share)) for delay_s, share in seen]
    slow = [one for one in seen if one[0] > limit_s and one[0] * one[1] > limit_s]
    assert bool(usual.slow(rows, 0.0, RULES, surely=True)) == (
        len(slow) >= RULES.losses_to_fail and 2 * len(slow) > len(seen)
    )
    unlooked = [row_of(delay_s) for delay_s, _ in seen]
    assert not usual.slow(unlooked, 0.0, RULES, surely=True)
    if usual.slow(rows, 0.0, RULES, surely=True):
        assert usual.slow(rows, 0.0, RULES, surely=False)


@given(DELAYS, st.floats(0, 1), st.floats(0.0, 300.0), st.floats(0.0, 300.0))
def test_another_margin_is_no_growth(delays, share, before, after):
    was = JudgingRules(deadline_margin=before, deadline_floor=0.0, deadline_ceiling=1e6)
    now = was.model_copy(update={"deadline_margin": after})
    deadline_s = steady_s(delays, 0.0, was)
    usual = Usual(deadline_s, share * min(delays), [900.0] * 24)
    assert not usual.grown(Learned.of(delays, 0.0, now), 0.0, now)


@given(DELAYS, st.data())
def test_fewer_known_sightings_are_no_growth(delays, data):
    """After a restart the ledger may hold fewer of them, the newest."""
    left = delays[data.draw(st.integers(0, len(delays))) :]
    fewer = steady_s(left, 0.0, RULES)
    assert fewer is None or fewer <= steady_s(delays, 0.0, RULES)


@given(DELAYS)
def test_one_canary_alone_is_no_growth(delays):
    quick = [min(one, 30.0) for one in delays]
    assert steady_s([*quick[1:], 900.0], 0.0, RULES) <= 60.0


def test_the_growth_of_a_deadline_counts_from_three_separate_hours_on():
    learned = Learned.of([1.0] * 30 + [45.0] * 2, 0.0, RULES)
    nothing = [float("nan")] * 20
    for hours in range(5):
        usual = Usual(31.0, 1.0, [*nothing, *[45.0] * hours])
        assert bool(usual.grown(learned, 0.0, RULES)) == (hours >= GROWN_HOURS)
    assert not Usual(40.0, 1.0, [45.0] * 9).grown(learned, 0.0, RULES)


# The hours.

STEPS = st.lists(st.tuples(st.floats(1.0, 3 * HOUR_S), st.floats(0.0, 900.0)), max_size=80)


def past_of(seen: list[tuple[float, float, float]], start_us: int) -> dict[int, HourPast]:
    """By hour, of (seconds after the start, deadline, delay)."""
    hours: dict[int, list[tuple[float, float]]] = {}
    for at_s, deadline_s, delay_s in seen:
        hour = int((start_us + at_s * 1e6) // HOUR_US)
        hours.setdefault(hour, []).append((deadline_s, delay_s))
    return {
        hour: HourPast(
            hour, len(some), sum(d for d, _ in some) / len(some),
            sum(d for _, d in some) / len(some), max(d for _, d in some),
        )
        for hour, some in hours.items()
    }  # fmt: skip


def median_of(values: list[float]) -> float:
    known = sorted(values)
    return (known[(len(known) - 1) // 2] + known[len(known) // 2]) / 2


@given(STEPS)
def test_hours_say_what_all_canaries_of_a_week_would_running_and_restarted(steps):
    clock = VirtualClock()
    begin, start_us = clock.monotonic(), int(clock.utc().timestamp() * 1e6)
    running, seen = UsualHours(), []
    running.recall([], instant(clock))
    for wait_s, delay_s in steps:
        clock.move(wait_s)
        running.add(clock.monotonic(), 30.0 + delay_s, delay_s)
        seen.append((clock.monotonic() - begin, 30.0 + delay_s, delay_s))
    present = int(clock.utc().timestamp() // HOUR_S)
    past = past_of(seen, start_us)
    wanted = [one for hour, one in past.items() if 0 < present - hour <= HOURS]
    again = UsualHours()
    again.recall(past.values(), instant(clock))
    for hours in (running, again):
        usual = hours.usual(clock.monotonic())
        if len(wanted) < LEAST_HOURS:
            assert usual is None
            continue
        assert usual.delay_s == pytest.approx(median_of([one.delay_s for one in wanted]), rel=1e-5)
        assert usual.deadline_s == pytest.approx(
            median_of([one.deadline_s for one in wanted]), rel=1e-5
        )
        day = [one.longest_s for hour, one in past.items() if 0 <= present - hour < 24]
        known = [one for one in usual.longest_s if not math.isnan(one)]
        assert sorted(known) == pytest.approx(sorted(day), rel=1e-5)


def test_what_is_learned_within_an_hour_is_not_usual_before_the_next():
    clock, hours = VirtualClock(), UsualHours()
    hour = int(clock.utc().timestamp() // HOUR_S)
    known = [HourPast(hour - n, 60, 31.0, 1.0, 1.0) for n in range(1, LEAST_HOURS + 1)]
    hours.recall(known, instant(clock))
    for _ in range(500):
        hours.add(clock.monotonic(), 900.0, 600.0)
    usual = hours.usual(clock.monotonic())
    assert (usual.deadline_s, usual.delay_s) == (31.0, 1.0)


def test_the_future_of_a_wrong_clock_and_what_is_a_week_old_are_not_usual():
    clock, hours = VirtualClock(), UsualHours()
    hour = int(clock.utc().timestamp() // HOUR_S)
    told_of = [*range(hour + 1, hour + 20), *range(hour - HOURS - 20, hour - HOURS)]
    hours.recall([HourPast(one, 60, 31.0, 1.0, 1.0) for one in told_of], instant(clock))
    assert hours.usual(clock.monotonic()) is None


def test_a_week_is_kept_in_less_than_two_kibibytes():
    clock, hours = VirtualClock(), UsualHours()
    hours.recall([], instant(clock))
    for _ in range(2 * HOURS):
        clock.move(HOUR_S)
        hours.add(clock.monotonic(), 31.0, 1.0)
    usual = hours.usual(clock.monotonic())
    parts = [hours, usual.deadline_s, usual.delay_s]
    parts += [getattr(hours, name) for name in UsualHours.__slots__]
    assert sum(map(sys.getsizeof, parts)) < 2048
