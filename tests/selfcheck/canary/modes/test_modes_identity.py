"""Failure modes 1 to 7: identity and ledger."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from core.errors import StoreBusyError, StoreError
from core.reason import Reason
from core.verdict import Verdict
from scheduler.store import open_stores
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.ledger import Epoch
from selfcheck.canary.memory import MemoryLedger
from selfcheck.canary.model import Outcome, Sent
from tests.fakes.route import CONTEXT, SPEC, RouteRig
from tests.fakes.store import FakeStore, Faults, never
from tests.selfcheck.canary.modes.rigs import always, became, row_of, warm
from tests.support.clock import VirtualClock
from tests.support.engine_rig import Marks, Rig, check
from tests.support.stores import sqlite_folder

# Hours of virtual time: seconds, unless the machine is busy.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

IN_FLIGHT = 1000


def killed_with_canaries_in_flight(folder) -> None:
    """A service of its own process that is killed while `IN_FLIGHT` canaries are under way."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.selfcheck.canary.modes.pending_child", str(folder),
         str(IN_FLIGHT)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    told = child.stdout.readline()
    os.kill(child.pid, signal.SIGKILL)
    child.stdout.close()
    assert child.wait() == -signal.SIGKILL
    assert told == f"pending {IN_FLIGHT}\n"


async def test_mode_01_a_thousand_in_flight_are_all_judged_after_kill_9(tmp_path):
    """The ledger on disk is all that is left, and it is enough."""
    folder, clock = sqlite_folder(tmp_path), VirtualClock()
    killed_with_canaries_in_flight(folder)
    stores = open_stores(folder, clock)
    try:
        rows = await stores.ledger.unsettled(SPEC.name, 2 * IN_FLIGHT)
        assert len(rows) == IN_FLIGHT
        store = FakeStore(clock)
        lost = {row.canary.canary_id for row in rows[::100]}
        store.faults.drop = lambda canary: canary.canary_id in lost
        for row in rows:
            store.keep(row.canary)
        epoch = await stores.ledger.begin()
        rig = RouteRig(clock=clock, ledger=stores.ledger, store=store, epoch=epoch)
        await rig.run(90, inject=False)
        account = await stores.ledger.account(SPEC.name)
        assert account.balanced
        assert account.by_outcome[Outcome.OK] == IN_FLIGHT - len(lost)
        assert account.by_outcome[Outcome.LOST] == len(lost)
    finally:
        stores.close()


async def test_mode_02_a_restart_in_an_outage_changes_no_verdict_and_no_account():
    rig = await warm()
    rig.faults.drop = always
    await rig.run(200)
    before, account = rig.cycle.status(), await rig.ledger.account(SPEC.name)
    assert before.verdict is Verdict.FAIL
    after = rig.restarted()
    await after.cycle.read()
    status = after.cycle.status()
    assert (status.verdict, status.reason) == (before.verdict, before.reason)
    assert [row.canary for row in status.rows] == [row.canary for row in before.rows]
    assert after.published[0].verdict is Verdict.FAIL
    assert await after.ledger.account(SPEC.name) == account


async def test_mode_02_what_was_not_injected_while_we_were_down_shows_as_missed():
    """The engine that comes back counts the runs between the last one and its start."""
    clock, marks = VirtualClock(), Marks()
    first = Rig(clock, marks=marks)
    await first.engine.start([check(SPEC.name)], [])
    await clock.advance(100)
    await first.engine.stop(1.0)
    clock.move(300)
    second = Rig(clock, marks=marks)
    await second.engine.start([check(SPEC.name)], [])
    missed = [gap for gap in second.results.gaps if gap.missed]
    assert sum(gap.count for gap in missed) == pytest.approx(30, abs=1)
    assert second.balanced()
    await second.engine.stop(1.0)


async def test_mode_03_two_replicas_on_one_tenant_never_answer_for_each_other():
    one = await warm()
    two = RouteRig(clock=one.clock, store=one.store, epoch=Epoch("ffffffff", 1))
    await two.run(300)
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
    ids = [{row.canary.canary_id for row in await rig.rows()} for rig in (one, two)]
    assert not ids[0] & ids[1]


async def test_mode_04_a_pause_stops_injection_only():
    """Rows in flight go on being judged; history and what was learned stay."""
    rig = await warm()
    deadline_s, ok = rig.cycle.status().deadline_s, await rig.count(Outcome.OK)
    rig.faults.drop = always
    await rig.cycle.inject(CONTEXT)
    await rig.cycle.inject(CONTEXT)
    sent = len(rig.store.sent)
    await rig.run(60, inject=False)
    assert len(rig.store.sent) == sent
    assert await rig.count(Outcome.PENDING) == 0
    assert await rig.count(Outcome.LOST) == 2
    assert await rig.count(Outcome.OK) >= ok
    rig.faults.drop = never
    await rig.run(3600, inject=False)
    assert rig.cycle.status().deadline_s == deadline_s
    await rig.run(60)
    assert rig.cycle.status().verdict is Verdict.OK


class StuckLedger(MemoryLedger):
    """`open` or `receive` commits, or does not, and never answers."""

    stuck, commits = "", True

    def __init__(self, *given):
        super().__init__(*given)
        self.held = asyncio.Event()

    async def open(self, row):
        await self._hold("open", super().open(row))

    async def receive(self, key, receipt):
        await self._hold("receive", super().receive(key, receipt))

    async def _hold(self, name, work):
        if self.stuck != name:
            await work
            return
        if self.commits:
            await work
        else:
            work.close()
        self.held.set()
        await asyncio.get_running_loop().create_future()


def arrange(rig: RouteRig, point: str) -> asyncio.Event:
    """Let the next canary stop at `point` of its way; set once it has."""
    rig.ledger.stuck = {"commit": "open", "record": "receive"}.get(point, "")
    rig.ledger.commits = point == "commit"
    if point == "send":
        rig.faults.hang = always
    if point == "answer":
        rig.faults.hang_after = always
    return rig.ledger.held if point in {"commit", "record"} else rig.store.hung


@pytest.mark.parametrize(
    ("point", "stored"), [("commit", 0), ("send", 0), ("answer", 1), ("record", 1)]
)
async def test_mode_05_a_crash_at_any_of_the_four_points_is_maybe_sent_and_never_lost(
    point, stored
):
    """After the commit, before sending, after sending, and before the answer is recorded."""
    clock = VirtualClock()
    rig = await warm(
        clock=clock,
        ledger=StuckLedger("0a1b2c3d", clock),
        rules=JudgingRules(store_deadline=30.0),
    )
    reached, before = arrange(rig, point), len(rig.store.records)
    task = asyncio.create_task(rig.cycle.inject(CONTEXT))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(rig.store.records) == before + stored
    rig.faults.hang = rig.faults.hang_after = never
    rig.ledger.stuck = ""
    left = (await rig.rows())[-1]
    assert (left.outcome, left.receipt) == (Outcome.PENDING, None)
    after = rig.restarted()
    await after.run(200)
    row = await row_of(after, left.canary.canary_id)
    if stored:
        assert row.outcome is Outcome.OK
    else:
        assert (row.outcome, row.reason) == (Outcome.UNKNOWN, Reason.MAYBE_SENT)
    assert became(after, Outcome.LOST) == 0
    assert (await after.ledger.account(SPEC.name)).balanced


async def test_mode_05_what_was_sent_and_never_stored_is_not_lost_without_a_receipt():
    """Nobody can tell a crash before the send from one after it."""
    clock = VirtualClock()
    rig = await warm(clock=clock, ledger=StuckLedger("0a1b2c3d", clock))
    rig.faults.drop = rig.faults.hang_after = always
    task = asyncio.create_task(rig.cycle.inject(CONTEXT))
    await rig.store.hung.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    rig.faults.drop = rig.faults.hang_after = never
    left = (await rig.rows())[-1]
    after = rig.restarted()
    await after.run(300)
    row = await row_of(after, left.canary.canary_id)
    assert (row.outcome, row.reason) == (Outcome.UNKNOWN, Reason.MAYBE_SENT)


async def test_mode_06_while_the_endpoint_refuses_nothing_is_lost():
    rig = await warm()
    rig.faults.reject = Reason.REFUSED
    await rig.run(600)
    assert became(rig, Outcome.LOST) == 0
    assert await rig.count(Outcome.REJECTED) >= 60
    assert (rig.cycle.status().verdict, rig.cycle.status().reason) == (Verdict.FAIL, Reason.INJECT)


async def test_mode_06_a_write_that_was_skipped_is_no_canary():
    """Without a durable row nothing is sent, and nothing is counted as sent."""
    clock = VirtualClock()
    ledger = StuckLedger("0a1b2c3d", clock)
    rig = RouteRig(clock=clock, ledger=ledger, rules=JudgingRules(store_deadline=0.01))
    ledger.stuck, ledger.commits = "open", False
    with pytest.raises(StoreBusyError):
        await rig.cycle.inject(CONTEXT)
    assert rig.store.sent == []
    assert (await ledger.account(SPEC.name)).sent == 0
    ledger.stuck = ""
    await rig.cycle.inject(CONTEXT)
    assert [canary.key.seq for canary in rig.store.sent] == [1]


async def test_mode_06_a_retry_beyond_the_deadline_is_rejected_as_throttled():
    rig = await warm(faults=Faults())
    rig.faults.reject, rig.faults.tries = Reason.THROTTLED, 3
    await rig.run(20)
    row = (await rig.rows())[-1]
    assert (row.outcome, row.reason) == (Outcome.REJECTED, Reason.THROTTLED)
    assert (row.receipt.tries, row.receipt.sent) == (3, Sent.REJECTED)


async def test_mode_07_a_full_ledger_sends_nothing_and_judges_what_is_under_way():
    """No row, no canary: the run is skipped, and everything under way goes on being judged."""

    class Full(MemoryLedger):
        full = False

        async def open(self, row):
            if self.full:
                raise StoreError("ledger full")
            await super().open(row)

    clock = VirtualClock()
    rig = await warm(clock=clock, ledger=Full("0a1b2c3d", clock))
    await rig.cycle.inject(CONTEXT)
    rig.ledger.full = True
    sent = len(rig.store.sent)
    for _ in range(5):
        with pytest.raises(StoreError, match="ledger full"):
            await rig.cycle.inject(CONTEXT)
        await rig.run(10, inject=False)
    assert len(rig.store.sent) == sent
    assert await rig.count(Outcome.PENDING) == 0
    assert (await rig.ledger.account(SPEC.name)).sent == sent
    rig.ledger.full = False
    await rig.run(60)
    assert rig.cycle.status().verdict is Verdict.OK
    assert {row.canary.key.seq for row in await rig.rows()} == set(
        range(1, len(rig.store.sent) + 1)
    )
