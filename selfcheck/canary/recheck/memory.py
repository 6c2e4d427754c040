"""Rechecks that live as long as their process."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from core.errors import StoreError
from selfcheck.canary.memory import MemoryLedger
from selfcheck.canary.model import CanaryKey, LedgerRow
from selfcheck.canary.recheck.ledger import RecheckLedger
from selfcheck.canary.recheck.model import (
    WAITING,
    Recheck,
    RecheckAccount,
    RecheckKey,
    RecheckState,
    account_of,
)
from selfcheck.canary.recheck.plan import SEEN
from selfcheck.canary.turns import is_picked

_EVERYTHING = 1 << 40


class MemoryRechecks(RecheckLedger):
    """All rechecks in a dictionary, beside the canaries of a MemoryLedger."""

    def __init__(self, ledger: MemoryLedger) -> None:
        """`ledger` holds the canaries."""
        self._ledger = ledger
        self._kept: dict[RecheckKey, Recheck] = {}
        self._due: Counter[tuple[str, str]] = Counter()

    async def candidates(
        self, route: str, after: CanaryKey | None, one_in: int, one_block_in: int, limit: int
    ) -> Sequence[LedgerRow]:
        """Seen rows of which no recheck is kept, in the order of their keys."""
        known = {key.canary for key in self._kept}
        rows = list(await self._ledger.recent(route, _EVERYTHING))[::-1]
        return [
            row
            for row in rows
            if row.outcome in SEEN
            and row.canary.key not in known
            and is_picked(row.canary.key.seq - 1, one_in, one_block_in)
            and (after is None or row.canary.key > after)
        ][:limit]

    async def floor(self, route: str) -> CanaryKey | None:
        """The key of the oldest open row."""
        rows = await self._ledger.unsettled(route, 1)
        return rows[0].canary.key if rows else None

    async def plan(self, items: Sequence[Recheck]) -> None:
        """Keep planned rechecks; one that is kept already stays as it is."""
        for item in items:
            self._kept.setdefault(item.key, item)

    async def waiting(self, route: str, limit: int) -> Sequence[Recheck]:
        """Rechecks that are not settled, those whose time comes first first."""
        mine = sorted(self._of(route), key=lambda item: item.due)
        planned = [item for item in mine if item.state is RecheckState.PLANNED][:limit]
        due = [item for item in mine if item.state in WAITING - {RecheckState.PLANNED}][:limit]
        return [*due, *planned]

    async def settle(self, changed: Sequence[Recheck], more: Sequence[Recheck]) -> None:
        """Write `changed`, count what has become due, keep the planned `more`."""
        for item in changed:
            before = self._kept.get(item.key)
            if before is None or before.state not in WAITING:
                raise StoreError(f"{item.key}: no such recheck waits")
        for item in changed:
            was = self._kept[item.key].state
            if was is RecheckState.PLANNED and item.state is not RecheckState.PLANNED:
                self._due[item.key.canary.route, item.age] += 1
            self._kept[item.key] = item
        await self.plan(more)

    async def newest(self, route: str, age: str, limit: int) -> Sequence[Recheck]:
        """The newest settled rechecks of one age that applied, newest first."""
        left_out = WAITING | {RecheckState.NOT_APPLICABLE}
        done = [item for item in self._of(route) if item.age == age and item.state not in left_out]
        done.sort(key=lambda item: (item.judged.utc if item.judged else item.due, item.key))
        return done[::-1][:limit]

    async def of_canary(self, key: CanaryKey) -> Sequence[Recheck]:
        """Everything kept of one canary, by age."""
        mine = [item for item in self._kept.values() if item.canary.key == key]
        return sorted(mine, key=lambda item: item.age_s)

    async def accounts(self, route: str) -> Mapping[str, RecheckAccount]:
        """The account of each age that was ever planned."""
        counts: dict[str, Counter[RecheckState]] = defaultdict(Counter)
        for item in self._of(route):
            counts[item.age][item.state] += 1
        return {age: account_of(route, age, self._due[route, age], counts[age]) for age in counts}

    def _of(self, route: str) -> list[Recheck]:
        return [item for item in self._kept.values() if item.canary.key.route == route]
