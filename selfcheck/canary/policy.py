"""Declared sampling: how many missing canaries a sampler explains, and which are beyond it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from selfcheck.canary.make import KEEP
from selfcheck.canary.model import LedgerRow, Outcome

_BAND = 0.999
_MISSING = frozenset({Outcome.LOST, Outcome.POLICY_DROP})
_ARRIVED = frozenset({Outcome.OK, Outcome.LATE, Outcome.ALTERED})


@dataclass(frozen=True, slots=True)
class ExpectDrop:
    """A declared intended loss: the share that is dropped, or the reason why all may be."""

    ratio: float | None
    reason: str

    def __post_init__(self) -> None:
        """Raises ValueError unless the ratio lies between 0 and 1."""
        if self.ratio is not None and not 0 < self.ratio < 1:
            raise ValueError("expect_drop ratio: the share dropped must lie between 0 and 1")


def sampled(row: LedgerRow, recent: Sequence[LedgerRow], ratio: float) -> str:
    """Evidence that declared sampling explains the absence of `row`; "" when it does not.

    recent: judged rows of the route. The missing ones, `row` included, must lie within the upper
    end of the binomial 99.9 % band; what is beyond it is lost. A canary that asked to be kept
    is never explained by sampling.
    """
    if row.canary.attributes.get(KEEP) == "true":
        return ""
    others = [one for one in recent if one.canary.key != row.canary.key]
    missing = 1 + sum(one.outcome in _MISSING for one in others)
    of = missing + sum(one.outcome in _ARRIVED for one in others)
    most = band(of, ratio)
    if missing > most:
        return ""
    return f"{missing} of {of} missing, declared sampling explains up to {most}"


def band(count: int, ratio: float) -> int:
    """Most of `count` canaries that sampling away `ratio` of them drops, at 99.9 % two-sided."""
    if not 0 < ratio < 1:
        raise ValueError("ratio must lie between 0 and 1")
    limit, total = 1 - (1 - _BAND) / 2, 0.0
    for dropped in range(count + 1):
        total += math.exp(
            math.lgamma(count + 1)
            - math.lgamma(dropped + 1)
            - math.lgamma(count - dropped + 1)
            + dropped * math.log(ratio)
            + (count - dropped) * math.log1p(-ratio)
        )
        if total >= limit:
            return dropped
    return count
