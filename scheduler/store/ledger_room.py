"""How much the ledger keeps: days or bytes, whichever ends first; in small transactions.

What is pruned is added to its daily total in the same transaction, so that the accounting
identity holds after any number of batches. The bound in bytes is hard: when everything that is
judged has gone, the oldest canaries still under way are given up as `unknown(ledger_full)`, and
no new one is taken before there is room again.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, delete, func, select, update
from sqlmodel import col

from core.clock import Instant
from core.errors import StoreError
from core.reason import Reason
from scheduler.store.database import upsert
from scheduler.store.ledger_tables import CanaryDayRow, CanaryRow, RecheckRow, TransitionRow
from scheduler.store.retention import give_back, live_bytes
from selfcheck.canary.model import Outcome

# Bytes of a row with its share of the indexes: PostgreSQL does not tell how much is in use.
ROW_BYTES = 900
RECHECK_BYTES = 400
_CLOSED = tuple(one.value for one in (Outcome.OK, Outcome.LATE, Outcome.ALTERED))
_BY_KEY = and_(
    col(CanaryRow.route) == bindparam("k_route"),
    col(CanaryRow.epoch) == bindparam("k_epoch"),
    col(CanaryRow.seq) == bindparam("k_seq"),
)


@dataclass(frozen=True, slots=True)
class LedgerCaps:
    """Bounds of the ledger. Pruning begins at `begin_share` of `max_bytes`."""

    days: float = 14.0
    max_bytes: int = 200_000_000
    begin_share: float = 0.9
    batch: int = 1000


@dataclass(frozen=True, slots=True)
class Room:
    """What one batch did. given_up: canaries under way that became `unknown(ledger_full)`."""

    folded: int
    given_up: int
    used_bytes: int

    @property
    def done(self) -> bool:
        """Whether there is nothing more to do for now."""
        return not (self.folded or self.given_up)


Order = tuple[LedgerCaps, Instant]
# Any: route, epoch, seq, outcome, sent_utc; SQLAlchemy ties no type to a select of columns.
Rows = Sequence[Row[Any]]


def make_room(connection: Connection, orders: Sequence[Order]) -> list[Room]:
    """One batch for each order."""
    return [_make_room(connection, caps, now) for caps, now in orders]


def prune(connection: Connection, orders: Sequence[tuple[datetime, int]]) -> list[int]:
    """Fold old judged rows into their totals and delete them, in one transaction."""
    return [_fold(connection, _oldest(connection, limit, before)) for before, limit in orders]


def refuse_when_full(connection: Connection, max_bytes: int) -> None:
    """Raise StoreError when the ledger has reached its bound, before a row is added.

    On PostgreSQL, which does not tell, the bound is kept by pruning alone.
    """
    used = live_bytes(connection)
    if used >= max_bytes:
        raise StoreError(
            f"ledger full: {used} of {max_bytes} bytes in use; no canary is sent until there is"
            " room again"
        )


def _make_room(connection: Connection, caps: LedgerCaps, now: Instant) -> Room:
    cutoff = now.utc - timedelta(days=caps.days)
    folded, given_up = _fold(connection, _oldest(connection, caps.batch, cutoff)), 0
    if not folded and used_bytes(connection) > caps.max_bytes * caps.begin_share:
        folded = _fold(connection, _oldest(connection, caps.batch, None))
        if not folded:
            given_up = _give_up(connection, caps.batch, now)
    if folded and connection.dialect.name == "sqlite":
        give_back(connection)
    return Room(folded, given_up, used_bytes(connection))


def used_bytes(connection: Connection) -> int:
    """Bytes in use: of SQLite's pages, on PostgreSQL reckoned from the number of rows."""
    if connection.dialect.name == "sqlite":
        return live_bytes(connection)
    rows = connection.scalar(select(func.count()).select_from(CanaryRow)) or 0
    rechecks = connection.scalar(select(func.count()).select_from(RecheckRow)) or 0
    return int(rows) * ROW_BYTES + int(rechecks) * RECHECK_BYTES


def _oldest(connection: Connection, limit: int, before: datetime | None) -> Rows:
    """Judged rows, oldest first. Without `before` those that nothing can change go first."""
    wanted = select(  # type: ignore[call-overload]  # columns, to SQLAlchemy
        CanaryRow.route, CanaryRow.epoch, CanaryRow.seq, CanaryRow.outcome, CanaryRow.sent_utc
    ).where(col(CanaryRow.outcome) != Outcome.PENDING.value)
    if before is not None:
        wanted = wanted.where(col(CanaryRow.sent_utc) < before)
        return connection.execute(wanted.order_by(col(CanaryRow.sent_utc)).limit(limit)).all()
    closed = wanted.where(col(CanaryRow.outcome).in_(_CLOSED))
    rows = connection.execute(closed.order_by(col(CanaryRow.sent_utc)).limit(limit)).all()
    return rows or connection.execute(wanted.order_by(col(CanaryRow.sent_utc)).limit(limit)).all()


def _fold(connection: Connection, rows: Rows) -> int:
    totals: dict[tuple[str, str, str], int] = defaultdict(int)
    for row in rows:
        totals[row.route, row.sent_utc.date().isoformat(), row.outcome] += 1
    counted = [
        {"route": route, "day": day, "outcome": outcome, "n": n}
        for (route, day, outcome), n in totals.items()
    ]
    upsert(connection, CanaryDayRow, counted, add="n")
    if rows:
        connection.execute(delete(CanaryRow).where(_BY_KEY), _keys(rows))
    return len(rows)


def _give_up(connection: Connection, limit: int, now: Instant) -> int:
    """The oldest pending rows become `unknown(ledger_full)`; the next batch can fold them."""
    pending = select(  # type: ignore[call-overload]  # columns, to SQLAlchemy
        CanaryRow.route, CanaryRow.epoch, CanaryRow.seq, CanaryRow.outcome, CanaryRow.sent_utc
    ).where(col(CanaryRow.outcome) == Outcome.PENDING.value)
    rows = connection.execute(pending.order_by(col(CanaryRow.sent_utc)).limit(limit)).all()
    if not rows:
        return 0
    lost_sight = {
        "outcome": Outcome.UNKNOWN.value, "reason": Reason.LEDGER_FULL.value, "judged": now
    }  # fmt: skip
    connection.execute(update(CanaryRow).where(_BY_KEY).values(lost_sight), _keys(rows))
    moved: dict[str, int] = defaultdict(int)
    for row in rows:
        moved[row.route] += 1
    counted = [
        {"route": route, "was": Outcome.PENDING.value, "became": Outcome.UNKNOWN.value, "n": n}
        for route, n in moved.items()
    ]
    upsert(connection, TransitionRow, counted, add="n")
    return len(rows)


def _keys(
    rows: Rows,
) -> list[dict[str, object]]:
    return [{"k_route": row.route, "k_epoch": row.epoch, "k_seq": row.seq} for row in rows]
