"""Which lost canaries a hop dropped on purpose: its counters prove it, or nothing does. Pure.

The other proof, a declared share, is `selfcheck.canary.policy`'s.
Rule: docs/design.md, "Loss that is meant".
"""

from collections.abc import Sequence

from selfcheck.canary.model import CanaryKey, LedgerRow, Outcome
from selfcheck.hops.balance import HopBalance


def explain_drops(
    window: Sequence[LedgerRow], balances: Sequence[HopBalance]
) -> tuple[CanaryKey, ...]:
    """Keys of the `lost` rows in `window` that are `policy_drop`, oldest first: all or none.

    window: judged rows of one route in any order, those already settled as `policy_drop` too.
    balances: rows of the route's hops for its signal over the time of `window`.
    """
    rows = sorted(window, key=lambda row: row.canary.key)
    lost = tuple(row.canary.key for row in rows if row.outcome is Outcome.LOST)
    known = sum(row.outcome is Outcome.POLICY_DROP for row in rows)
    return lost if lost and _counted(len(lost) + known, balances) else ()


def _counted(missing: int, balances: Sequence[HopBalance]) -> bool:
    """Whether counters of intent moved enough, and no hop shows a loss of another kind."""
    moved = sum(sum(row.intended_by.values()) for row in balances)
    other = any(row.dropped_by or row.lossy for row in balances)
    return moved >= missing and not other
