"""Faults of stores, endpoints and ourselves, as a whole route lives through them."""

import asyncio
from dataclasses import replace

import pytest

from core.errors import StoreBusyError
from core.reason import Reason
from core.verdict import Verdict
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.memory import MemoryLedger
from selfcheck.canary.model import Outcome
from selfcheck.canary.policy import ExpectDrop
from tests.fakes.route import CONTEXT, SPEC, RouteRig
from tests.fakes.store import BY_ID, Faults, never
from tests.selfcheck.canary.modes.rigs import always, warm
from tests.support.clock import VirtualClock


async def test_fault_049_a_refusing_or_silent_endpoint_fails_the_route_and_loses_nothing():
    rig = await warm()
    rig.faults.maybe = rig.faults.silent = True
    await rig.run(300)
    status = rig.cycle.status()
    assert (status.verdict, status.reason) == (Verdict.FAIL, Reason.INJECT)
    assert await rig.count(Outcome.LOST) == 0
    assert (await rig.rows())[-10].reason is Reason.MAYBE_SENT


async def test_fault_049_an_answer_that_was_lost_does_not_lose_the_canary():
    rig = await warm()
    rig.faults.maybe = rig.faults.lost_answer = True
    await rig.run(120)
    assert await rig.count(Outcome.UNKNOWN) == 0
    status = rig.cycle.status()
    assert (status.verdict, status.reason) == (Verdict.DEGRADED, Reason.INJECT)


async def test_fault_050_an_answer_that_is_no_otlp_is_a_refusal_from_the_first_canary_on():
    rig = RouteRig(faults=Faults(reject=Reason.NOT_OTLP))
    await rig.run(25)
    status = rig.cycle.status()
    assert (status.verdict, status.reason) == (Verdict.FAIL, Reason.INJECT)
    assert (await rig.rows())[0].reason is Reason.NOT_OTLP


async def test_fault_052_accepted_and_never_stored_is_found_within_90_s():
    rig = await warm()
    rig.faults.drop = always
    began = rig.clock.monotonic()
    while await rig.count(Outcome.LOST) == 0:
        await rig.run(1)
    assert rig.clock.monotonic() - began <= 90
    row = next(r for r in await rig.rows() if r.outcome is Outcome.LOST)
    assert row.empty_path == BY_ID.name
    assert row.judged.boot_s - row.empty_read.boot_s >= 5
    await rig.run(15)
    assert rig.cycle.status().reason is Reason.SILENT_LOSS


async def test_fault_052_a_route_that_never_saw_a_canary_calls_none_lost():
    rig = RouteRig(faults=Faults(drop=always))
    await rig.run(600)
    status = rig.cycle.status()
    assert (status.verdict, status.reason) == (Verdict.BLIND, Reason.STARTING)
    assert "tenant" in status.detail
    assert await rig.count(Outcome.LOST) == 0
    rig.faults.drop = never
    await rig.run(120)
    assert await rig.count(Outcome.LOST) > 0


async def test_fault_053_missing_is_a_failure_until_the_late_arrival_closes_it():
    rig = await warm()
    rig.faults.delay_s = 150.0
    await rig.run(140)
    assert rig.cycle.status().verdict is Verdict.FAIL
    rig.faults.delay_s = 0.2
    await rig.run(400)
    assert await rig.count(Outcome.LOST) == 0
    assert await rig.count(Outcome.LATE) > 2
    assert rig.cycle.status().verdict is Verdict.OK


async def test_fault_054_altered_content_fails_the_route():
    rig = await warm()
    rig.faults.alter = always
    await rig.run(60)
    status = rig.cycle.status()
    assert (status.verdict, status.reason) == (Verdict.FAIL, Reason.ALTERED)
    assert "body: sent" in (await rig.rows())[-3].diff


@pytest.mark.parametrize("reason", [Reason.READBACK, Reason.AUTH])
async def test_fault_055_a_broken_read_side_is_blind_with_its_reason(reason):
    rig = await warm()
    rig.faults.read_error = reason
    await rig.run(240)
    assert (rig.cycle.status().verdict, rig.cycle.status().reason) == (Verdict.BLIND, reason)
    assert await rig.count(Outcome.LOST) == 0
    assert rig.published[-1].verdict is Verdict.BLIND


async def test_fault_057_declared_sampling_is_ok_and_a_loss_beside_it_is_not():
    spec = replace(SPEC, expect_drop=ExpectDrop(0.5, ""))
    rig = RouteRig(spec, faults=Faults(drop=lambda canary: canary.span_id[0] % 2 == 0))
    await rig.run(1800)
    assert await rig.count(Outcome.POLICY_DROP) > 50
    assert await rig.count(Outcome.LOST) == 0
    assert rig.cycle.status().verdict is Verdict.OK
    rig.faults.drop = always
    await rig.run(900)
    assert rig.cycle.status().verdict is Verdict.FAIL


async def test_fault_060_copies_of_a_repeated_batch_are_no_failure():
    rig = await warm()
    rig.faults.copies = 2
    await rig.run(100)
    assert rig.cycle.status().verdict is Verdict.DEGRADED


async def test_a_row_that_is_not_durable_in_time_is_not_sent():
    clock = VirtualClock()

    class StuckLedger(MemoryLedger):
        stuck = True

        async def open(self, row):
            if self.stuck:
                await asyncio.get_running_loop().create_future()
            await super().open(row)

    ledger = StuckLedger("0a1b2c3d", clock)
    rig = RouteRig(clock=clock, ledger=ledger, rules=JudgingRules(store_deadline=0.01))
    with pytest.raises(StoreBusyError):
        await rig.cycle.inject(CONTEXT)
    assert rig.store.sent == []
    ledger.stuck = False
    await rig.cycle.inject(CONTEXT)
    assert [canary.key.seq for canary in rig.store.sent] == [1]


async def test_a_row_that_became_durable_too_late_is_maybe_sent_and_its_number_not_reused():
    clock = VirtualClock()

    class LateLedger(MemoryLedger):
        late = True

        async def open(self, row):
            await super().open(row)
            if self.late:
                await asyncio.get_running_loop().create_future()

    ledger = LateLedger("0a1b2c3d", clock)
    rig = RouteRig(clock=clock, ledger=ledger, rules=JudgingRules(store_deadline=0.01))
    with pytest.raises(StoreBusyError):
        await rig.cycle.inject(CONTEXT)
    ledger.late = False
    await rig.cycle.inject(CONTEXT)
    assert [canary.key.seq for canary in rig.store.sent] == [2]
    await rig.run(200)
    assert (await rig.rows())[0].reason is Reason.MAYBE_SENT


async def test_reads_stay_within_their_budget_in_a_total_loss():
    rig = await warm()
    rig.faults.drop = always
    rig.store.reads.clear()
    await rig.run(1200)
    assert len(rig.store.reads) <= 12 * 20 + 24


async def test_a_receipt_the_ledger_could_not_take_is_written_later():
    clock = VirtualClock()

    class FailingLedger(MemoryLedger):
        failing = True

        async def receive(self, key, receipt):
            if self.failing:
                raise StoreBusyError("injected")
            await super().receive(key, receipt)

    ledger = FailingLedger("0a1b2c3d", clock)
    rig = RouteRig(clock=clock, ledger=ledger, faults=Faults(reject=Reason.REFUSED))
    await rig.cycle.inject(CONTEXT)
    assert await rig.outcomes() == [Outcome.PENDING]
    with pytest.raises(StoreBusyError):
        await rig.cycle.read()
    ledger.failing = False
    await rig.cycle.read()
    assert await rig.outcomes() == [Outcome.REJECTED]
    assert [e.facts["outcome"] for e in rig.published if "outcome" in e.facts] == ["rejected"]


async def test_a_demos_short_times_find_a_loss_within_15_s():
    short = JudgingRules(
        first_read_after=0.3,
        poll_first=0.5,
        poll_max=1.0,
        poll_late_max=3.0,
        reads_per_minute=240.0,
        deadline_floor=2.0,
        deadline_margin=2.0,
        deadline_cold=3.0,
        confirm_after=1.0,
    )
    rig = RouteRig(replace(SPEC, every_s=1.0), rules=short)
    await rig.run(10)
    assert rig.cycle.status().verdict is Verdict.OK
    rig.faults.drop = always
    began = rig.clock.monotonic()
    while rig.cycle.status().verdict is not Verdict.FAIL:
        await rig.run(0.5)
    assert rig.clock.monotonic() - began < 8
    rig.faults.drop = never
    began = rig.clock.monotonic()
    while rig.cycle.status().verdict is Verdict.FAIL:
        await rig.run(0.5)
    assert rig.clock.monotonic() - began < 15
