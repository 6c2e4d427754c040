"""An outage on a path that reads canaries one by one must not keep the new ones from being read."""

from dataclasses import replace

from core.verdict import Verdict
from selfcheck.backends.protocol import AccessPath
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.model import Outcome
from selfcheck.canary.paths import AccessPaths, Answer
from selfcheck.canary.policy import ExpectDrop
from tests.fakes.route import SPEC, RouteRig
from tests.fakes.store import SEARCH, SIGNALS, FakeBackend, FakeStore, never
from tests.support.clock import VirtualClock

ONE_BY_ONE = AccessPath("by_id", 0.0, False, SIGNALS)


def always(_canary):
    return True


def one_by_one(spec=SPEC) -> RouteRig:
    clock = VirtualClock()
    store = FakeStore(clock)
    backend = FakeBackend(store, paths=(ONE_BY_ONE, SEARCH))
    return RouteRig(spec, clock=clock, store=store, backend=backend)


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
    assert rig.cycle.status().verdict is Verdict.OK
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
