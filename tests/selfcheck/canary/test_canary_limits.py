"""Deadlines, budgets, backoff, options and the account."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.clock import instant
from core.reason import Reason
from core.verdict import Verdict
from selfcheck.canary.accounting import account_of, violation
from selfcheck.canary.backoff import ReadBackoff, StoreBackoff
from selfcheck.canary.budget import ReadBudget
from selfcheck.canary.deadline import deadline_s, percentile, target_s
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.model import Outcome
from selfcheck.canary.paths import Answer, PathTally
from selfcheck.canary.verify import verify_route
from tests.fakes.route import RouteRig
from tests.fakes.store import Faults
from tests.support.clock import VirtualClock

RULES = JudgingRules()


@pytest.mark.parametrize(
    ("delays", "floor_s", "expected"),
    [
        ([], 0.0, 60),
        ([], 45.0, 75),
        ([900.0] * 19, 0.0, 60),
        ([1.0] * 20, 0.0, 32),
        ([1.0] * 19 + [40.0], 0.0, 110),
        ([500.0] * 20, 0.0, 900),
        ([0.1] * 1000, 0.0, 30.1),
        ([0.1] * 998 + [50.0, 70.0], 0.0, 80),
    ],
)
def test_deadlines_are_learned_from_the_routes_own_delays(delays, floor_s, expected):
    assert deadline_s(delays, floor_s, RULES) == pytest.approx(expected)


@given(st.lists(st.floats(0, 1e5), max_size=60), st.floats(0, 600))
def test_a_deadline_lies_between_floor_and_ceiling(delays, floor_s):
    assert max(30, floor_s) <= deadline_s(delays, floor_s, RULES) <= 900


def test_a_target_needs_sightings():
    assert target_s([1.0] * 19, 0.0, RULES) is None
    assert target_s([4.0] * 20, 0.0, RULES) == 8
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 0.5)


@given(st.lists(st.floats(0, 30), min_size=1, max_size=200))
def test_a_budget_never_lets_through_more_than_it_says(gaps):
    budget, now, taken = ReadBudget(RULES, 0.0), 0.0, 0
    for gap in gaps:
        now += gap
        taken += budget.take(now)
    assert taken <= 24 + now / 5 + 1e-3


@given(st.lists(st.tuples(st.floats(0, 300), st.booleans()), min_size=1, max_size=200))
def test_what_an_outage_saved_is_made_up_for_and_never_more(steps):
    """Outage or not: over all the time together no more is read than the budget says."""
    budget, now, taken = ReadBudget(RULES, 0.0), 0.0, 0
    for gap, barred in steps:
        now += gap
        if barred:
            budget.barred(now)
        else:
            taken += budget.take(now)
    assert taken <= 24 + now / 5 + 1e-3


def test_a_backlog_is_read_faster_only_until_it_is_made_up_for():
    budget, now = ReadBudget(RULES, 0.0), 600.0
    budget.barred(now)
    taken_s = []
    while len(taken_s) < 200:
        now += budget.wait_s(now)
        assert budget.take(now)
        taken_s.append(now - 600)
    # 24 at once, then 2 a second for the 120 that ten minutes have saved, then one in 5 s again.
    assert taken_s[23] == 0
    assert taken_s[24 + 120] == pytest.approx(121 / 2, rel=0.15)
    assert taken_s[-1] - taken_s[-2] == pytest.approx(5)


def test_after_the_announced_wait_there_is_a_read():
    budget = ReadBudget(RULES, 0.0)
    while budget.take(0.0):
        pass
    assert budget.take(budget.wait_s(0.0))


def test_errors_double_the_wait_and_retry_after_wins_up_to_its_cap():
    backoff, now = ReadBackoff(RULES, random.Random(1)), 0.0
    waits = []
    for _ in range(10):
        backoff.failed(now, None, Reason.READBACK)
        waits.append(backoff.wait_s(now))
        now += waits[-1]
    # A second is for those that have not failed.
    assert waits[0] <= 2
    assert 49 <= waits[-1] <= 61
    backoff.failed(now, 5000.0, Reason.THROTTLED)
    assert 600 <= backoff.wait_s(now) <= 601
    backoff.succeeded(now)
    assert backoff.wait_s(now) == 0


def test_what_one_reader_cannot_read_keeps_no_other_from_it_while_the_store_answers():
    store, rng = StoreBackoff(RULES, random.Random(1)), random.Random(2)
    broken, healthy = ReadBackoff(RULES, rng, store), ReadBackoff(RULES, rng, store)
    healthy.succeeded(0.0)
    for at_s in (0.0, 100.0, 200.0):
        broken.failed(at_s, None, Reason.READBACK)
        assert broken.wait_s(at_s) > 0
        assert healthy.wait_s(at_s) == 0
    # Nobody was answered for long: the store is down for all, and asked for by one at a time.
    broken.failed(400.0, None, Reason.AUTH)
    assert healthy.wait_s(400.0) > 0
    assert healthy.reason is Reason.AUTH
    healthy.succeeded(401.0)
    assert healthy.wait_s(401.0) == 0


def test_a_store_that_asks_for_a_wait_is_not_asked_by_anybody():
    store, rng = StoreBackoff(RULES, random.Random(1)), random.Random(2)
    one, other = ReadBackoff(RULES, rng, store), ReadBackoff(RULES, rng, store)
    other.succeeded(0.0)
    one.failed(1.0, 20.0, Reason.THROTTLED)
    assert (one.wait_s(1.0), other.wait_s(1.0)) == (20.0, 20.0)
    assert other.reason is Reason.THROTTLED


def test_each_path_has_a_verdict_of_its_own():
    tally = PathTally.empty("search", RULES, evidence=True)
    assert tally.status().verdict is Verdict.BLIND
    now = instant(VirtualClock())
    tally.add(Answer.OK, now, 1.5)
    assert (tally.status().verdict, tally.status().since) == (Verdict.OK, now.utc)
    assert tally.status().delay_p99_s == 1.5
    tally.add(Answer.LOST, now)
    tally.add(Answer.LOST, now)
    assert tally.status().verdict is Verdict.FAIL


def test_contradicting_limits_are_refused():
    with pytest.raises(ValidationError, match="deadline_floor"):
        JudgingRules(deadline_floor=1000.0)
    with pytest.raises(ValidationError, match="window"):
        JudgingRules(window=3, losses_to_fail=4)


def test_a_ledger_that_lost_a_row_is_told_in_words():
    account = account_of("r", 1, [])
    assert "sent 1, accounted for 0" in violation(account)
    assert violation(replace(account, sent=0)) == ""


async def verified(faults: Faults, timeout_s: float = 300.0):
    rig = RouteRig(faults=faults, clock=SteppingClock())
    return await verify_route(rig.cycle, rig.clock, 3, timeout_s)


class SteppingClock(VirtualClock):
    """Sleeping moves the time: one task at a time needs nobody to wake it."""

    async def sleep(self, seconds: float) -> None:
        self.move(seconds)


async def test_verify_runs_to_judgement():
    found = await verified(Faults())
    assert found.outcomes == (Outcome.OK,) * 3
    assert (found.imbalance, found.status.pending) == ("", 0)


async def test_verify_of_a_store_that_keeps_nothing_verifies_nothing():
    found = await verified(Faults(drop=lambda _canary: True))
    assert found.outcomes == (Outcome.UNKNOWN,) * 3
    assert found.status.verdict is Verdict.BLIND


async def test_verify_leaves_pending_what_time_did_not_allow():
    found = await verified(Faults(drop=lambda _canary: True), timeout_s=30.0)
    assert found.outcomes == (Outcome.PENDING,) * 3


async def test_verify_of_a_refusing_endpoint_is_rejected():
    found = await verified(Faults(reject=Reason.REFUSED))
    assert found.outcomes == (Outcome.REJECTED,) * 3
