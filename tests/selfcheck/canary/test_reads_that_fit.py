"""A backlog whose answer is more than one read may hold is asked for in smaller parts."""

import pytest

from core.reason import Reason
from core.verdict import Verdict
from selfcheck.backends.protocol import Reading
from selfcheck.canary.model import Outcome
from tests.fakes.route import RouteRig
from tests.fakes.store import FakeBackend, FakeStore, never
from tests.selfcheck.canary.modes.rigs import always, became
from tests.support.clock import VirtualClock

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

FITS = 60


class Bounded(FakeBackend):
    """A store whose answers about more than `FITS` canaries are too large, or too slow."""

    reason = Reason.BACKEND_PROTOCOL

    async def read(self, question, path, deadline_s):
        reading = await super().read(question, path, deadline_s)
        if len(question.canaries) <= FITS or not reading.complete:
            return reading
        return Reading.broken(self.reason, "more than fits", reading.asked, 0.0)


@pytest.mark.parametrize("reason", [Reason.BACKEND_PROTOCOL, Reason.TIMEOUT])
async def test_mode_09_a_backlog_that_does_not_fit_into_a_read_is_judged_in_parts(reason):
    """An hour without reads; what was lost within it is told as lost, and the rest is found."""
    clock = VirtualClock()
    store = FakeStore(clock)
    backend = Bounded(store)
    backend.reason = reason
    rig = RouteRig(clock=clock, store=store, backend=backend)
    await rig.run(300)
    rig.faults.read_error = Reason.READBACK
    await rig.run(1800)
    rig.faults.drop = always
    await rig.run(1800)
    rig.faults.drop, rig.faults.read_error = never, None
    await rig.run(300)
    assert await rig.count(Outcome.UNKNOWN) == 0
    assert became(rig, Outcome.LOST) == pytest.approx(180, abs=2)
    await rig.run(60)
    assert rig.cycle.status().verdict is Verdict.DEGRADED
    assert (await rig.ledger.account(rig.spec.name)).balanced
