"""Seen canaries and their rechecks for tests."""

from dataclasses import replace

from core.clock import instant
from core.reason import Reason
from selfcheck.canary.model import CanaryKey, Outcome, Signal
from selfcheck.canary.recheck.model import Recheck, RecheckState
from selfcheck.canary.recheck.plan import Pace, ages_of, first_recheck
from tests.support.stores import pending_row

INSTANCE = "0123abcd"
AGES, PACE = ages_of(30 * 86400.0), Pace(1, 3600.0)


async def seen(ledger, clock, n, outcome=Outcome.OK, signal=Signal.LOGS, route="logs"):
    """`n` canaries of a new epoch, sent and settled."""
    epoch = (await ledger.begin()).number
    keys = [CanaryKey(route, epoch, seq) for seq in range(1, n + 1)]
    rows = [pending_row(INSTANCE, key, clock, signal) for key in keys]
    for row in rows:
        await ledger.open(row)
    clock.move(2.5)
    settled = [replace(row, outcome=outcome, reason=Reason.OK, seen=instant(clock)) for row in rows]
    await ledger.settle(settled)
    return settled


def planned(rows) -> list[Recheck]:
    """The first recheck of each."""
    return [made for row in rows if (made := first_recheck(row, AGES, PACE)) is not None]


def done(item: Recheck, state: RecheckState, clock, reason: Reason = Reason.OK) -> Recheck:
    """A recheck as settled now."""
    return replace(item, state=state, reason=reason, judged=instant(clock), tries=2, path="by id")
