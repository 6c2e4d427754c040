"""Declared loss: what a route says is meant, and how much of it sampling can explain. Pure.

Rule: docs/design.md, "Loss that is meant".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import groupby, takewhile

from selfcheck.canary.make import KEEP
from selfcheck.canary.model import CanaryKey, LedgerRow, Outcome

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
    others = (one for one in recent if one.canary.key != row.canary.key)
    known = sorted((one for one in others if one.outcome in _MISSING | _ARRIVED), key=_key)
    if ratio ** (1 + _newest_missing(row, known)) < _RUN:
        return ""
    runs = [(gone, len(list(run))) for gone, run in groupby(known, key=_is_missing)]
    # An outage that is over is no part of what the sampler drops.
    missing = 1 + sum(size for gone, size in runs if gone and ratio**size >= _RUN)
    of = missing + sum(size for gone, size in runs if not gone)
    _, most = binomial_band(of, ratio)
    if missing > most:
        return ""
    return f"{missing} of {of} missing, declared sampling explains up to {most}"


def _key(row: LedgerRow) -> CanaryKey:
    return row.canary.key


def _is_missing(row: LedgerRow) -> bool:
    return row.outcome in _MISSING


def _newest_missing(row: LedgerRow, known: Sequence[LedgerRow]) -> int:
    """How many canaries before `row` are missing in a row; what proves nothing is passed over."""
    before = [one for one in known if one.canary.key < row.canary.key]
    return sum(1 for _ in takewhile(_is_missing, reversed(before)))


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
