"""A route's verdict ages by itself, whether or not a read gets through."""

from dataclasses import replace

from core.errors import StoreError
from core.verdict import Verdict
from tests.fakes.route import CONTEXT, RouteRig


async def test_a_route_whose_ledger_fails_is_blind_in_time_and_says_so_once():
    rig = RouteRig()
    await rig.run(120)
    assert rig.cycle.status().verdict is Verdict.OK

    async def full(*_):
        raise StoreError("disk is full")

    rig.ledger.settle = rig.ledger.account = full
    rig.published.clear()
    rig.clock.move(600)
    assert rig.cycle.status().verdict is Verdict.BLIND
    rig.cycle.age()
    rig.cycle.age()
    assert [one.verdict for one in rig.published] == [Verdict.BLIND]


async def test_a_route_that_is_not_loaded_has_nothing_to_tell():
    rig = RouteRig()
    rig.cycle.age()
    assert rig.published == []
    assert rig.cycle.status().verdict is Verdict.BLIND


async def test_a_canary_that_left_late_says_by_how_much():
    rig = RouteRig()
    await rig.run(60)
    rig.published.clear()
    late = replace(CONTEXT, late_s=2.5, queue_s=0.5)
    await rig.cycle.inject(late)
    await rig.run(15)
    told = {one.facts["canary"]: one.trust for one in rig.published if "canary" in one.facts}
    (mine,) = [trust for trust in told.values() if trust.late_s]
    assert (mine.late_s, mine.queue_s) == (2.5, 0.5)
    assert len(told) > 1
