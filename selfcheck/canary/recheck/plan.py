"""Which canaries are looked for again, and when. Pure; a canary's own number decides.

Source: docs/design.md, "How a canary lives": after 1 h, 24 h, 7 d and a day before the store's
retention ends. No random window: the same canary is chosen after every restart.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from core.clock import Instant
from core.reason import Reason
from selfcheck.canary.judge import age_bounds_s
from selfcheck.canary.model import LedgerRow, Outcome
from selfcheck.canary.recheck.model import Recheck, RecheckState
from selfcheck.canary.turns import is_picked

HOUR_S, DAY_S = 3600.0, 86400.0
# At least one canary an hour is chosen, however slow the route.
LONGEST_GAP_S = HOUR_S
# Of one route about so many wait for an age at any time: the longer the age, the fewer are chosen.
WAITING_ROWS = 150
SEEN = frozenset({Outcome.OK, Outcome.LATE})


@dataclass(frozen=True, slots=True)
class Age:
    """An age at which canaries are looked for again.

    overdue_s: how long after its time a recheck may still be made; then it is `unknown`.
    """

    name: str
    after_s: float
    overdue_s: float


RETENTION = "retention"
_FIXED = (
    Age("1h", HOUR_S, HOUR_S),
    Age("24h", DAY_S, DAY_S / 2),
    Age("7d", 7 * DAY_S, DAY_S),
)
# An age that the config no longer has keeps its bound.
OVERDUE_S = {**{age.name: age.overdue_s for age in _FIXED}, RETENTION: DAY_S / 2}


@dataclass(frozen=True, slots=True)
class Pace:
    """How densely one route is rechecked: one canary in `every`, of those sent each `every_s`."""

    every: int
    every_s: float

    def one_in(self, age_s: float) -> int:
        """One canary in so many is looked for at this age.

        Doubled until few enough wait, so that whoever is chosen for an age was for each before.
        """
        surplus = age_s / (WAITING_ROWS * self.base * self.every_s)
        return self.base << max(0, math.ceil(math.log2(surplus)))

    @property
    def base(self) -> int:
        """One canary in so many may be chosen for an age at all."""
        return max(1, min(self.every, int(LONGEST_GAP_S // self.every_s)))

    def gap_s(self, age_s: float) -> float:
        """Seconds between two canaries that are chosen for this age, on average."""
        return self.one_in(age_s) * self.every_s

    def chosen(self, seq: int, age_s: float) -> bool:
        """Whether the canary with this number is: always the first of an epoch.

        Of each block another place, or an interval of a minute would meet one minute of all hours.
        """
        return is_picked(seq - 1, self.base, self.one_in(age_s) // self.base)


def ages_of(retention_s: float | None) -> tuple[Age, ...]:
    """The ages of a store that keeps records for `retention_s`, None = not stated; ascending.

    Ages beyond the retention stay in the list, so that they are accounted for as not applicable.
    """
    near = [] if retention_s is None else [Age(RETENTION, retention_s - DAY_S, DAY_S / 2)]
    taken = {age.after_s for age in _FIXED}
    extra = [age for age in near if age.after_s > HOUR_S and age.after_s not in taken]
    return tuple(sorted((*_FIXED, *extra), key=lambda age: age.after_s))


def first_recheck(row: LedgerRow, ages: Sequence[Age], pace: Pace) -> Recheck | None:
    """The first recheck of a seen canary, None when it is not chosen.

    Ages that had passed when it was seen for the first time are left out: it was looked for then.
    """
    if row.outcome not in SEEN or row.seen is None:
        return None
    seen_s = age_bounds_s(row.sent, row.seen)[1]
    coming = [age for age in ages if age.after_s > seen_s]
    age = _next(row.canary.key.seq, coming, pace)
    if age is None:
        return None
    return Recheck(
        canary=row.canary,
        age=age.name,
        age_s=age.after_s,
        sent=row.sent,
        sent_under=row.sent_under,
        seen=row.seen.utc,
        missed_at="",
        state=RecheckState.PLANNED,
        reason=Reason.STARTING,
        tries=0,
        judged=None,
        empty_read=None,
        empty_path="",
        path="",
        diff="",
    )


def following(done: Recheck, ages: Sequence[Age], pace: Pace) -> Recheck | None:
    """The recheck after a settled one, None when it was the last."""
    coming = [age for age in ages if age.after_s > done.age_s and age.name != done.age]
    age = _next(done.canary.key.seq, coming, pace)
    if age is None:
        return None
    return replace(
        done,
        age=age.name,
        age_s=age.after_s,
        state=RecheckState.PLANNED,
        reason=Reason.STARTING,
        tries=0,
        judged=None,
        empty_read=None,
        empty_path="",
        path="",
        diff="",
        failed_paths=(),
    )


def _next(seq: int, coming: Sequence[Age], pace: Pace) -> Age | None:
    return next((age for age in coming if pace.chosen(seq, age.after_s)), None)


def wait_s(item: Recheck, now: Instant) -> float:
    """Seconds until its time comes, 0 when it has.

    Within one boot by boot time. Across two by the wall clock: to look too early proves less, but
    nothing that is wrong, as absence is never concluded from the age alone.
    """
    return max(0.0, item.age_s - age_bounds_s(item.sent, now)[1])
