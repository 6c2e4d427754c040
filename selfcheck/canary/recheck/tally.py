"""What was wrong with the newest rechecks of one age, in a bit for each. Pure.

The newest few of them say what is so now; these tell what goes on happening to some.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import StrEnum

from selfcheck.canary.lately import Newest
from selfcheck.canary.recheck.model import VERIFIED, Recheck, RecheckState

# How many rechecks of an age are remembered.
REMEMBERED = 30


class Trouble(StrEnum):
    """What may be wrong with a recheck, in words that follow a count."""

    MISSED = "lost or altered after having been seen"
    DENIED = "not shown by path"
    UNREAD = "could not be read by path"
    HARD = "could be read only after reads by each path had failed"
    UNKNOWN = "could not be read in time"


# At so many separate times it is no single trouble; a read may fail, a record may not be gone.
_SEPARATE = {Trouble.MISSED: 2, Trouble.DENIED: 2}
_SEPARATE_READS = 3
# What happens to nearly each of them has no third beginning.
_NEWEST, _OF_NEWEST = 6, 4


class AgeTally:
    """Which of the newest rechecks of one age had which trouble, by path where it is a path's."""

    def __init__(self, items: Iterable[Recheck] = ()) -> None:
        """`items`: settled rechecks that applied, oldest first."""
        self._troubles: dict[tuple[Trouble, str], Newest] = {}
        self._last: dict[tuple[Trouble, str], datetime] = {}
        self._count = 0
        for item in items:
            self.add(item)

    def add(self, item: Recheck) -> None:
        """Count a settled recheck."""
        now = set(_troubles_of(item))
        for key in now:
            self._troubles.setdefault(key, Newest(REMEMBERED))
            self._last[key] = item.judged.utc if item.judged else item.due
        for key, lately in self._troubles.items():
            lately.push(key in now)
        self._count = min(REMEMBERED, self._count + 1)

    def often(self, *troubles: Trouble) -> str:
        """Which of `troubles` happened at so many separate times, in words; "" when none did."""
        told = (
            f"{lately.count} of the newest {self._count} {' '.join(filter(None, key))},"
            f" last {self._last[key]:%Y-%m-%dT%H:%M:%SZ}"
            for key, lately in sorted(self._troubles.items())
            # Whoever counts anew after a restart comes to the same.
            if key[0] in troubles and _often(key[0], lately)
        )
        return ", ".join(told)


def _often(trouble: Trouble, lately: Newest) -> bool:
    separate = _SEPARATE.get(trouble, _SEPARATE_READS)
    return lately.times >= separate or lately.newest(_NEWEST) >= _OF_NEWEST


def _troubles_of(item: Recheck) -> Iterator[tuple[Trouble, str]]:
    if item.newly_missed:
        yield Trouble.MISSED, ""
    if item.state is RecheckState.UNKNOWN and item.failed_paths:
        yield Trouble.UNKNOWN, ""
    if item.state in VERIFIED and item.path in item.failed_paths:
        yield Trouble.HARD, ""
    if item.denied_by:
        yield Trouble.DENIED, item.denied_by
    for path in item.unread_by:
        yield Trouble.UNREAD, path
