"""An outage on a path that reads canaries one by one must not keep the new ones from being read."""

from collections import Counter
from dataclasses import replace

import pytest

from core.reason import Reason
from core.verdict import Verdict
from selfcheck.backends.protocol import AccessPath
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.ledger import OPEN_UNKNOWN_S
from selfcheck.canary.model import Outcome
from selfcheck.canary.paths import AccessPaths, Answer
from selfcheck.canary.policy import ExpectDrop
from tests.fakes.route import SPEC, RouteRig
from tests.fakes.store import SEARCH, SIGNALS, FakeBackend, FakeStore, never
from tests.support.clock import VirtualClock

ONE_BY_ONE = AccessPath("by_id", 0.0, False, SIGNALS)


def always(_canary):
    return True


def one_by_one(spec=SPEC, paths=(ONE_BY_ONE, SEARCH), row_limit=5000, rules=None) -> RouteRig:
    clock = VirtualClock()
    store = FakeStore(clock)
    backend = FakeBackend(store, paths=paths, row_limit=row_limit)
    return RouteRig(spec, clock=clock, store=store, backend=backend, rules=rules)


async def stored_and_unknown(rig) -> int:
    stored = {record.canary.canary_id for record in rig.store.records}
    unknown = [row for row in await rig.rows() if row.outcome is Outcome.UNKNOWN]
    return sum(row.canary.canary_id in stored for row in unknown)


async def maybe_sent(rig, seconds, *, arrive) -> None:
    """An outage: every answer is missing, reads fail, and canaries arrive or they do not."""
    rig.faults.maybe, rig.faults.lost_answer = True, arrive
    rig.faults.read_error = Reason.READBACK
    await rig.run(seconds)
    rig.faults.maybe = rig.faults.lost_answer = False
    rig.faults.read_error = None


async def test_a_long_outage_is_judged_and_left_as_fast_as_where_reads_are_shared():
    rig = one_by_one()
    await rig.run(300)
    rig.faults.drop = always
    await rig.run(1200)
    assert rig.cycle.status().verdict is Verdict.FAIL
    assert rig.cycle.status().pending <= 12
    rig.faults.drop = never
    await rig.run(180)
    assert rig.cycle.status().verdict is not Verdict.FAIL
    assert rig.cycle.status().pending <= 8


async def test_a_shared_path_that_is_down_leaves_the_other_one_to_be_asked():
    rig = one_by_one()
    await rig.run(300)
    rig.faults.broken_paths = {"search"}
    await rig.run(600)
    status = rig.cycle.status()
    assert (status.verdict, status.reason) == (Verdict.DEGRADED, Reason.READBACK)
    assert await rig.count(Outcome.UNKNOWN) == 0


def test_many_are_asked_of_the_shared_path_unless_it_lags_or_is_down():
    paths = AccessPaths((ONE_BY_ONE, SEARCH), JudgingRules())
    assert paths.for_many() is SEARCH
    paths._tallies["by_id"].answers.append(Answer.OK)
    paths._tallies["search"].answers.extend([Answer.LOST] * 2)
    assert paths.for_many() is ONE_BY_ONE
    paths._tallies["by_id"].answers.extend([Answer.LOST] * 2)
    assert paths.for_many() is SEARCH
    paths._tallies["search"].answers.append(Answer.BLIND)
    assert paths.for_many() is ONE_BY_ONE


async def test_a_sampler_that_drops_nine_of_ten_as_declared_never_makes_its_route_blind():
    spec = replace(SPEC, expect_drop=ExpectDrop(0.9, ""))
    rig = one_by_one(spec)
    rig.faults.drop = lambda canary: canary.span_id[0] >= 26
    while not await rig.count(Outcome.OK):
        await rig.run(60)
    told = len(rig.published)
    await rig.run(7200)
    assert {one.verdict for one in rig.published[told:]} == {Verdict.OK}
    assert await rig.count(Outcome.LOST) == 0


async def test_a_counter_of_intent_does_not_hide_that_a_declared_sampler_drops_everything():
    spec = replace(SPEC, expect_drop=ExpectDrop(0.5, ""))
    rig = RouteRig(spec)
    rig.cycle._intended = lambda _row: "gateway: sampler dropped 1000 on purpose"
    await rig.run(600)
    rig.faults.drop = always
    await rig.run(1800)
    assert rig.cycle.status().verdict is Verdict.FAIL


@pytest.mark.parametrize("hidden", [set(), {"search"}])
async def test_what_never_arrived_does_not_keep_what_did_from_being_found(hidden):
    paths = (ONE_BY_ONE, SEARCH) if hidden else (ONE_BY_ONE,)
    rig = one_by_one(paths=paths)
    rig.faults.hidden = hidden
    await rig.run(300)
    await maybe_sent(rig, 400, arrive=False)
    await maybe_sent(rig, 300, arrive=True)
    assert await stored_and_unknown(rig) > 20
    # 70 of them at the 6 reads a minute that new canaries leave.
    await rig.run(900)
    assert await stored_and_unknown(rig) == 0
    assert await rig.count(Outcome.UNKNOWN) >= 40


async def test_what_arrived_in_an_outage_is_found_while_all_that_is_new_gets_lost():
    rig = one_by_one(paths=(ONE_BY_ONE,))
    await rig.run(300)
    await maybe_sent(rig, 300, arrive=True)
    rig.faults.drop = always
    await rig.run(1200)
    assert await stored_and_unknown(rig) == 0
    assert rig.cycle.status().verdict is Verdict.FAIL


async def test_more_missing_than_a_budget_of_shared_reads_leaves_reads_for_the_new():
    rig = one_by_one(paths=(SEARCH,), row_limit=2)
    await rig.run(300)
    await maybe_sent(rig, 600, arrive=False)
    await rig.run(600)
    assert rig.cycle.status().verdict is Verdict.OK
    assert rig.cycle.status().pending <= 8


async def test_after_a_restart_too_all_that_arrived_is_found():
    rig = one_by_one(paths=(ONE_BY_ONE,))
    await rig.run(300)
    await maybe_sent(rig, 400, arrive=False)
    await maybe_sent(rig, 300, arrive=True)
    after = rig.restarted()
    await after.run(900)
    assert await stored_and_unknown(after) == 0


async def test_a_shared_path_that_shows_canaries_again_is_used_again_whatever_is_missing():
    rig = one_by_one()
    await rig.run(300)
    await maybe_sent(rig, 600, arrive=False)
    rig.faults.hidden = {"search"}
    await rig.run(900)
    assert rig.cycle._paths.for_many() is ONE_BY_ONE
    rig.faults.hidden = set()
    await rig.run(900)
    assert rig.cycle._paths.for_many() is SEARCH


async def test_no_more_samples_wait_than_make_the_verdict_of_a_path():
    rig = one_by_one()
    await rig.run(300)
    await maybe_sent(rig, 600, arrive=False)
    rig.faults.hidden = {"search"}
    await rig.run(7200)
    waiting = Counter((one.path.name, one.again) for one in rig.cycle._paths.samples)
    assert max(waiting.values()) <= rig.rules.window


async def test_what_grew_too_old_while_the_store_was_down_ends_with_the_read_that_misses_it():
    rig = one_by_one()
    await rig.run(300)
    rig.faults.drop, rig.faults.read_error = always, Reason.READBACK
    await rig.run(120)
    rig.faults.read_error = None
    rig.clock.move(OPEN_UNKNOWN_S + 60)
    await rig.run(120, inject=False)
    left = rig.cycle._looks.keys()
    unknown = [row for row in await rig.rows() if row.outcome is Outcome.UNKNOWN]
    assert unknown
    assert not [row for row in unknown if row.canary.key in left]


async def test_after_losses_an_outage_of_reads_and_a_kill_all_that_is_stored_is_found():
    """The losses bar the shared path, and the lost ones alone are more than the budget."""
    rules = JudgingRules.model_validate(
        {
            "first_read_after": "200ms",
            "poll_first": "300ms",
            "poll_max": "1s",
            "poll_late_max": "2s",
            "reads_per_minute": 240,
            "backoff_max": "2s",
            "deadline_floor": "4s",
            "deadline_margin": "3s",
            "deadline_cold": "4s",
            "confirm_after": "500ms",
        }
    )
    rig = one_by_one(replace(SPEC, every_s=1.0), rules=rules)
    await rig.run(20)
    rig.faults.drop = always
    await rig.run(40)
    rig.faults.drop = never
    await rig.run(12)
    rig.faults.read_error = Reason.READBACK
    await rig.run(25)
    rig.faults.read_error = None
    after = rig.restarted()
    await after.cycle.load()
    assert after.cycle._paths.for_many() is ONE_BY_ONE
    assert await stored_and_unknown(after) > 10
    await after.run(60)
    assert await stored_and_unknown(after) == 0
    assert after.cycle._paths.for_many() is SEARCH
