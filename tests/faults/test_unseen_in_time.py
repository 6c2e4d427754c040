"""A canary that nobody looked for in time is late, but that is no sign of a slow route."""

from core.reason import Reason
from core.verdict import Verdict
from selfcheck.canary.model import Outcome
from tests.fakes.route import RouteRig


async def test_a_read_outage_ends_without_a_degraded_route():
    rig = RouteRig()
    await rig.run(300)
    rig.faults.read_error = Reason.READBACK
    await rig.run(400)
    before = len(rig.published)
    rig.faults.read_error = None
    await rig.run(120)
    assert await rig.count(Outcome.LATE) > 30
    assert {one.verdict for one in rig.published[before:]} <= {Verdict.BLIND, Verdict.OK}
    assert rig.cycle.status().verdict is Verdict.OK


async def test_a_canary_that_a_read_did_not_show_in_time_degrades_the_route():
    rig = RouteRig()
    await rig.run(300)
    rig.faults.delay_s = 35.0
    await rig.run(10)
    rig.faults.delay_s = 0.2
    await rig.run(60)
    (late,) = [row for row in await rig.rows() if row.outcome is Outcome.LATE]
    assert late.reason is Reason.LATE
    assert Verdict.DEGRADED in {one.verdict for one in rig.published}
