"""Faults of the scheduler, the process and the clock: none becomes an `ok` or a target's `fail`."""

import asyncio
import random
from datetime import timedelta
from itertools import pairwise

import pytest

from core.clock import SystemClock, instant
from core.errors import StoreError, StoreLostError
from core.reason import Reason
from core.result import Result
from core.verdict import Verdict
from scheduler.engine.clockwork import FixedRate, HeapStore
from scheduler.engine.engine import EngineLimits
from scheduler.engine.lag import LagMeter
from scheduler.engine.lanes import LaneLimits
from scheduler.engine.leash import Leash
from scheduler.engine.protocol import Step
from scheduler.engine.run import RunParts, Scheduled, run_one
from tests.support.clock import VirtualClock
from tests.support.engine_rig import Marks, Rig, check, fine, until


class RaisingTrigger(FixedRate):
    """Raises until `mended`."""

    mended = False

    def get_next_fire_time(self, previous, now):
        if not self.mended:
            raise RuntimeError("no next time")
        return super().get_next_fire_time(previous, now)


def _healthy(rig, names, runs):
    for name in names:
        assert rig.engine.account(name)["ok"] == runs, name


async def test_fault_001_a_raising_trigger_blinds_its_check_and_no_other():
    """The others keep cadence; the check comes back when its trigger does."""
    clock = VirtualClock()
    rig = Rig(clock)
    await rig.engine.start([check(name) for name in "abc"], [])
    clockwork = rig.engine._clockwork
    trigger = RaisingTrigger(clockwork.timeline.now(), 10.0)
    clockwork.modify_job("b", trigger=trigger)
    await clock.advance(60)
    _healthy(rig, "ac", 6)
    ran = [e for e in rig.results.of("b") if e.verdict is Verdict.OK]
    assert len(ran) == 1
    blind = [e for e in rig.results.of("b") if e.verdict is not Verdict.OK]
    assert {(e.verdict, e.reason) for e in blind} == {(Verdict.BLIND, Reason.HARNESS)}
    assert len(blind) == len([what for what, _ in rig.broken if what == "b"]) > 2
    trigger.mended = True
    await clock.advance(60)
    assert rig.engine.account("b")["ok"] > 1
    assert rig.balanced()
    await rig.engine.stop(1)


async def test_fault_001_a_schedule_that_cannot_be_computed_leaves_a_blind_check():
    """Kept, told, and nobody else is touched."""
    clock = VirtualClock()
    rig = Rig(clock)
    await rig.engine.start([check("bad", cron="61 * * * *"), check("a")], [])
    await clock.advance(120)
    assert {e.verdict for e in rig.results.of("bad")} == {Verdict.BLIND}
    assert any(what == "bad" for what, _ in rig.broken)
    _healthy(rig, "a", 12)
    await rig.engine.stop(1)


class RaisingStore(HeapStore):
    """Refuses updates of one job, or all questions."""

    refused = ""
    deaf = False

    def update_job(self, job):
        if job.id == self.refused:
            raise StoreLostError("disk")
        super().update_job(job)

    def get_due_jobs(self, now):
        if self.deaf:
            raise StoreLostError("disk")
        return super().get_due_jobs(now)


async def test_fault_002_a_job_store_that_raises_blinds_what_it_holds_and_wakes_again():
    """One job's update, then the whole store; the timer is always re-armed."""
    clock = VirtualClock()
    rig = Rig(clock)
    store = RaisingStore()
    rig.engine._clockwork._jobstores["default"] = store
    await rig.engine.start([check("a"), check("b")], [])
    store.refused = "b"
    await clock.advance(30)
    _healthy(rig, "a", 3)
    assert rig.results.of("b")[-1].verdict is Verdict.BLIND
    store.refused = ""
    before = rig.engine.account("b")["ok"]
    await clock.advance(30)
    assert rig.engine.account("b")["ok"] >= before + 2
    store.deaf = True
    await clock.advance(20)
    assert any(what == "engine job store" for what, _ in rig.broken)
    store.deaf = False
    ran = rig.engine.account("a")["ok"]
    await clock.advance(20)
    assert rig.engine.account("a")["ok"] >= ran + 2
    assert rig.balanced()
    await rig.engine.stop(1)


async def test_fault_002_a_state_store_that_raises_costs_no_run():
    """Marks are tried again, with backoff."""
    clock, marks = VirtualClock(), Marks()
    rig = Rig(clock, marks=marks)
    await rig.engine.start([check("a")], [])
    marks.broken = StoreLostError("disk")
    await clock.advance(60)
    _healthy(rig, "a", 6)
    assert any(what == "engine marks" for what, _ in rig.broken)
    marks.broken = None
    await clock.advance(60)
    assert marks.kept["a"].accounted_until == rig.results.of("a")[-1].scheduled_at
    await rig.engine.stop(1)


async def test_fault_003_a_check_in_an_unknown_lane_is_kept_and_blind():
    """APScheduler would delete it with one log line."""
    clock = VirtualClock()
    rig = Rig(clock)
    await rig.engine.start([check("lost", lane="nowhere"), check("a")], [])
    await clock.advance(30)
    assert [e.verdict for e in rig.results.of("lost")] == [Verdict.BLIND] * 3
    assert "no lane 'nowhere'" in rig.results.of("lost")[0].detail
    assert [what for what, _ in rig.broken] == ["lost"] * 3
    _healthy(rig, "a", 3)
    await rig.engine.stop(1)


def _parts(clock, lag=None, leaked=50, told=None):
    leash = Leash(leaked, (told if told is not None else []).append)
    return RunParts(clock, random.Random(1), lag or LagMeter(clock), leash, 3, 0.02)


async def _once(run, clock, parts, deadline_s=0.05):
    # The meter must not take the test's own waiting for a stall.
    beating = asyncio.create_task(_beat(parts.lag, clock))
    now = instant(clock)
    done = await run_one(
        check("c", run=run, deadline_s=deadline_s), 1,
        Scheduled(now.utc, now.boot_s, now.boot_s), parts,
    )  # fmt: skip
    beating.cancel()
    return done


async def _beat(lag, clock):
    while True:
        await clock.sleep(await lag.beat())


async def test_fault_004_a_run_that_never_returns_is_cancelled_and_its_slot_is_freed():
    """`blind(harness)` at deadline + grace; the next run starts."""
    clock = SystemClock()
    rig = Rig(clock, [LaneLimits("probes", 1, 5)], limits=EngineLimits(grace_s=0.02))

    async def never(_context):
        await asyncio.Event().wait()

    await rig.engine.start([check("hang", 0.2, never, deadline_s=0.05), check("a", 0.2)], [])
    await until(lambda: len(rig.results.of("hang")) >= 2 and len(rig.results.of("a")) >= 2)
    for envelope in rig.results.of("hang"):
        assert envelope.verdict is Verdict.BLIND
        assert envelope.reason in {Reason.HARNESS, Reason.LAG}
    assert rig.engine.vitals().leaked == 0
    await rig.engine.stop(1)
    assert rig.balanced()


async def test_fault_005_an_ok_that_comes_after_a_swallowed_cancellation_is_blind():
    """The elapsed time is compared after the return."""
    clock = SystemClock()

    async def swallows(_context):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return Result.ok({})

    done = await _once(swallows, clock, _parts(clock))
    assert (done.verdict, done.reason) == (Verdict.BLIND, Reason.HARNESS)


async def test_fault_005_what_outlives_its_cancellation_is_abandoned_counted_and_told():
    """Beyond the limit of living leaks, the supervisor hears of it."""
    clock, gate, told = SystemClock(), asyncio.Event(), []

    async def stubborn(_context):
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                continue
        return Result.ok({})

    parts = _parts(clock, leaked=0, told=told)
    done = await _once(stubborn, clock, parts)
    assert (done.verdict, done.reason) == (Verdict.BLIND, Reason.HARNESS)
    assert "abandoned" in done.detail
    assert (parts.leash.leaked, len(told)) == (1, 1)
    gate.set()
    await until(lambda: parts.leash.leaked == 0)
    assert parts.leash.leaked_total == 1


@pytest.mark.parametrize("answer", ["raises", "raises at the call", "is no result"])
async def test_fault_005_a_check_that_breaks_its_contract_is_blind(answer):
    """An exception means that we are broken, never the target."""
    clock = VirtualClock()

    async def raises(_context):
        raise ValueError("plug-in")

    def at_the_call(_context):
        raise ValueError("plug-in")

    async def no_result(_context):
        return "ok"

    run = {"raises": raises, "raises at the call": at_the_call, "is no result": no_result}[answer]
    now = instant(clock)
    done = await run_one(
        check("c", run=run), 1, Scheduled(now.utc, now.boot_s, now.boot_s), _parts(clock)
    )
    assert (done.verdict, done.reason) == (Verdict.BLIND, Reason.HARNESS)


async def test_fault_006_a_blocked_loop_yields_one_delayed_run_per_check_and_no_time_out():
    """The lag is measured, the rest skipped and counted, and a time-out meanwhile is blind."""
    clock = VirtualClock()
    rig = Rig(clock)

    async def timed_out(_context):
        clock.move(5)
        return Result.fail(Reason.TIMEOUT, "no answer in 5 s")

    blocks = check("blocks", 60.0, timed_out)
    await rig.engine.start([blocks, *(check(f"c{i}", 1.0) for i in range(5))], [])
    await clock.advance(90)
    done = rig.results.of("blocks")[0]
    assert (done.verdict, done.reason) == (Verdict.BLIND, Reason.LAG)
    assert done.trust.lag_s > 4
    for i in range(5):
        delayed = [e for e in rig.results.of(f"c{i}") if e.delayed]
        assert 1 <= len(delayed) <= len(rig.results.of("blocks"))
        assert rig.results.skipped(f"c{i}")["blocked_loop"] >= 4 * len(delayed)
    assert rig.balanced()
    await rig.engine.stop(1)


@pytest.mark.parametrize("step_s", [-3600, 3600, 86400])
async def test_fault_012_a_wall_step_costs_no_fixed_rate_run_and_calendars_follow(step_s):
    """There and back again."""
    clock = VirtualClock()
    rig = Rig(clock)
    wall: list[int] = []

    async def noted(context):
        wall.append(clock.utc().minute)
        return await fine(context)

    often = check("often", 300.0, noted, cron="*/5 * * * *")
    await rig.engine.start([check("a"), often], [])
    await clock.advance(60)
    clock.step_wall(step_s)
    await clock.advance(300)
    clock.step_wall(-step_s)
    await clock.advance(300)
    _healthy(rig, "a", 66)
    at = [e.scheduled_at for e in rig.results.of("a")]
    assert {b - a for a, b in pairwise(at)} == {timedelta(seconds=10)}
    assert wall == [15, 20]
    await rig.engine.stop(1)


async def test_fault_012_a_calendar_run_comes_at_its_new_wall_time():
    """A step into the future brings it nearer."""
    clock = VirtualClock()
    rig = Rig(clock)
    await rig.engine.start([check("eight", 60.0, cron="20 8 * * *")], [])
    clock.step_wall(5 * 3600)
    await clock.advance(600)
    assert len(rig.results.of("eight")) == 1
    assert clock.utc().hour == 8
    await rig.engine.stop(1)


async def test_fault_015_many_checks_due_at_one_instant_are_capped_and_served_by_age():
    """5,000 at once in a lane of 50 with room for 1,000: never more than 50, and all get a turn."""
    clock, running, most = VirtualClock(), 0, 0

    async def run(context):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return await fine(context)

    rig = Rig(clock, [LaneLimits("probes", 50, 1000)])
    checks = [check(f"c{i}", 60.0, run) for i in range(5000)]
    await rig.engine.start(checks, [])
    clockwork = rig.engine._clockwork
    at = clockwork.timeline.now() + timedelta(seconds=1)
    for item in checks:
        clockwork.schedule(item.name, FixedRate(at, 60.0), at)
    for _ in range(6):
        await clock.advance(60)
    assert most == 50
    assert rig.balanced()
    served = [rig.engine.account(item.name)["ok"] for item in checks]
    assert min(served) >= 1
    await rig.engine.stop(1)


async def test_fault_015_after_start_50_000_checks_are_spread_over_their_interval():
    """No second holds more than its share, give or take."""
    clock = VirtualClock()
    rig = Rig(clock)
    await rig.engine.start([check(f"c{i}", 3600.0) for i in range(50_000)], [])
    jobs = rig.engine._clockwork.get_jobs()
    began = rig.engine._clockwork.timeline.now()
    minutes = [0] * 60
    for job in jobs:
        minutes[int((job.next_run_time - began).total_seconds() // 60)] += 1
    assert sum(minutes) == 50_000
    assert max(minutes) < 2 * 50_000 / 60
    await rig.engine.stop(1)


async def test_fault_016_a_run_longer_than_its_interval_never_overlaps_and_slips():
    """The next starts after it, at a tick; each tick between is skipped and counted."""
    clock, gates, running = VirtualClock(), [], []

    async def slow(context):
        running.append(clock.monotonic())
        gates.append(asyncio.Event())
        await gates[-1].wait()
        return await fine(context)

    rig = Rig(clock)
    await rig.engine.start([check("slow", 1.0, slow, deadline_s=60)], [])
    await clock.advance(3.5)
    assert len(running) == 1
    gates[0].set()
    await clock.advance(1)
    assert len(running) == 2
    assert running[1] - running[0] >= 3
    skipped = rig.results.skipped("slow")["overlap"]
    assert skipped == rig.engine.vitals().slipped >= 2
    assert rig.balanced()
    gates[-1].set()
    await rig.engine.stop(1)


async def test_fault_021_a_failing_step_is_begun_again_with_backoff_and_is_fatal_in_the_end():
    """Counted each time; n failures in a row end the process."""
    clock = VirtualClock()
    rig, calls = Rig(clock, limits=EngineLimits(fatal_in_a_row=3)), []

    async def bad():
        calls.append(clock.monotonic() - 1000)
        raise RuntimeError("step")

    async def good():
        return 5.0

    steps = [Step("bad", "", bad, 5.0), Step("good", "", good, 5.0)]
    await rig.engine.start([check("a")], steps)
    await clock.advance(7.5)
    assert [round(at) for at in calls] == [0, 1, 3, 7]
    assert rig.engine.vitals().step_restarts == 4
    assert [what for what, _ in rig.fatal] == ["bad"]
    assert {what for what, _ in rig.broken} == {"bad"}
    await rig.engine.stop(1)


async def test_fault_024_a_step_whose_store_fails_is_tried_for_ever_and_never_fatal():
    """A full disk may last: a restart would not even get as far as this process has."""
    clock = VirtualClock()
    rig = Rig(clock, limits=EngineLimits(fatal_in_a_row=3))

    async def full():
        raise StoreError("disk is full")

    await rig.engine.start([check("a")], [Step("full", "", full, 5.0)])
    await clock.advance(300)
    assert len([what for what, _ in rig.broken if what == "full"]) > 8
    assert rig.fatal == []
    await rig.engine.stop(1)


@pytest.mark.parametrize("wait_s", [float("nan"), -1.0])
async def test_fault_021_a_step_that_names_no_time_is_a_failure(wait_s):
    """It would else spin, or never come back."""
    clock = VirtualClock()
    rig = Rig(clock)

    async def step():
        return wait_s

    await rig.engine.start([], [Step("odd", "", step, 5.0), Step("lost", "nowhere", step, 5.0)])
    await clock.advance(0.5)
    assert {what for what, _ in rig.broken} == {"odd", "lost"}
    await rig.engine.stop(1)


async def test_fault_021_a_hanging_step_is_cancelled_and_begun_again():
    """Its deadline is ours."""
    clock, calls = SystemClock(), []
    rig = Rig(clock)

    async def hangs_once():
        calls.append(1)
        if len(calls) == 1:
            await asyncio.Event().wait()
        return 60.0

    await rig.engine.start([], [Step("hangs", "probes", hangs_once, 0.05)])
    await until(lambda: len(calls) == 2)
    assert [what for what, _ in rig.broken] == ["hangs"]
    assert rig.fatal == []
    await until(lambda: rig.engine.vitals().running["probes"] == 0)
    await rig.engine.stop(1)
