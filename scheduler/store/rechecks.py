"""Rechecks on disk, in the ledger's own file: they outlive the rows of their canaries."""

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Select, and_, exists, func, or_
from sqlmodel import Session, col, select

from core.clock import Clock, instant
from scheduler.store import recheck_steps
from scheduler.store.canary_rows import Remake, ledger_row
from scheduler.store.ledger_tables import CanaryRow, RecheckDueRow, RecheckRow, RecheckTotalRow
from scheduler.store.reader import Reader
from scheduler.store.recheck_rows import recheck
from selfcheck.canary.judge import age_bounds_s
from selfcheck.canary.model import CanaryKey, LedgerRow
from selfcheck.canary.recheck.judge import overdue
from selfcheck.canary.recheck.ledger import RecheckLedger
from selfcheck.canary.recheck.model import (
    WAITING,
    Recheck,
    RecheckAccount,
    RecheckState,
    account_of,
)
from selfcheck.canary.recheck.plan import OVERDUE_S, SEEN
from selfcheck.canary.turns import place_in

_BATCH = 500
_GRACE_S = 3600.0

# A step of the writer, an item; any, as the step's own signature ties item and answer.
Write = Callable[[Any, Any], Awaitable[Any]]


class RecheckStore(RecheckLedger):
    """Implements RecheckLedger; usable from any event loop."""

    def __init__(
        self,
        reader: Reader,
        write: Write,
        clock: Clock,
        instance: Callable[[], str],
        floor: Callable[[str], Awaitable[CanaryKey | None]],
        make: Remake,
    ) -> None:
        """`write` and `floor` are the ledger's; `instance` is asked at each read."""
        self._reader, self._write, self._clock = reader, write, clock
        self._instance, self._floor, self._make = instance, floor, make

    async def candidates(
        self, route: str, after: CanaryKey | None, one_in: int, one_block_in: int, limit: int
    ) -> Sequence[LedgerRow]:
        """Seen rows of which no recheck is kept, in the order of their keys."""
        known = exists().where(
            col(RecheckRow.route) == CanaryRow.route,
            col(RecheckRow.epoch) == CanaryRow.epoch,
            col(RecheckRow.seq) == CanaryRow.seq,
        )
        number = col(CanaryRow.seq) - 1
        block = number // one_in
        wanted = select(CanaryRow).where(
            col(CanaryRow.route) == route,
            col(CanaryRow.outcome).in_([outcome.value for outcome in SEEN]),
            block % one_block_in == 0,
            number % one_in == place_in(block, one_in),  # type: ignore[arg-type]  # a column
            ~known,
        )
        if after is not None:
            later = and_(col(CanaryRow.epoch) == after.epoch, col(CanaryRow.seq) > after.seq)
            wanted = wanted.where(or_(col(CanaryRow.epoch) > after.epoch, later))
        ordered = wanted.order_by(col(CanaryRow.epoch), col(CanaryRow.seq)).limit(limit)
        return await self._reader.get(
            lambda session: [
                ledger_row(row, self._instance(), self._make) for row in session.exec(ordered)
            ]
        )

    async def floor(self, route: str) -> CanaryKey | None:
        """The key of the oldest open row."""
        return await self._floor(route)

    async def plan(self, items: Sequence[Recheck]) -> None:
        """Keep planned rechecks; one that is kept already stays as it is."""
        if items:
            await self._write(recheck_steps.plan, items)

    async def waiting(self, route: str, limit: int) -> Sequence[Recheck]:
        """Rechecks that are not settled, those whose time comes first first."""
        mine = select(RecheckRow).where(col(RecheckRow.route) == route)
        found: list[Recheck] = []
        for state in (RecheckState.PENDING, RecheckState.DEFERRED, RecheckState.PLANNED):
            # One state a question: each is a stretch of the index in the order of `due`.
            one = mine.where(col(RecheckRow.state) == state.value)
            found += await self._items(one.order_by(col(RecheckRow.due)).limit(limit))
        return found

    async def settle(self, changed: Sequence[Recheck], more: Sequence[Recheck]) -> None:
        """Write `changed`, count what has become due, keep the planned `more`."""
        if changed:
            await self._write(recheck_steps.settle, recheck_steps.Settlement(changed, more))

    async def newest(self, route: str, age: str, limit: int) -> Sequence[Recheck]:
        """The newest settled rechecks of one age that applied, newest first."""
        left_out = [state.value for state in (*WAITING, RecheckState.NOT_APPLICABLE)]
        wanted = (
            select(RecheckRow)
            .where(
                col(RecheckRow.route) == route,
                col(RecheckRow.age) == age,
                col(RecheckRow.state).not_in(left_out),
            )
            .order_by(
                col(RecheckRow.judged_utc).desc(),
                col(RecheckRow.epoch).desc(),
                col(RecheckRow.seq).desc(),
            )
            .limit(limit)
        )
        return await self._items(wanted)

    async def of_canary(self, key: CanaryKey) -> Sequence[Recheck]:
        """Everything kept of one canary, by age."""
        wanted = select(RecheckRow).where(
            col(RecheckRow.route) == key.route,
            col(RecheckRow.epoch) == key.epoch,
            col(RecheckRow.seq) == key.seq,
        )
        return await self._items(wanted.order_by(col(RecheckRow.age_s)))

    async def find(self, canary_id: str, epoch: int, seq: int) -> Sequence[Recheck]:
        """What is kept of a canary whose own row has been pruned, by age; slow, for people."""
        wanted = select(RecheckRow).where(
            col(RecheckRow.epoch) == epoch, col(RecheckRow.seq) == seq
        )
        found = await self._items(wanted.order_by(col(RecheckRow.age_s)))
        return [item for item in found if item.canary.canary_id == canary_id]

    async def accounts(self, route: str) -> Mapping[str, RecheckAccount]:
        """The account of each age that was ever planned, in one snapshot."""
        return await self._reader.get(lambda session: _accounts(session, route))

    async def expire(self, configured: Collection[str]) -> int:
        """End what nobody looks for any more, the route being gone: `unknown`; how many.

        One batch; to be called until it is 0. configured: routes that see to their own.
        """
        now = instant(self._clock)
        wanted = select(RecheckRow).where(
            col(RecheckRow.route).not_in(configured),
            col(RecheckRow.state).in_([state.value for state in WAITING]),
        )
        items = await self._items(wanted.order_by(col(RecheckRow.due)).limit(_BATCH))
        gone = [
            overdue(item, now)
            for item in items
            if age_bounds_s(item.sent, now)[1] > item.age_s + OVERDUE_S[item.age] + _GRACE_S
        ]
        await self.settle(gone, [])
        return len(gone)

    async def prune(self, limit: int = 1000) -> int:
        """Fold up to `limit` settled rechecks into totals; how many there were."""
        order = (self._clock.utc(), limit)
        return int(await self._write(recheck_steps.prune, order))

    async def _items(self, wanted: Select[Any]) -> list[Recheck]:
        # Any: the type of a select depends on how it was built.
        return await self._reader.get(
            lambda session: [
                recheck(row, self._instance(), self._make) for row in session.scalars(wanted)
            ]
        )


def _accounts(session: Session, route: str) -> dict[str, RecheckAccount]:
    live = session.exec(
        select(RecheckRow.age, RecheckRow.state, func.count())
        .where(col(RecheckRow.route) == route)
        .group_by(RecheckRow.age, RecheckRow.state)
    )
    pruned = session.exec(
        select(RecheckTotalRow.age, RecheckTotalRow.state, RecheckTotalRow.n).where(
            col(RecheckTotalRow.route) == route
        )
    )
    counts: dict[str, Counter[RecheckState]] = defaultdict(Counter)
    for age, state, n in (*live, *pruned):
        counts[age][RecheckState(state)] += int(n)
    rows = session.exec(select(RecheckDueRow).where(col(RecheckDueRow.route) == route))
    due = {row.age: row.n for row in rows}
    ages = counts.keys() | due.keys()
    return {age: account_of(route, age, due.get(age, 0), counts[age]) for age in ages}
