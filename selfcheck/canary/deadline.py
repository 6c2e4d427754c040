"""How long a canary may take: learned from the visibility delays of its own route."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from selfcheck.canary.judging import JudgingRules


def deadline_s(delays_s: Sequence[float], path_floor_s: float, rules: JudgingRules) -> float:
    """Seconds after sending before a canary of this route may be called lost.

    delays_s: visibility delays of one route, any order, late ones included, lost ones left out.
    path_floor_s: the delay that a healthy store imposes; no deadline lies below it.
    Cold (few sightings): path floor + margin, at least the cold deadline. Then twice the largest
    delay + margin. From many sightings on: the 99.9th percentile + margin.
    Rule: docs/design.md, "How a canary lives".
    """
    if len(delays_s) < rules.few_sightings:
        learned = max(path_floor_s + rules.deadline_margin, rules.deadline_cold)
    elif len(delays_s) < rules.many_sightings:
        learned = 2 * max(delays_s) + rules.deadline_margin
    else:
        learned = percentile(delays_s, 0.999) + rules.deadline_margin
    floor = max(rules.deadline_floor, path_floor_s)
    return max(floor, min(learned, rules.deadline_ceiling))


def target_s(delays_s: Sequence[float], path_floor_s: float, rules: JudgingRules) -> float | None:
    """Delay above which a canary counts as slow: 2 x p99; None while too little is learned."""
    if len(delays_s) < rules.few_sightings:
        return None
    return max(2 * percentile(delays_s, 0.99), path_floor_s + rules.target_margin)


def steady_s(delays_s: Sequence[float], path_floor_s: float, rules: JudgingRules) -> float | None:
    """The deadline of many sightings, told from however few; None below `few_sightings`.

    Unlike the deadline it does not grow when fewer are known, as after a restart, nor by one
    canary alone: the longest delay is left out.
    """
    if len(delays_s) < max(2, rules.few_sightings):
        return None
    known = sorted(delays_s)
    rank = min(math.ceil(0.999 * len(known)), len(known) - 1)
    floor = max(rules.deadline_floor, path_floor_s)
    return max(floor, min(known[rank - 1] + rules.deadline_margin, rules.deadline_ceiling))


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest-rank percentile: always one of `values`. Raises ValueError when there are none."""
    if not values:
        raise ValueError("no percentile of nothing")
    rank = math.ceil(share * len(values))
    return sorted(values)[max(0, rank - 1)]


@dataclass(frozen=True, slots=True)
class Learned:
    """What the delays of one route come to, in seconds; None where nothing is known yet."""

    p50_s: float | None
    p99_s: float | None
    deadline_s: float
    target_s: float | None
    steady_s: float | None

    @classmethod
    def of(cls, delays_s: Sequence[float], path_floor_s: float, rules: JudgingRules) -> "Learned":
        """All figures of one set of delays: they are asked for more often than they change."""
        known = sorted(delays_s)
        return cls(
            percentile(known, 0.5) if known else None,
            percentile(known, 0.99) if known else None,
            deadline_s(known, path_floor_s, rules),
            target_s(known, path_floor_s, rules),
            steady_s(known, path_floor_s, rules),
        )
