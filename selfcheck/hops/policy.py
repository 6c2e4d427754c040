"""Which lost canaries were dropped on purpose: positive proof or nothing. Pure.

Two proofs are known here: a counter of intent that moved by at least as much while nothing else
was lost at that hop, and a declared ratio whose binomial band holds what is missing. A declared
ratio says that the sampler does not honour `canary.keep`.
"""

from collections.abc import Sequence

from selfcheck.canary.model import CanaryKey, LedgerRow, Outcome
from selfcheck.canary.policy import ExpectDrop, binomial_band
from selfcheck.hops.balance import HopBalance


def explain_drops(
    window: Sequence[LedgerRow],
    expected: ExpectDrop | None,
    balances: Sequence[HopBalance],
) -> tuple[CanaryKey, ...]:
    """Keys of the `lost` rows in `window` that are `policy_drop`, oldest first.

    window: judged rows of one route in any order, those already settled as `policy_drop` too.
        A ratio is told from a loss by about a hundred rows; with six it rarely is.
    balances: rows of the route's hops for its signal over the time of `window`.
    With a ratio, what is missing beyond the band stays `lost`: the newest rows.
    """
    rows = sorted(window, key=lambda row: row.canary.key)
    lost = tuple(row.canary.key for row in rows if row.outcome is Outcome.LOST)
    known = sum(row.outcome is Outcome.POLICY_DROP for row in rows)
    if not lost:
        return ()
    if expected is not None and expected.ratio is not None:
        _, most = binomial_band(_judged(rows), expected.ratio)
        return lost[: max(0, most - known)]
    return lost if _counted(len(lost) + known, balances) else ()


def _judged(rows: Sequence[LedgerRow]) -> int:
    counted = {Outcome.OK, Outcome.LATE, Outcome.ALTERED, Outcome.LOST, Outcome.POLICY_DROP}
    return sum(row.outcome in counted for row in rows)


def _counted(missing: int, balances: Sequence[HopBalance]) -> bool:
    """Whether counters of intent moved enough, and no hop shows a loss of another kind."""
    moved = sum(sum(row.intended_by.values()) for row in balances)
    other = any(row.dropped_by or row.lossy for row in balances)
    return moved >= missing and not other
