"""Declared loss: what a route says is meant, and how much of it sampling can explain. Pure.

Rule: docs/design.md, "Loss that is meant".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import takewhile

from selfcheck.canary.make import KEEP
from selfcheck.canary.model import LedgerRow, Outcome

# Both tails together hold 0.1 %.
_TAIL = Fraction(1, 2000)
# A working sampler drops so many in a row once in a million canaries: over the hundreds of rows
# that the band is about, a sampler that drops everything would be explained for most of an hour.
_RUN = 1e-6
# With this share a total loss is told after some 760 canaries; with a larger one it would take more
# than are kept in mind.
MOST_DROPPED = 0.99
_MISSING = frozenset({Outcome.LOST, Outcome.POLICY_DROP})
_ARRIVED = frozenset({Outcome.OK, Outcome.LATE, Outcome.ALTERED})


@dataclass(frozen=True, slots=True)
class ExpectDrop:
    """What a route declares as `expect_drop`: one of the two, never both.

    ratio: share of its canaries that is *dropped*: 0.9 for a sampler that keeps 10 %.
    reason: a drop whose share is not known; counters must then prove it.
    """

    ratio: float | None
    reason: str

    def __post_init__(self) -> None:
        """Raise ValueError for a ratio out of bounds, and unless just one thing is declared."""
        if (self.ratio is None) == (not self.reason):
            raise ValueError("expected either ratio: or reason:")
        if self.ratio is not None and not 0 < self.ratio <= MOST_DROPPED:
            raise ValueError(
                f"the share that is dropped must lie between 0 and {MOST_DROPPED}: with a larger"
                " one a total loss would look like the sampler; let it keep the canaries instead"
            )


def sampled(row: LedgerRow, recent: Sequence[LedgerRow], ratio: float) -> str:
    """Evidence that declared sampling explains the absence of `row`; "" when it does not.

    recent: judged rows of the route. The missing ones, `row` included, must lie within the upper
    end of the binomial 99.9 % band; what is beyond it is lost, and so is the end of a run of
    nothing but missing ones that is longer than chance makes it. A canary that asked to be kept
    is never explained by sampling.
    """
    if row.canary.attributes.get(KEEP) == "true":
        return ""
    others = [one for one in recent if one.canary.key != row.canary.key]
    if ratio ** _run(row, others) < _RUN:
        return ""
    missing = 1 + sum(one.outcome in _MISSING for one in others)
    of = missing + sum(one.outcome in _ARRIVED for one in others)
    _, most = binomial_band(of, ratio)
    if missing > most:
        return ""
    return f"{missing} of {of} missing, declared sampling explains up to {most}"


def _run(row: LedgerRow, others: Sequence[LedgerRow]) -> int:
    """How many canaries up to `row` are missing in a row; what proves nothing is passed over."""
    told = (one for one in others if one.canary.key < row.canary.key)
    known = [one for one in told if one.outcome in _MISSING | _ARRIVED]
    known.sort(key=lambda one: one.canary.key, reverse=True)
    return 1 + sum(1 for _ in takewhile(lambda one: one.outcome in _MISSING, known))


@lru_cache(maxsize=256)
def binomial_band(of: int, ratio: float) -> tuple[int, int]:
    """Least and most drops of `of` that a working sampler explains, each tail at most 1 in 2,000.

    ratio: the chance that one canary is dropped, in (0, 1), taken as the decimal it is written
    as. Exact: integers only.
    """
    share = Fraction(repr(ratio))
    up, down = share.numerator, share.denominator - share.numerator
    weights = [down**of]
    for drops in range(of):
        # Each weight from the one before: powers of large numbers would stall the loop.
        weights.append(weights[-1] * up * (of - drops) // (down * (drops + 1)))
    limit = _TAIL * share.denominator**of
    return _cut(weights, limit), of - _cut(weights[::-1], limit)


def _cut(weights: Sequence[int], limit: Fraction) -> int:
    """How many leading weights fit into the tail."""
    total = 0
    for index, weight in enumerate(weights):
        total += weight
        if total > limit:
            return index
    return len(weights) - 1
