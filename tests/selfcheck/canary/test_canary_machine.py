"""Judge, ledger and cycle together: whatever happens, everything sent is accounted for.

The machine knows the truth (what the store really holds) and holds every row against it.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from core.reason import Reason
from core.verdict import Verdict
from selfcheck.canary.accounting import violation
from selfcheck.canary.judge import ALLOWED, duplicated
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.model import LedgerRow, Outcome, Sent
from selfcheck.canary.window import is_loss
from tests.fakes.route import CONTEXT, SPEC, RouteRig
from tests.fakes.store import BY_ID, ONE_BY_ONE, SEARCH, FakeBackend, FakeStore, Faults, never
from tests.support.clock import VirtualClock

pytestmark = pytest.mark.timeout(120)

ARRIVED = frozenset({Outcome.OK, Outcome.LATE, Outcome.ALTERED})
FATES: dict[str, dict[str, Any]] = {
    "stored": {},
    "late": {"delay_s": 70.0},
    "very_late": {"delay_s": 400.0},
    "dropped": {"drop": lambda _canary: True},
    "altered": {"alter": lambda _canary: True},
    "doubled": {"copies": 2},
    "retried": {"copies": 3, "tries": 3},
    "refused": {"reject": Reason.REFUSED},
    "answer_lost": {"maybe": True, "lost_answer": True},
    "never_answered": {"maybe": True, "silent": True},
}


class CanaryMachine(RuleBasedStateMachine):
    """One route over its life, its restarts and its troubles."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.boots = 1
        self.fates: dict[str, str] = {}
        self.blinded = False

    def teardown(self) -> None:
        self.loop.close()

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    @initialize(
        batched=st.booleans(), limit=st.sampled_from([3, 5000]), budget=st.sampled_from([2.0, 12.0])
    )
    def begin(self, batched: bool, limit: int, budget: float) -> None:
        clock = VirtualClock()
        store = FakeStore(clock)
        backend = FakeBackend(
            store, paths=(BY_ID if batched else ONE_BY_ONE, SEARCH), row_limit=limit
        )
        rules = JudgingRules(reads_per_minute=budget)
        self.rig = RouteRig(clock=clock, store=store, backend=backend, rules=rules)

    @rule(fate=st.sampled_from(sorted(FATES)))
    def send(self, fate: str) -> None:
        self.plain(**FATES[fate])
        self.do(self.rig.cycle.inject(CONTEXT))
        self.fates[self.rig.store.sent[-1].canary_id] = fate
        self.plain()

    @rule(stored=st.booleans())
    def crash_while_sending(self, stored: bool) -> None:
        """Killed after the commit, before or after the canary was stored; then started again."""
        name = "hang_after" if stored else "hang"
        self.plain(**{name: lambda _canary: True})
        self.rig.store.hung.clear()

        async def killed() -> None:
            task = asyncio.create_task(self.rig.cycle.inject(CONTEXT))
            await self.rig.store.hung.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self.do(killed())
        newest = self.rows()[-1]
        self.fates[newest.canary.canary_id] = "stored" if stored else "dropped"
        self.plain()
        self.restart()

    def plain(self, **changes: Any) -> None:
        """Only what the store does to reads stays as it is."""
        now = self.rig.store.faults
        kept = {
            name: getattr(now, name)
            for name in ("read_error", "hidden", "truncated", "shuffled", "cut", "retry_after")
        }
        self.rig.store.faults = Faults(**{**kept, **changes})

    @rule()
    def restart(self) -> None:
        self.rig = self.rig.restarted()

    @rule(mark=st.sampled_from(["under-1", "under-2"]))
    def change_the_config(self, mark: str) -> None:
        self.blinded = True
        self.rig = self.rig.restarted(sent_under=mark)

    @rule(reason=st.sampled_from([None, Reason.READBACK, Reason.AUTH, Reason.THROTTLED]))
    def break_or_mend_reads(self, reason: Reason | None) -> None:
        self.rig.faults.read_error = reason
        self.rig.faults.retry_after = "30" if reason is Reason.THROTTLED else None

    @rule(truncated=st.booleans(), shuffled=st.booleans(), cut=st.booleans())
    def answer_oddly(self, truncated: bool, shuffled: bool, cut: bool) -> None:
        """Cut short, in another order, or broken off every other time."""
        faults = self.rig.faults
        faults.truncated, faults.shuffled = truncated, shuffled
        faults.cut = (lambda number: number % 2 == 0) if cut else never

    @rule(paths=st.sampled_from([set(), {"by_id"}, {"search"}, {"by_id", "search"}]))
    def hide(self, paths: set[str]) -> None:
        self.blinded |= len(paths) == 2
        self.rig.faults.hidden = paths

    @rule(seconds=st.sampled_from([0.5, 5.0, 31.0, 65.0, 300.0]))
    def wait(self, seconds: float) -> None:
        self.do(self.rig.run(seconds, inject=False))

    @rule()
    def run_in_health(self) -> None:
        """Mended, fed and read for a while: what can be known then is known."""
        self.plain(hidden=set(), read_error=None, truncated=False, cut=never, retry_after=None)
        self.do(self.rig.run(240))
        if self.rig.rules.reads_per_minute >= 12:
            assert len([r for r in self.rows() if r.outcome is Outcome.PENDING]) <= 12

    @rule(seconds=st.sampled_from([-3600.0, -1.0, 1.0, 86400.0]))
    def step_the_wall_clock(self, seconds: float) -> None:
        self.rig.clock.step_wall(seconds)

    def rows(self) -> list[LedgerRow]:
        return self.do(self.rig.rows())

    @invariant()
    def everything_sent_is_accounted_for(self) -> None:
        account = self.do(self.rig.ledger.account(SPEC.name))
        assert violation(account) == ""
        assert account.sent == len(self.rows())
        told = self.rig.cycle.status().account
        assert told is None or told == account

    @invariant()
    def only_allowed_transitions_happen(self) -> None:
        for _, was, became in self.rig.ledger.transitions:
            assert became in ALLOWED[was], f"{was} became {became}"

    @invariant()
    def nothing_is_ok_that_the_store_does_not_hold(self) -> None:
        held: dict[str, list[Any]] = {}
        for record in self.rig.store.records:
            held.setdefault(record.canary.canary_id, []).append(record.canary)
        for row in self.rows():
            copies = held.get(row.canary.canary_id, [])
            if row.outcome in ARRIVED:
                assert copies, f"{row.outcome}, never stored"
                assert row.seen is not None
                assert row.copies == len(copies)
            if row.outcome is Outcome.OK:
                assert {one.body for one in copies} == {row.canary.body}

    @invariant()
    def lost_needs_two_complete_reads_past_the_deadline_by_two_paths(self) -> None:
        for row in self.rows():
            if row.outcome is Outcome.LOST:
                assert row.receipt is not None
                assert row.receipt.sent is Sent.ACCEPTED
                past = [
                    look
                    for look in row.looks
                    if look.complete and not look.seen and look.at_s >= row.deadline_s
                ]
                assert {look.path for look in past} == {"by_id", "search"}
                apart_s = past[-1].at_s - past[0].at_s
                assert apart_s >= self.rig.rules.confirm_after - 0.001

    @invariant()
    def what_arrived_in_time_is_never_lost_while_one_path_shows_it(self) -> None:
        if self.blinded:
            return
        for row in self.rows():
            fate = self.fates.get(row.canary.canary_id, "stored")
            if row.outcome is Outcome.LOST:
                assert fate in {"dropped", "late", "very_late"}, fate

    @invariant()
    def a_copy_never_cancels_a_loss(self) -> None:
        status = self.rig.cycle.status()
        if sum(is_loss(row) for row in status.rows) >= self.rig.rules.losses_to_fail:
            assert status.verdict is Verdict.FAIL or not self.rig.cycle._loaded
        if status.verdict is Verdict.OK:
            assert not [row for row in status.rows if duplicated(row, 1)]

    @invariant()
    def reads_stay_within_the_budget(self) -> None:
        minute = [at for _, at in self.rig.store.reads if at > self.rig.clock.monotonic() - 60]
        per_restart = 24 * (1 + self.rig.epoch.number)
        assert len(minute) <= self.rig.rules.reads_per_minute + per_restart


TestCanaryMachine = CanaryMachine.TestCase
TestCanaryMachine.settings = settings(
    max_examples=30,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def test_one_lost_and_one_doubled_in_a_shuffled_answer_are_both_told() -> None:
    """The order in which a store answers decides nothing."""
    for shuffled in (False, True):
        machine = CanaryMachine()
        machine.begin(batched=True, limit=5000, budget=12.0)
        machine.run_in_health()
        machine.answer_oddly(truncated=False, shuffled=shuffled, cut=False)
        for fate in ("doubled", "dropped", "stored"):
            machine.send(fate)
        machine.wait(65.0)
        outcomes = [row.outcome for row in machine.rows()[-3:]]
        assert outcomes == [Outcome.OK, Outcome.LOST, Outcome.OK]
        assert machine.rows()[-3].copies == 2
        machine.teardown()
