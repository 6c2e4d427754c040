"""Faults of stores, endpoints and ourselves, as a whole route lives through them."""

import asyncio
import itertools
from dataclasses import replace

import pytest

from core.errors import StoreBusyError
from core.reason import Reason
from core.verdict import Verdict
from selfcheck.backends.protocol import Dedupe
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.ledger import Epoch
from selfcheck.canary.memory import MemoryLedger
from selfcheck.canary.model import Outcome
from selfcheck.canary.policy import ExpectDrop
from tests.fakes.route import CONTEXT, SPEC, RouteRig
from tests.fakes.store import BY_ID, FakeBackend, FakeStore, Faults, never
from tests.support.clock import VirtualClock

WARM_S = 300.0


def always(_canary):
    return True


async def warm(**kwargs) -> RouteRig:
    rig = RouteRig(**kwargs)
    await rig.run(WARM_S)
    assert rig.cycle.status().verdict is Verdict.OK, rig.cycle.status()
    return rig


async def test_mode_01_all_canaries_in_flight_are_judged_after_a_restart():
    rig = RouteRig(faults=Faults(delay_s=5.0), rules=JudgingRules(reads_per_minute=600))
    for _ in range(1000):
        await rig.cycle.inject(CONTEXT)
    assert await rig.count(Outcome.PENDING) == 1000
    after = rig.restarted()
    await after.run(60, inject=False)
    assert await after.count(Outcome.OK) == 1000


async def test_mode_02_a_restart_in_an_outage_changes_no_verdict_and_no_account():
    rig = await warm()
    rig.faults.drop = always
    await rig.run(200)
    before, account = rig.cycle.status(), await rig.ledger.account(SPEC.name)
    assert before.verdict is Verdict.FAIL
    after = rig.restarted()
    await after.cycle.read()
    assert (after.cycle.status().verdict, after.cycle.status().reason) == (
        before.verdict,
        before.reason,
    )
    assert after.published[0].verdict is Verdict.FAIL
    assert (await after.ledger.account(SPEC.name)).sent == account.sent


async def test_mode_03_two_replicas_on_one_tenant_never_answer_for_each_other():
    one = await warm()
    two = RouteRig(clock=one.clock, store=one.store, epoch=Epoch("ffffffff", 1))
    await two.run(WARM_S)
    one.faults.drop = lambda canary: canary.canary_id.startswith("cm-0a1b2c3d")
    for _ in range(30):
        await one.run(10)
        # Both share the clock: the second catches up with what the first has spent.
        await two.cycle.inject(CONTEXT)
        one.clock.move(2)
        await two.cycle.read()
    assert one.cycle.status().verdict is Verdict.FAIL
    assert two.cycle.status().verdict is Verdict.OK
    assert await two.count(Outcome.LOST) == 0


async def test_mode_04_a_pause_stops_injection_only():
    rig = await warm()
    await rig.cycle.inject(CONTEXT)
    sent = len(rig.store.sent)
    await rig.run(20, inject=False)
    assert len(rig.store.sent) == sent
    assert await rig.count(Outcome.PENDING) == 0


async def test_mode_05_a_crash_after_the_commit_is_maybe_sent_and_never_lost():
    rig = await warm()
    rig.faults.hang = always
    task = asyncio.create_task(rig.cycle.inject(CONTEXT))
    await rig.store.hung.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    rig.faults.hang = never
    after = rig.restarted()
    await after.run(200)
    row = next(r for r in await after.rows() if r.receipt is None)
    assert (row.outcome, row.reason) == (Outcome.UNKNOWN, Reason.MAYBE_SENT)
    assert await after.count(Outcome.LOST) == 0


async def test_mode_06_while_the_endpoint_refuses_nothing_is_lost():
    rig = await warm()
    rig.faults.reject = Reason.REFUSED
    await rig.run(600)
    assert await rig.count(Outcome.LOST) == 0
    assert await rig.count(Outcome.REJECTED) >= 60
    assert (rig.cycle.status().verdict, rig.cycle.status().reason) == (Verdict.FAIL, Reason.INJECT)


async def test_mode_08_an_hour_without_reads_is_blind_and_loses_nothing():
    rig = await warm()
    rig.faults.read_error = Reason.READBACK
    await rig.run(3600)
    status = rig.cycle.status()
    assert (status.verdict, status.reason) == (Verdict.BLIND, Reason.READBACK)
    assert await rig.count(Outcome.LOST) == 0
    assert await rig.count(Outcome.UNKNOWN) > 300
    rig.faults.read_error = None
    await rig.run(300)
    assert await rig.count(Outcome.UNKNOWN) == 0
    assert await rig.count(Outcome.LOST) == 0
    assert rig.cycle.status().deadline_s < 120


async def test_mode_09_a_backlog_beyond_the_row_limit_loses_nothing():
    clock = VirtualClock()
    store = FakeStore(clock)
    rig = RouteRig(clock=clock, store=store, backend=FakeBackend(store, row_limit=100))
    for _ in range(5000):
        await rig.cycle.inject(CONTEXT)
        clock.move(0.001)
    await rig.run(300, inject=False)
    assert await rig.count(Outcome.LOST) == 0
    assert await rig.count(Outcome.PENDING) == 0


async def test_mode_10_a_truncated_answer_only_ever_makes_unknown():
    rig = await warm()
    rig.faults.truncated = True
    await rig.run(200)
    assert await rig.count(Outcome.UNKNOWN) > 0
    assert await rig.count(Outcome.LOST) == 0
    rig.faults.truncated = False
    await rig.run(120)
    assert await rig.count(Outcome.UNKNOWN) == 0


async def test_mode_11_throttled_reads_are_waited_for_and_lose_nothing():
    rig = await warm()
    rig.faults.read_error, rig.faults.retry_after_s = Reason.THROTTLED, 90.0
    rig.store.reads.clear()
    await rig.run(400)
    times = [at for _, at in rig.store.reads]
    assert all(b - a >= 90 for a, b in itertools.pairwise(times))
    rig.faults.read_error = rig.faults.retry_after_s = None
    await rig.run(200)
    assert await rig.count(Outcome.LOST) == 0


@pytest.mark.parametrize("delay_s", [0.1, 40.0, 240.0])
async def test_mode_12_slow_visibility_is_learned_and_is_no_loss(delay_s):
    rig = RouteRig(faults=Faults(delay_s=delay_s))
    await rig.run(1200)
    lost = {key: n for key, n in rig.ledger.transitions.items() if key[2] is Outcome.LOST}
    assert await rig.count(Outcome.LOST) == 0
    rig.ledger.transitions.clear()
    await rig.run(1200)
    assert not [key for key in rig.ledger.transitions if key[2] is Outcome.LOST], lost
    assert rig.cycle.status().verdict is Verdict.OK


async def test_mode_18_search_ignores_canaries_while_by_id_works_and_the_reverse():
    rig = await warm()
    rig.faults.hidden = {"search"}
    await rig.run(600)
    paths = {path.name: path for path in rig.cycle.status().paths}
    assert rig.cycle.status().verdict is Verdict.OK
    assert paths["search"].verdict is Verdict.FAIL
    assert paths["by_id"].verdict is Verdict.OK
    rig.faults.hidden = {"by_id"}
    await rig.run(900)
    paths = {path.name: path for path in rig.cycle.status().paths}
    assert paths["by_id"].verdict is Verdict.FAIL
    assert await rig.count(Outcome.LOST) == 0
    assert rig.cycle.status().verdict is Verdict.OK


async def test_mode_20_accepted_then_dropped_is_lost_and_a_refusal_is_rejected():
    rig = await warm()
    rig.faults.drop = always
    await rig.run(120)
    assert await rig.count(Outcome.LOST) >= 2
    assert await rig.count(Outcome.REJECTED) == 0
    rig.faults.reject = Reason.PARTIAL_SUCCESS
    await rig.run(15)
    row = (await rig.rows())[-1]
    assert (row.outcome, row.reason) == (Outcome.REJECTED, Reason.PARTIAL_SUCCESS)


async def test_mode_21_refusals_change_neither_cadence_nor_history():
    rig = await warm()
    ok = await rig.count(Outcome.OK)
    rig.faults.reject = Reason.STATUS
    sent = len(rig.store.sent)
    await rig.run(300)
    assert len(rig.store.sent) - sent == pytest.approx(30, abs=1)
    assert await rig.count(Outcome.OK) >= ok


async def test_mode_22_a_retry_that_had_succeeded_is_marked_and_no_incident():
    rig = await warm()
    rig.faults.copies = rig.faults.tries = 3
    await rig.run(120)
    row = (await rig.rows())[-3]
    assert (row.outcome, row.copies) == (Outcome.OK, 3)
    assert rig.cycle.status().verdict is Verdict.OK
    rig.faults.tries = 1
    await rig.run(120)
    status = rig.cycle.status()
    assert (status.verdict, status.reason) == (Verdict.DEGRADED, Reason.DUPLICATED)
    assert status.duplicates == "seen"


async def test_mode_23_one_hanging_canary_holds_back_no_other():
    rig = await warm()
    first = len(rig.store.sent)
    rig.faults.hang = lambda canary: canary.key.seq == first + 1
    stuck = asyncio.create_task(rig.cycle.inject(CONTEXT))
    await rig.store.hung.wait()
    await rig.cycle.inject(CONTEXT)
    assert [canary.key.seq for canary in rig.store.sent[first:]] == [first + 2]
    rig.store.released.set()
    await stuck


async def test_mode_24_arrival_in_batches_is_a_delay():
    rig = RouteRig(faults=Faults(delay_s=20.0))
    await rig.run(900)
    assert await rig.count(Outcome.LOST) == 0
    assert rig.cycle.status().delay_p50_s >= 20


async def test_mode_27_a_loss_and_a_duplicate_in_one_cycle_do_not_cancel():
    rig = await warm()
    rig.faults.copies = 2
    rig.faults.drop = lambda canary: canary.key.seq % 2 == 0
    await rig.run(300)
    assert await rig.count(Outcome.LOST) >= 5
    assert [row for row in await rig.rows() if row.copies == 2]
    assert rig.cycle.status().verdict is Verdict.FAIL


async def test_mode_28_a_late_canary_is_late_once():
    rig = await warm()
    rig.faults.delay_s = 300.0
    await rig.cycle.inject(CONTEXT)
    key = (await rig.rows())[-1].canary.key
    rig.faults.delay_s = 0.2
    await rig.run(600)
    row = next(row for row in await rig.rows() if row.canary.key == key)
    assert (row.outcome, row.copies) == (Outcome.LATE, 1)
    assert rig.ledger.transitions[SPEC.name, Outcome.LOST, Outcome.LATE] == 1


async def test_mode_29_a_lost_canary_is_counted_once():
    rig = await warm()
    rig.faults.drop = always
    await rig.cycle.inject(CONTEXT)
    rig.faults.drop = never
    await rig.run(1800)
    assert rig.ledger.transitions[SPEC.name, Outcome.PENDING, Outcome.LOST] == 1
    told = [e for e in rig.published if e.facts.get("outcome") == "lost"]
    assert len(told) == 1


async def test_mode_30_late_arrivals_enter_the_learned_deadline():
    rig = await warm()
    before = rig.cycle.status().deadline_s
    rig.faults.delay_s = 100.0
    await rig.run(900)
    assert rig.cycle.status().deadline_s >= 200 > before


async def test_mode_31_nothing_verified_is_blind():
    rig = RouteRig()
    await rig.cycle.read()
    status = rig.cycle.status()
    assert (status.verdict, status.reason) == (Verdict.BLIND, Reason.STARTING)


async def test_mode_36_a_store_that_collapses_copies_never_says_none():
    clock = VirtualClock()
    store = FakeStore(clock, Faults(copies=2, tries=2))
    rig = RouteRig(clock=clock, store=store, backend=FakeBackend(store, dedupe=Dedupe.COLLAPSES))
    await rig.run(200)
    assert rig.cycle.status().duplicates == "not_observable"


async def test_mode_37_a_wall_clock_step_and_a_new_boot_lose_nothing():
    rig = await warm()
    rig.clock.step_wall(-3600)
    await rig.run(120)
    rig.clock.step_wall(86400)
    await rig.run(120)
    assert await rig.count(Outcome.LOST) == 0
    rig.faults.delay_s = 30.0
    await rig.cycle.inject(CONTEXT)
    rig.clock.reboot("boot-2")
    rig.clock.step_wall(86400)
    # Boot time begins again: what the store holds stays visible.
    rig.store.records = [replace(r, visible_s=min(r.visible_s, 40.0)) for r in rig.store.records]
    after = rig.restarted()
    await after.run(300)
    assert await after.count(Outcome.LOST) == 0
    assert await after.count(Outcome.PENDING) <= 5


async def test_mode_43_rows_sent_under_other_parameters_are_never_lost():
    rig = await warm()
    rig.faults.drop = always
    await rig.cycle.inject(CONTEXT)
    row = (await rig.rows())[-1]
    rig.faults.drop = never
    after = rig.restarted(sent_under="under-2", every_s=5.0)
    await after.run(300)
    found = await after.ledger.find(row.canary.canary_id)
    assert (found.outcome, found.reason) == (Outcome.UNKNOWN, Reason.RECONFIGURED)


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
    assert rig.cycle.status().verdict is Verdict.OK


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
