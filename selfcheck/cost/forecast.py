"""How much will flow: an hour-of-week profile with a day bootstrap, or a run rate said to be cold.

A trend is not modelled: a level that moves shows as wider days. Pure, with randomness handed in.
"""

import math
import random
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

WARM_HOURS = 7 * 24
_HISTORY = timedelta(days=28)
_HOUR_S = 3600.0
# p10 to p90 of a cold forecast: half to twice the run rate.
_COLD_SIGMA = math.log(2) / 1.2816


@dataclass(frozen=True, slots=True)
class HourRate:
    """A quantity per hour, as measured in one UTC hour over `seconds` of it."""

    hour: datetime
    per_hour: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """Draws of a total, in no order. cold: less than seven days were measured."""

    draws: tuple[float, ...]
    cold: bool


def run_rate(rates: Sequence[HourRate]) -> float | None:
    """Mean quantity per hour over what was measured; None when nothing was."""
    seconds = math.fsum(rate.seconds for rate in rates)
    if seconds <= 0:
        return None
    return math.fsum(rate.per_hour * rate.seconds for rate in rates) / seconds


def forecast(
    rates: Sequence[HourRate], start: datetime, end: datetime, rng: random.Random, draws: int
) -> Forecast | None:
    """Totals that may flow from `start` to `end`; None when nothing was ever measured."""
    newest = max((rate.hour for rate in rates), default=None)
    kept = [rate for rate in rates if newest is not None and newest - rate.hour < _HISTORY]
    mean = run_rate(kept)
    if mean is None:
        return None
    hours = max(0.0, (end - start).total_seconds() / _HOUR_S)
    if math.fsum(rate.seconds for rate in kept) < WARM_HOURS * _HOUR_S:
        spread = (math.exp(rng.gauss(0, _COLD_SIGMA)) for _ in range(draws))
        return Forecast(tuple(mean * hours * factor for factor in spread), cold=True)
    profile = _profile(kept, mean)
    days = _days(profile, start, end)
    ratios = _ratios(kept, profile)
    totals = (math.fsum(day * rng.choice(ratios) for day in days) for _ in range(draws))
    return Forecast(tuple(totals), cold=False)


def _slot(hour: datetime) -> int:
    return hour.weekday() * 24 + hour.hour


def _profile(rates: Sequence[HourRate], mean: float) -> Mapping[int, float]:
    """Median per hour of the week; an hour that was never measured takes the mean."""
    seen: dict[int, list[float]] = defaultdict(list)
    for rate in rates:
        seen[_slot(rate.hour)].append(rate.per_hour)
    return {slot: statistics.median(seen[slot]) if slot in seen else mean for slot in range(7 * 24)}


def _days(profile: Mapping[int, float], start: datetime, end: datetime) -> list[float]:
    """What the profile says for each calendar day between start and end, parts of hours kept."""
    days: dict[date, float] = defaultdict(float)
    at = start
    while at < end:
        following = min(end, at.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1))
        days[at.date()] += profile[_slot(at)] * (following - at).total_seconds() / _HOUR_S
        at = following
    return list(days.values())


def _ratios(rates: Sequence[HourRate], profile: Mapping[int, float]) -> list[float]:
    """Measured over expected, per measured day: what the bootstrap draws from."""
    measured: dict[date, float] = defaultdict(float)
    expected: dict[date, float] = defaultdict(float)
    for rate in rates:
        share = rate.seconds / _HOUR_S
        measured[rate.hour.date()] += rate.per_hour * share
        expected[rate.hour.date()] += profile[_slot(rate.hour)] * share
    return [measured[day] / expected[day] for day in expected if expected[day] > 0] or [1.0]
