"""The engine on virtual time: cadence, account, reload, restart."""

import asyncio
from datetime import timedelta

from core.errors import StoreBusyError
from core.reason import Reason
from core.result import Result
from core.verdict import Verdict
from scheduler.engine.lanes import LaneLimits
from scheduler.engine.protocol import Step
from scheduler.engine.timeline import first_offset_s
from tests.support.clock import VirtualClock
from tests.support.engine_rig import Marks, Rig, check, fine


async def test_checks_run_at_their_hash_offset_and_then_at_their_interval():
    """Tick k of a check lies exactly at offset + k * every."""
    clock = VirtualClock()
    rig, began = Rig(clock), clock.utc()
    names = [f"c{i}" for i in range(20)]
    await rig.engine.start([check(name) for name in names], [])
    await clock.advance(40)
    for name in names:
        first = began + timedelta(seconds=first_offset_s(name, 10.0))
        at = [e.scheduled_at for e in rig.results.of(name)]
        assert at == [first + timedelta(seconds=10 * k) for k in range(4)]
        assert rig.engine.account(name)["ok"] == 4
    assert rig.balanced()
    await rig.engine.stop(1)


async def test_an_envelope_says_who_ran_when_and_how_far_to_trust_it():
    """Epoch, generation, kind and trust travel with the verdict."""
    clock = VirtualClock()
    rig = Rig(clock)
    seen: list[str] = []

    async def run(context):
        seen.append(context.traceparent)
        return Result.fail(Reason.STATUS, "503", {"x_s": 1.0})

    await rig.engine.start([check("a", run=run)], [], generation=4)
    await clock.advance(10.5)
    (envelope,) = rig.results.envelopes
    assert (envelope.epoch, envelope.generation, envelope.kind) == (3, 4, "tcp")
    assert (envelope.verdict, envelope.reason, envelope.facts) == (
        Verdict.FAIL, Reason.STATUS, {"x_s": 1.0},
    )  # fmt: skip
    assert 0 <= envelope.trust.late_s < 0.05
    assert envelope.trust.queue_s == envelope.trust.lag_s == 0
    version, trace, span, flags = seen[0].split("-")
    assert (version, len(trace), len(span), flags) == ("00", 32, 16, "01")
    await rig.engine.stop(1)


async def test_a_run_that_is_handed_over_yields_no_envelope_but_is_accounted():
    """Routes report their own results later."""
    clock = VirtualClock()
    rig = Rig(clock)

    async def run(_context):
        return None

    await rig.engine.start([check("route", run=run)], [])
    await clock.advance(20)
    assert rig.results.envelopes == []
    assert rig.engine.account("route")["handed_over"] == 2
    assert rig.balanced()
    await rig.engine.stop(1)


async def test_after_a_stall_each_check_runs_once_and_the_rest_is_skipped_and_counted():
    """No burst of catch-up."""
    clock = VirtualClock()
    rig = Rig(clock)
    await rig.engine.start([check("a", 1.0), check("b", 1.0)], [])
    await clock.advance(1.5)
    before = len(rig.results.of("a"))
    clock.move(600)
    await clock.advance(0.05)
    runs = rig.results.of("a")[before:]
    assert len(runs) == 1
    assert runs[0].delayed
    assert rig.results.skipped("a")["blocked_loop"] in {599, 600}
    assert rig.balanced()
    await rig.engine.stop(1)


async def test_runs_missed_while_the_engine_was_down_are_counted_at_start():
    """The cadence goes on over a restart, and the gap is an account, not uptime."""
    clock, marks = VirtualClock(), Marks()
    first = Rig(clock, marks=marks)
    await first.engine.start([check("a"), check("gone")], [])
    await clock.advance(30)
    await first.engine.apply([check("a")], [], 2)
    await first.engine.stop(1)
    last = first.results.of("a")[-1].scheduled_at
    clock.move(100)
    second = Rig(clock, marks=marks)
    await second.engine.start([check("a"), check("new"), check("gone")], [])
    assert second.engine.account("a")["missed"] == 10
    assert second.engine.account("new")["due"] == second.engine.account("gone")["due"] == 0
    (gap,) = second.results.gaps
    assert (gap.missed, gap.count) == (True, 10)
    assert gap.first == last + timedelta(seconds=10)
    await clock.advance(10)
    assert second.results.of("a")[0].scheduled_at == gap.last + timedelta(seconds=10)
    assert second.balanced()
    await second.engine.stop(1)


async def test_checks_on_slots_come_due_together_and_soon():
    """Each at its offset or up to a slot later, at most an interval and a slot from the start."""
    clock = VirtualClock()
    clock.move(0.0123)
    rig, began = Rig(clock), clock.utc()
    names = [f"c{i}" for i in range(40)]
    await rig.engine.start([check(name, slot_s=0.25) for name in names], [])
    await clock.advance(20.5)
    for name in names:
        due = began + timedelta(seconds=first_offset_s(name, 10.0))
        first, second, *_ = (e.scheduled_at for e in rig.results.of(name))
        assert due < first <= due + timedelta(seconds=0.25)
        assert first.microsecond % 250_000 == 0
        assert second == first + timedelta(seconds=10)
    await rig.engine.stop(1)


async def test_a_cadence_that_moves_to_its_slot_counts_no_run_twice():
    clock, marks = VirtualClock(), Marks()
    clock.move(0.1)
    first = Rig(clock, marks=marks)
    await first.engine.start([check("a")], [])
    await clock.advance(30)
    await first.engine.stop(1)
    last = first.results.of("a")[-1].scheduled_at
    second = Rig(clock, marks=marks)
    await second.engine.start([check("a", slot_s=0.25)], [])
    assert second.engine.account("a")["missed"] == 0
    await clock.advance(10)
    (then,) = [e.scheduled_at for e in second.results.of("a")]
    assert then.microsecond % 250_000 == 0
    assert timedelta() <= last + timedelta(seconds=10) - then < timedelta(seconds=0.25)
    await second.engine.stop(1)


async def test_a_pause_is_neither_skipped_nor_missed():
    """Runs that nobody wanted are not due."""
    clock = VirtualClock()
    rig = Rig(clock)
    await rig.engine.start([check("a")], [])
    await clock.advance(20)
    rig.engine.pause("a")
    await clock.advance(100)
    assert rig.engine.account("a")["due"] == 2
    rig.engine.resume("a")
    await clock.advance(20)
    account = rig.engine.account("a")
    assert (account["due"], account["ok"]) == (4, 4)
    await rig.engine.stop(1)


async def test_a_reload_keeps_unchanged_checks_changes_others_and_ends_removed_ones():
    """Anchor, account and cadence survive; the new instance runs."""
    clock = VirtualClock()
    rig = Rig(clock)
    await rig.engine.start([check("same"), check("faster"), check("removed")], [], 1)
    await clock.advance(20)
    ticks = [e.scheduled_at for e in rig.results.of("same")]
    ran: list[str] = []

    async def other(context):
        ran.append(context.check)
        return await fine(context)

    left = await rig.engine.apply([check("same", run=other), check("faster", 2.0)], [], 2)
    await clock.advance(10)
    assert left == 0
    assert ran == ["same"]
    same = rig.results.of("same")
    assert [e.scheduled_at for e in same] == [*ticks, ticks[-1] + timedelta(seconds=10)]
    assert [e.generation for e in same] == [1, 1, 2]
    assert rig.engine.account("same")["ok"] == 3
    assert len([e for e in rig.results.of("faster") if e.generation == 2]) == 5
    assert len(rig.results.of("removed")) == 2
    assert rig.engine.account("removed")["due"] == 0
    await rig.engine.stop(1)


async def test_a_reload_waits_for_runs_of_the_old_plan_and_says_how_many_are_left():
    """So that the caller may close the old instances."""
    clock, gate = VirtualClock(), asyncio.Event()
    rig = Rig(clock)

    async def run(context):
        await gate.wait()
        return await fine(context)

    await rig.engine.start([check("a", run=run)], [], 1)
    await clock.advance(10)
    assert await rig.engine.apply([check("a")], [], 2, drain_s=0.02) == 1
    waiting = asyncio.create_task(rig.engine.apply([check("a")], [], 2))
    gate.set()
    assert await waiting == 0
    assert rig.balanced()
    await rig.engine.stop(1)


async def test_a_full_lane_skips_the_youngest_and_another_lane_goes_on():
    """Lanes cannot starve each other, and what was refused is older next time."""
    clock, gate = VirtualClock(), asyncio.Event()
    rig = Rig(clock, [LaneLimits("probes", 1, 1), LaneLimits("canaries", 1, 1)])

    async def stuck(context):
        await gate.wait()
        return await fine(context)

    slow = [check(f"s{i}", run=stuck, deadline_s=60) for i in range(4)]
    await rig.engine.start([*slow, check("route", lane="canaries")], [])
    await clock.advance(10)
    assert rig.engine.account("route")["ok"] == 1
    skipped = sum(rig.results.skipped(f"s{i}")["lane_full"] for i in range(4))
    assert skipped == 2
    assert rig.engine.vitals().running == {"probes": 1, "canaries": 0}
    assert rig.balanced()
    gate.set()
    await clock.advance(10)
    assert all(rig.engine.account(f"s{i}")["ok"] >= 1 for i in range(4))
    await rig.engine.stop(1)


async def test_stop_takes_in_nothing_more_finishes_or_cancels_and_keeps_the_marks():
    """Within the grace; what was cancelled is blind, what waited is skipped."""
    clock = VirtualClock()
    rig = Rig(clock, [LaneLimits("probes", 1, 10)])

    async def stuck(_context):
        await asyncio.Event().wait()

    checks = [check("a", run=stuck, deadline_s=60), check("b", run=stuck, deadline_s=60)]
    await rig.engine.start(checks, [])
    await clock.advance(10)
    await rig.engine.stop(0.02)
    (cancelled,) = rig.results.envelopes
    assert (cancelled.verdict, cancelled.reason) == (Verdict.BLIND, Reason.STOPPED)
    assert [gap.reason for gap in rig.results.gaps] == [Reason.STOPPED]
    assert rig.marks.kept.keys() == {"a", "b"}
    assert rig.balanced()
    await clock.advance(30)
    assert len(rig.results.envelopes) == 1


async def test_steps_pace_themselves_and_a_reload_ends_only_those_that_changed():
    """A step is called again after the seconds it asked for."""
    clock = VirtualClock()
    rig, calls = Rig(clock), []

    def step(name, wait_s):
        async def once():
            calls.append((name, round(clock.monotonic() - 1000, 1)))
            return wait_s

        return Step(name, "probes", once, 5.0)

    kept, ended = step("kept", 10.0), step("ended", 10.0)
    await rig.engine.start([], [kept, ended])
    await clock.advance(15)
    await rig.engine.apply([], [kept, step("new", 1000.0)], 2)
    await clock.advance(10)
    assert [at for name, at in calls if name == "kept"] == [0, 10, 20]
    assert [at for name, at in calls if name == "ended"] == [0, 10]
    assert [at for name, at in calls if name == "new"] == [15]
    await rig.engine.stop(1)


async def test_marks_that_cannot_be_read_are_a_self_alert_and_nothing_more():
    """The engine starts without them."""
    clock, marks = VirtualClock(), Marks()
    marks.broken = StoreBusyError("busy")
    rig = Rig(clock, marks=marks)
    await rig.engine.start([check("a")], [])
    await clock.advance(10)
    assert rig.broken[0][0] == "engine marks"
    assert rig.engine.account("a")["ok"] == 1
    marks.broken = None
    await clock.advance(10)
    assert "a" in marks.kept
    await rig.engine.stop(1)


async def test_results_that_raise_do_not_stop_runs():
    """The engine never depends on who takes the results."""
    clock = VirtualClock()
    rig = Rig(clock)

    def refuse(_envelope):
        raise RuntimeError("full")

    rig.results.publish = refuse
    await rig.engine.start([check("a")], [])
    await clock.advance(20)
    assert rig.engine.account("a")["ok"] == 2
    assert [what for what, _ in rig.broken] == ["engine results"] * 2
    await rig.engine.stop(1)
