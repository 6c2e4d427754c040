"""Five-field cron rules: are they valid, and do they ever come due?

Fields: minute hour day-of-month month day-of-week (0 or 7 = Sunday; names allowed). As in POSIX
crontab(5), a day matches either of the two day fields when both are restricted. The clockwork
computes the times; here they are only judged and shown.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _DAYS),
)
_PART = re.compile(r"(\*|[0-9a-z]+)(?:-([0-9a-z]+))?(?:/(\d+))?")
# Leap days recur within eight years, also over a century year that is none.
_HORIZON_DAYS = 8 * 366 + 2


@dataclass(frozen=True, slots=True)
class Cron:
    """The values that each field allows; weekdays count from Sunday = 0."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool

    def next_runs(self, after: datetime, count: int) -> tuple[datetime, ...]:
        """Up to `count` times strictly after `after`, in wall time; empty = it never comes due."""
        runs: list[datetime] = []
        midnight = after.replace(hour=0, minute=0, second=0, microsecond=0)
        for offset in range(_HORIZON_DAYS):
            day = midnight + timedelta(days=offset)
            if not self._due_on(day):
                continue
            for hour in sorted(self.hours):
                for minute in sorted(self.minutes):
                    run = day.replace(hour=hour, minute=minute)
                    if run > after:
                        runs.append(run)
                    if len(runs) == count:
                        return tuple(runs)
        return tuple(runs)

    def _due_on(self, day: datetime) -> bool:
        if day.month not in self.months:
            return False
        in_month = day.day in self.days
        in_week = (day.weekday() + 1) % 7 in self.weekdays
        if self.any_day or self.any_weekday:
            return in_month and in_week
        return in_month or in_week


def parse_cron(text: str) -> Cron:
    """The rule in `text`. Raises ValueError naming the field that is wrong."""
    fields = text.lower().split()
    if len(fields) != len(_FIELDS):
        raise ValueError(f"expected five fields (minute hour day month weekday), got {len(fields)}")
    parsed = [_field(field, *spec) for field, spec in zip(fields, _FIELDS, strict=True)]
    minutes, hours, days, months, weekdays = parsed
    weekdays = frozenset(day % 7 for day in weekdays)
    any_day, any_weekday = fields[2].startswith("*"), fields[4].startswith("*")
    return Cron(minutes, hours, days, months, weekdays, any_day, any_weekday)


def _field(text: str, name: str, low: int, high: int, names: tuple[str, ...]) -> frozenset[int]:
    allowed: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError(f"{name}: cannot read {part!r}")
        first, last, step = match.groups()
        start = low if first == "*" else _value(first, name, low, names)
        # `5/15` without a range means "from 5 on".
        end = _value(last, name, low, names) if last else high if first == "*" or step else start
        if not low <= start <= end <= high:
            raise ValueError(f"{name}: {part!r} is outside {low}-{high}")
        if step is not None and not 1 <= int(step) <= high:
            raise ValueError(f"{name}: the step of {part!r} must lie between 1 and {high}")
        allowed.update(range(start, end + 1, int(step or 1)))
    return frozenset(allowed)


def _value(text: str, name: str, low: int, names: tuple[str, ...]) -> int:
    if re.fullmatch("[0-9]{1,2}", text):
        return int(text)
    if text in names:
        return names.index(text) + low
    raise ValueError(f"{name}: cannot read {text!r}")
