"""A ledger that lives as long as its process: for `verify`, which leaves no trace."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from random import Random
from statistics import fmean

from core.clock import Clock, instant
from core.errors import StoreError
from selfcheck.canary.accounting import account_of
from selfcheck.canary.judge import age_bounds_s
from selfcheck.canary.kept import brief_of
from selfcheck.canary.ledger import (
    HOURS_BACK,
    OPEN_S,
    OPEN_UNKNOWN_S,
    Epoch,
    HourPast,
    Ledger,
    Past,
    PathPast,
)
from selfcheck.canary.model import Account, CanaryKey, LedgerRow, Outcome, Receipt

_OPEN_LONG = frozenset({Outcome.UNKNOWN})
_OPEN_SHORT = frozenset({Outcome.LOST, Outcome.POLICY_DROP, Outcome.REJECTED})


class MemoryLedger(Ledger):
    """All rows in a dictionary, in sending order."""

    def __init__(self, instance: str, clock: Clock, rng: Random | None = None) -> None:
        """With `rng` the first epoch is random: no other run has sent under it."""
        self.transitions: Counter[tuple[str, Outcome, Outcome]] = Counter()
        self._instance, self._clock = instance, clock
        self._epoch = rng.randrange(1 << 40, 1 << 52) if rng else 0
        self._rows: dict[CanaryKey, LedgerRow] = {}
        self._last: dict[tuple[str, int], int] = {}
        self._paths: dict[str, tuple[str, Sequence[PathPast]]] = {}

    async def begin(self) -> Epoch:
        """A new epoch, greater than any before."""
        self._epoch += 1
        return Epoch(self._instance, self._epoch)

    async def open(self, row: LedgerRow) -> None:
        """Keep a pending row. Raises StoreError for a key that is taken or not dense."""
        key = row.canary.key
        last = self._last.get((key.route, key.epoch), 0)
        if key.seq != last + 1:
            raise StoreError(f"{key}: the next sequence number of this epoch is {last + 1}")
        self._rows[key] = row
        self._last[key.route, key.epoch] = key.seq

    async def receive(self, key: CanaryKey, receipt: Receipt) -> None:
        """Keep the receipt of a row."""
        self._rows[key] = replace(self._rows[key], receipt=receipt)

    async def settle(self, rows: Sequence[LedgerRow]) -> None:
        """Replace rows, counting outcome transitions."""
        for row in rows:
            was = self._rows[row.canary.key].outcome
            if was is not row.outcome:
                self.transitions[row.canary.key.route, was, row.outcome] += 1
            self._rows[row.canary.key] = row

    async def keep_paths(self, route: str, sent_under: str, paths: Sequence[PathPast]) -> None:
        """Replace what is kept of the paths of a route."""
        self._paths[route] = sent_under, tuple(paths)

    async def unsettled(self, route: str, limit: int) -> Sequence[LedgerRow]:
        """Rows that a read may still change, oldest first."""
        return [row for row in self._of(route) if self._is_open(row)][:limit]

    async def recent(self, route: str, limit: int) -> Sequence[LedgerRow]:
        """The newest rows of a route, newest first."""
        return self._of(route)[::-1][:limit]

    async def past(self, route: str, sent_under: str, midnight: datetime, limit: int) -> Past:
        """What a route starts from."""
        rows = self._of(route)
        mine = [row for row in rows if row.sent_under == sent_under]
        newest = {row.outcome: brief_of(row) for row in rows}
        under, paths = self._paths.get(route, ("", ()))
        return Past(
            recent=[brief_of(row) for row in rows[-limit:]],
            newest=list(newest.values()),
            seen_under=any(r.seen is not None or r.outcome is Outcome.LOST for r in mine),
            only_under=bool(rows) and len(mine) == len(rows),
            sent_today=sum(row.sent.utc >= midnight for row in rows),
            hours=_hours(row for row in mine if row.sent.utc >= midnight - HOURS_BACK),
            paths=paths if under == sent_under else (),
        )

    async def find(self, canary_id: str) -> LedgerRow | None:
        """The row of a canary id, None when there is no such canary."""
        found = (row for row in self._rows.values() if row.canary.canary_id == canary_id)
        return next(found, None)

    async def delays_s(self, route: str, limit: int) -> Sequence[float]:
        """Visibility delays of the newest seen rows."""
        delays = [row.delay_s for row in self._of(route)[::-1] if row.delay_s is not None]
        return delays[:limit]

    async def account(self, route: str) -> Account:
        """The identity of one route."""
        sent = sum(seq for (name, _), seq in self._last.items() if name == route)
        return account_of(route, sent, self._of(route))

    def _of(self, route: str) -> list[LedgerRow]:
        return [row for key, row in self._rows.items() if key.route == route]

    def _is_open(self, row: LedgerRow) -> bool:
        age = age_bounds_s(row.sent, instant(self._clock))[0]
        long = row.outcome in _OPEN_LONG and age <= OPEN_UNKNOWN_S
        short = row.outcome in _OPEN_SHORT and age <= OPEN_S
        return row.outcome is Outcome.PENDING or long or short


def _hours(rows: Iterable[LedgerRow]) -> list[HourPast]:
    known: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        if row.delay_s is not None:
            hour = int(row.sent.utc.timestamp() // 3600)
            known[hour].append((row.deadline_s, row.delay_s))
    return [
        HourPast(
            hour, len(told), fmean(d for d, _ in told), fmean(d for _, d in told),
            max(d for _, d in told),
        )
        for hour, told in known.items()
    ]  # fmt: skip
