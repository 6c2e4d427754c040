"""Verdicts, and the only two functions that may fold or age them."""

import math
from collections.abc import Iterable
from enum import StrEnum


class Verdict(StrEnum):
    """What is known about a check. `blind` means "could not be checked": neither good nor bad."""

    OK = "ok"
    DEGRADED = "degraded"
    FAIL = "fail"
    BLIND = "blind"


# Known bad outranks unknown, unknown outranks a known weakness.
_RANK = {Verdict.OK: 0, Verdict.DEGRADED: 1, Verdict.BLIND: 2, Verdict.FAIL: 3}


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of `verdicts`; of nothing it is `blind`, because nothing was checked."""
    return max(verdicts, key=_RANK.__getitem__, default=Verdict.BLIND)


def rank(verdict: Verdict) -> int:
    """Sort key: 0 for `ok` up to 3 for `fail`."""
    return _RANK[verdict]


def freshness_limit_s(every_s: float, deadline_s: float, confirmation_s: float = 0.0) -> float:
    """Seconds after which a verdict is history: 3 x interval + deadline + confirmation."""
    return 3 * every_s + deadline_s + confirmation_s


def fresh(verdict: Verdict, age_s: float, limit_s: float) -> Verdict:
    """`verdict` while it is at most `limit_s` old, else `blind`. An unknown (NaN) age is old."""
    if math.isnan(age_s) or math.isnan(limit_s) or age_s > limit_s:
        return Verdict.BLIND
    return verdict
