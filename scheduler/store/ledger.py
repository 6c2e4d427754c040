"""The ledger on disk: a canary's row is durable before the canary is sent."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, or_
from sqlmodel import Session, col, select

from core.clock import Clock, instant
from core.errors import StoreError
from scheduler.engine.protocol import ScheduleMark, ScheduleStore
from scheduler.store import ledger_room, ledger_steps
from scheduler.store.canary_rows import Remake, ledger_row, remake
from scheduler.store.ledger_past import account_of, past_of
from scheduler.store.ledger_room import LedgerCaps, Room
from scheduler.store.ledger_tables import (
    CanaryRow,
    InstanceRow,
    RouteRow,
    ScheduleRow,
    TransitionRow,
)
from scheduler.store.reader import Reader
from scheduler.store.rechecks import RecheckStore
from scheduler.store.writer import DEADLINE_S, Writer
from selfcheck.canary.ledger import OPEN_S, OPEN_UNKNOWN_S, Epoch, Ledger, Past, PathPast
from selfcheck.canary.model import Account, CanaryKey, LedgerRow, Outcome, Receipt

_SHORT = (Outcome.LOST, Outcome.REJECTED, Outcome.POLICY_DROP)


class LedgerStore(Ledger, ScheduleStore):
    """Implements Ledger and ScheduleStore; usable from any event loop."""

    def __init__(
        self,
        reader: Reader,
        writer: Writer | None,
        clock: Clock,
        instance: str,
        make: Remake = remake,
        deadline_s: float = DEADLINE_S,
        caps: LedgerCaps | None = None,
    ) -> None:
        """Without `writer` it only reads. `make` rebuilds canaries; `deadline_s` ends a write."""
        self._reader, self._writer, self._clock = reader, writer, clock
        self.instance, self._make, self._deadline_s = instance, make, deadline_s
        self.caps = caps or LedgerCaps()
        self.given_up_total = 0
        self.rechecks = RecheckStore(
            reader, self._write, clock, lambda: self.instance, self._floor, make
        )

    async def begin(self) -> Epoch:
        """A new epoch, committed: greater than any before, and than any before a restore.

        It is the wall clock's Unix second where that is greater, so that a ledger restored from
        a backup does not give out numbers which the lost part has used.
        """
        number = await self._write(ledger_steps.begin, instant(self._clock))
        return Epoch(self.instance, number)

    async def open(self, row: LedgerRow) -> None:
        """Commit a pending row.

        Raises StoreError for a sequence number that is not the next, and while the ledger is full.
        """
        await self._write(ledger_steps.open_rows, (row, self.caps.max_bytes))

    async def receive(self, key: CanaryKey, receipt: Receipt) -> None:
        """Keep the receipt of a row. Raises StoreError when there never was such a row."""
        await self._write(ledger_steps.receive, (key, receipt), hurried=False)

    async def settle(self, rows: Sequence[LedgerRow]) -> None:
        """Write the judged state of `rows` in one transaction; pruned ones stay as they were."""
        if rows:
            await self._write(ledger_steps.settle, rows, hurried=False)

    async def keep_paths(self, route: str, sent_under: str, paths: Sequence[PathPast]) -> None:
        """Write what access paths have answered, in place of what was kept of the route."""
        item = route, sent_under, tuple(paths)
        await self._write(ledger_steps.keep_paths, item, hurried=False)

    async def unsettled(self, route: str, limit: int) -> Sequence[LedgerRow]:
        """Rows that a read may still change, oldest first."""
        wanted = (
            select(CanaryRow)
            .where(col(CanaryRow.route) == route, self._is_open())
            .order_by(col(CanaryRow.epoch), col(CanaryRow.seq))
            .limit(limit)
        )
        return await self._reader.get(lambda session: self._rows(session, wanted))

    async def recent(self, route: str, limit: int) -> Sequence[LedgerRow]:
        """The newest rows of a route, newest first."""
        wanted = (
            select(CanaryRow)
            .where(col(CanaryRow.route) == route)
            .order_by(col(CanaryRow.epoch).desc(), col(CanaryRow.seq).desc())
            .limit(limit)
        )
        return await self._reader.get(lambda session: self._rows(session, wanted))

    async def past(self, route: str, sent_under: str, midnight: datetime, limit: int) -> Past:
        """What a route starts from."""
        return await self._reader.get(
            lambda session: past_of(session.connection(), route, sent_under, midnight, limit)
        )

    async def find(self, canary_id: str) -> LedgerRow | None:
        """The row of a canary id; None when there is none or it has been pruned."""
        wanted = select(CanaryRow).where(col(CanaryRow.canary_id) == canary_id)
        found = await self._reader.get(lambda session: self._rows(session, wanted))
        return found[0] if found else None

    async def delays_s(self, route: str, limit: int) -> Sequence[float]:
        """Visibility delays in seconds of the newest seen rows, newest first."""
        wanted = (
            select(CanaryRow.delay_s)
            .where(col(CanaryRow.route) == route, col(CanaryRow.delay_s).is_not(None))
            .order_by(col(CanaryRow.epoch).desc(), col(CanaryRow.seq).desc())
            .limit(limit)
        )
        found = await self._reader.get(lambda session: session.exec(wanted).all())
        return [delay for delay in found if delay is not None]

    async def account(self, route: str) -> Account:
        """The identity of one route: live rows and pruned totals, in one snapshot."""
        return await self._reader.get(lambda session: account_of(session.connection(), route))

    async def accounts(self) -> Mapping[str, Account]:
        """The identity of every route that ever sent, in one snapshot."""
        return await self._reader.get(lambda session: _accounts(session.connection()))

    async def transitions(self, route: str) -> Mapping[tuple[Outcome, Outcome], int]:
        """How often canaries of `route` went from the first outcome to the second."""
        wanted = select(TransitionRow).where(col(TransitionRow.route) == route)
        rows = await self._reader.get(lambda session: session.exec(wanted).all())
        return {(Outcome(row.was), Outcome(row.became)): row.n for row in rows}

    async def prune(self, before: datetime, limit: int = 1000) -> int:
        """Fold up to `limit` judged rows sent before `before` into totals; how many there were."""
        return int(await self._write(ledger_room.prune, (before, limit)))

    async def make_room(self) -> Room:
        """One batch of pruning within `caps`; to be called until it is `done`."""
        room: Room = await self._write(ledger_room.make_room, (self.caps, instant(self._clock)))
        self.given_up_total += room.given_up
        return room

    async def room(self) -> Room:
        """How much is in use now; changes nothing."""
        used = await self._reader.get(lambda s: ledger_room.used_bytes(s.connection()))
        return Room(0, 0, used)

    async def marks(self) -> dict[str, ScheduleMark]:
        """All schedule marks by check name."""
        rows = await self._reader.get(lambda session: session.exec(select(ScheduleRow)).all())
        return {row.name: _mark(row) for row in rows}

    async def keep(self, marks: list[ScheduleMark]) -> None:
        """Write marks, replacing older ones of the same check."""
        if marks:
            await self._write(ledger_steps.keep_marks, marks)

    async def beat(self, holder: str) -> None:
        """Write the service's heartbeat. Raises StoreTakenError when another has taken over."""
        await self._write(ledger_steps.beat, (holder, instant(self._clock)))

    def holder(self) -> InstanceRow | None:
        """The instance row: who serves this ledger, and when it last said so."""
        return self._reader.ask(lambda session: session.exec(select(InstanceRow)).first())

    def close(self) -> None:
        """Write what waits, then end the threads."""
        if self._writer:
            self._writer.close()
        self._reader.close()

    async def _write(self, step: Any, item: Any, *, hurried: bool = True) -> Any:
        # Any: the step's own signature ties item and answer (ledger_steps).
        if self._writer is None:
            raise StoreError("this ledger was opened for reading")
        return await self._writer.do(step, item, self._deadline_s, hurried=hurried)

    def _rows(self, session: Session, wanted: Any) -> list[LedgerRow]:
        # Any: a select of CanaryRow, whose type depends on how it was built.
        return [ledger_row(row, self.instance, self._make) for row in session.exec(wanted)]

    async def _floor(self, route: str) -> CanaryKey | None:
        wanted = (
            select(CanaryRow.epoch, CanaryRow.seq)
            .where(col(CanaryRow.route) == route, self._is_open())
            .order_by(col(CanaryRow.epoch), col(CanaryRow.seq))
            .limit(1)
        )
        found = await self._reader.get(lambda session: session.exec(wanted).first())
        return CanaryKey(route, *found) if found else None

    def _is_open(self) -> ColumnElement[bool]:
        """Ages within one boot by boot time, across boots by UTC (docs/design.md, "Time")."""
        short = and_(col(CanaryRow.outcome).in_(_SHORT), self._younger_than(OPEN_S))
        long = and_(
            col(CanaryRow.outcome) == Outcome.UNKNOWN.value, self._younger_than(OPEN_UNKNOWN_S)
        )
        return or_(col(CanaryRow.outcome) == Outcome.PENDING.value, short, long)

    def _younger_than(self, age_s: float) -> ColumnElement[bool]:
        now = instant(self._clock)
        since = datetime.fromtimestamp(now.utc.timestamp() - age_s, tz=now.utc.tzinfo)
        same_boot = col(CanaryRow.sent_boot) == now.boot_id
        return or_(
            and_(same_boot, col(CanaryRow.sent_boot_s) >= now.boot_s - age_s),
            and_(~same_boot, col(CanaryRow.sent_utc) >= since),
        )


def _accounts(connection: Connection) -> dict[str, Account]:
    routes = connection.scalars(select(RouteRow.route).distinct()).all()
    return {route: account_of(connection, route) for route in routes}


def _mark(row: ScheduleRow) -> ScheduleMark:
    return ScheduleMark(row.name, row.generation, row.anchor, row.every_s, row.accounted_until)
