"""Routes for the tests of the failure modes."""

from core.verdict import Verdict
from selfcheck.backends.protocol import AccessPath
from selfcheck.canary.model import LedgerRow, Outcome
from tests.fakes.route import RouteRig
from tests.fakes.store import FakeBackend, FakeStore, Faults
from tests.support.clock import VirtualClock

WARM_S = 300.0


def always(_what: object) -> bool:
    return True


async def warm(**given) -> RouteRig:
    """A route that has been running well for five minutes."""
    rig = RouteRig(**given)
    await rig.run(WARM_S)
    assert rig.cycle.status().verdict is Verdict.OK, rig.cycle.status()
    return rig


def by_paths(*paths: AccessPath, faults: Faults | None = None, row_limit: int = 5000, **given):
    """A route whose store is read by these paths."""
    clock = VirtualClock()
    store = FakeStore(clock, faults)
    backend = FakeBackend(store, paths=paths, row_limit=row_limit)
    return RouteRig(clock=clock, store=store, backend=backend, **given)


def became(rig: RouteRig, outcome: Outcome) -> int:
    """How often a canary was ever given `outcome`, whatever became of it later."""
    return sum(n for key, n in rig.ledger.transitions.items() if key[2] is outcome)


async def row_of(rig: RouteRig, canary_id: str) -> LedgerRow:
    row = await rig.ledger.find(canary_id)
    assert row is not None
    return row
