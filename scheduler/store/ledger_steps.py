"""What the ledger's writer does: each step takes all waiting items of its kind at once."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, func, insert, or_, select, update
from sqlmodel import col

from core.clock import Instant
from core.errors import StoreError, StoreTakenError
from scheduler.engine.protocol import ScheduleMark
from scheduler.store.canary_rows import judged, opened, write_receipt
from scheduler.store.database import upsert
from scheduler.store.ledger_tables import (
    CanaryDayRow,
    CanaryRow,
    EpochRow,
    InstanceRow,
    RouteRow,
    ScheduleRow,
    TransitionRow,
)
from selfcheck.canary.model import CanaryKey, LedgerRow, Outcome, Receipt

Done = Sequence[None]
# SQLite takes a limited number of parameters in one statement.
_KEYS = 200
_BY_KEY = and_(
    col(CanaryRow.route) == bindparam("k_route"),
    col(CanaryRow.epoch) == bindparam("k_epoch"),
    col(CanaryRow.seq) == bindparam("k_seq"),
)


def begin(connection: Connection, starts: Sequence[Instant]) -> list[int]:
    """A new epoch for each start."""
    numbers = []
    for at in starts:
        last = connection.scalar(select(func.max(EpochRow.number))) or 0
        number = max(int(last) + 1, int(at.utc.timestamp()))
        connection.execute(insert(EpochRow), {"number": number, "begun": at})
        numbers.append(number)
    return numbers


def open_rows(connection: Connection, rows: Sequence[LedgerRow]) -> Done:
    """Insert pending rows whose sequence numbers are the next of their route and epoch.

    A row whose caller gave up before it was durable may be opened again under its number, as
    long as nothing is known of it: it was never sent.
    """
    last = _last_seqs(connection, [row.canary.key for row in rows])
    for row in rows:
        key = row.canary.key
        known = last.get((key.route, key.epoch), 0)
        if key.seq == known:
            _forget_unsent(connection, key)
        elif key.seq != known + 1:
            raise StoreError(f"{key}: the next sequence number of this epoch is {known + 1}")
        last[key.route, key.epoch] = key.seq
    counted = [
        {"route": route, "epoch": epoch, "last_seq": seq} for (route, epoch), seq in last.items()
    ]
    upsert(connection, RouteRow, counted)
    connection.execute(insert(CanaryRow), [opened(row) for row in rows])
    return [None] * len(rows)


def _last_seqs(connection: Connection, keys: Sequence[CanaryKey]) -> dict[tuple[str, int], int]:
    known = select(RouteRow.route, RouteRow.epoch, RouteRow.last_seq).where(  # type: ignore[call-overload]  # columns, to SQLAlchemy
        col(RouteRow.route).in_({key.route for key in keys}),
        col(RouteRow.epoch).in_({key.epoch for key in keys}),
    )
    return {(row.route, row.epoch): row.last_seq for row in connection.execute(known)}


def _forget_unsent(connection: Connection, key: CanaryKey) -> None:
    unsent = delete(CanaryRow).where(
        _BY_KEY,
        col(CanaryRow.outcome) == Outcome.PENDING.value,
        col(CanaryRow.receipt).is_(None),
    )
    if connection.execute(unsent, _key(key)).rowcount != 1:
        raise StoreError(f"{key} is taken")


def receive(connection: Connection, items: Sequence[tuple[CanaryKey, Receipt]]) -> Done:
    """Keep receipts."""
    changes = [{**_key(key), "receipt": write_receipt(receipt)} for key, receipt in items]
    _update(connection, changes, ("receipt",))
    return [None] * len(items)


def settle(connection: Connection, groups: Sequence[Sequence[LedgerRow]]) -> Done:
    """Write judged rows; what changed its outcome is counted."""
    for rows in groups:
        was = _outcomes(connection, [row.canary.key for row in rows])
        moved: dict[tuple[str, str, str], int] = defaultdict(int)
        for row in rows:
            before, after = was.get(row.canary.key), row.outcome.value
            if before is None:
                raise StoreError(f"{row.canary.key}: no such canary")
            if before != after:
                moved[row.canary.key.route, before, after] += 1
        changes = [{**_key(row.canary.key), **judged(row)} for row in rows]
        _update(connection, changes, tuple(judged(rows[0])))
        counted = [
            {"route": route, "was": before, "became": after, "n": n}
            for (route, before, after), n in moved.items()
        ]
        upsert(connection, TransitionRow, counted, add="n")
    return [None] * len(groups)


def prune(connection: Connection, orders: Sequence[tuple[datetime, int]]) -> list[int]:
    """Fold old judged rows into their totals and delete them, in one transaction."""
    return [_prune(connection, before, limit) for before, limit in orders]


def _prune(connection: Connection, before: datetime, limit: int) -> int:
    old = connection.execute(
        select(  # type: ignore[call-overload]  # columns, to SQLAlchemy
            CanaryRow.route, CanaryRow.epoch, CanaryRow.seq, CanaryRow.outcome, CanaryRow.sent_utc
        )
        .where(col(CanaryRow.sent_utc) < before, col(CanaryRow.outcome) != Outcome.PENDING.value)
        .order_by(col(CanaryRow.sent_utc))
        .limit(limit)
    ).all()
    totals: dict[tuple[str, str, str], int] = defaultdict(int)
    for row in old:
        totals[row.route, row.sent_utc.date().isoformat(), row.outcome] += 1
    counted = [
        {"route": route, "day": day, "outcome": outcome, "n": n}
        for (route, day, outcome), n in totals.items()
    ]
    upsert(connection, CanaryDayRow, counted, add="n")
    keys = [_key(CanaryKey(row.route, row.epoch, row.seq)) for row in old]
    if keys:
        connection.execute(delete(CanaryRow).where(_BY_KEY), keys)
    return len(old)


def keep_marks(connection: Connection, groups: Sequence[Sequence[ScheduleMark]]) -> Done:
    """Write schedule marks."""
    rows = [
        {
            "name": mark.check,
            "generation": mark.generation,
            "anchor": mark.anchor,
            "every_s": mark.every_s,
            "accounted_until": mark.accounted_until,
        }
        for marks in groups
        for mark in marks
    ]
    upsert(connection, ScheduleRow, rows)
    return [None] * len(groups)


def beat(connection: Connection, beats: Sequence[tuple[str, Instant]]) -> Done:
    """Say that the service is alive, unless another has taken its place."""
    for holder, at in beats:
        ours = update(InstanceRow).where(col(InstanceRow.holder) == holder).values(beat=at)
        if connection.execute(ours).rowcount != 1:
            raise StoreTakenError("ledger: another service has taken over this database")
    return [None] * len(beats)


def _outcomes(connection: Connection, keys: Sequence[CanaryKey]) -> dict[CanaryKey, str]:
    found: dict[CanaryKey, str] = {}
    for start in range(0, len(keys), _KEYS):
        some = [
            and_(
                col(CanaryRow.route) == key.route,
                col(CanaryRow.epoch) == key.epoch,
                col(CanaryRow.seq) == key.seq,
            )
            for key in keys[start : start + _KEYS]
        ]
        wanted = select(  # type: ignore[call-overload]  # columns, to SQLAlchemy
            CanaryRow.route, CanaryRow.epoch, CanaryRow.seq, CanaryRow.outcome
        ).where(or_(*some))
        for row in connection.execute(wanted):
            found[CanaryKey(row.route, row.epoch, row.seq)] = row.outcome
    return found


def _update(
    connection: Connection, changes: list[dict[str, Any]], columns: tuple[str, ...]
) -> None:
    # Any: the values are of whatever types the columns have.
    statement = update(CanaryRow).where(_BY_KEY).values({name: bindparam(name) for name in columns})
    result = connection.execute(statement, changes)
    if result.rowcount != len(changes):
        raise StoreError("ledger: no such canary")


def _key(key: CanaryKey) -> dict[str, Any]:
    return {"k_route": key.route, "k_epoch": key.epoch, "k_seq": key.seq}
