"""What the ledger's writer does: each step takes all waiting items of its kind at once."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, func, insert, or_, select, update
from sqlmodel import col

from core.clock import Instant
from core.errors import StoreError, StoreTakenError
from scheduler.engine.protocol import ScheduleMark
from scheduler.store.canary_rows import judged, opened, write_receipt
from scheduler.store.database import upsert
from scheduler.store.ledger_room import refuse_when_full
from scheduler.store.ledger_tables import (
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


def open_rows(connection: Connection, orders: Sequence[tuple[LedgerRow, int]]) -> Done:
    """Insert pending rows whose sequence numbers are the next of their route and epoch.

    Each comes with the bound of the ledger in bytes; a full one takes none. A row whose caller
    gave up before it was durable may be opened again under its number, as long as nothing is
    known of it: it was never sent.
    """
    rows = [row for row, _ in orders]
    refuse_when_full(connection, min(max_bytes for _, max_bytes in orders))
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
    """Keep receipts; one of a canary that has been pruned is of no more use."""
    held = _held(connection, [key for key, _ in items])
    changes = [
        {**_key(key), "receipt": write_receipt(receipt)} for key, receipt in items if key in held
    ]
    _update(connection, changes, ("receipt",))
    return [None] * len(items)


def settle(connection: Connection, groups: Sequence[Sequence[LedgerRow]]) -> Done:
    """Write judged rows; what changed its outcome is counted.

    A canary that has been pruned keeps the outcome under which it was folded into the totals.
    """
    rows = [row for group in groups for row in group]
    was = _held(connection, [row.canary.key for row in rows])
    kept = [row for row in rows if row.canary.key in was]
    moved: Counter[tuple[str, str, str]] = Counter()
    for row in kept:
        before, after = was[row.canary.key], row.outcome.value
        if before != after:
            moved[row.canary.key.route, before, after] += 1
        was[row.canary.key] = after
    changes = [{**_key(row.canary.key), **judged(row)} for row in kept]
    _update(connection, changes, tuple(judged(kept[0])) if kept else ())
    counted = [
        {"route": route, "was": before, "became": after, "n": n}
        for (route, before, after), n in moved.items()
    ]
    upsert(connection, TransitionRow, counted, add="n")
    return [None] * len(groups)


def _held(connection: Connection, keys: Sequence[CanaryKey]) -> dict[CanaryKey, str]:
    """Outcomes of the rows that are there. Raises StoreError for what never was a canary.

    A number that was given out and has no row any more can only have been pruned.
    """
    found = _outcomes(connection, keys)
    missing = [key for key in keys if key not in found]
    last = _last_seqs(connection, missing) if missing else {}
    for key in missing:
        if key.seq > last.get((key.route, key.epoch), 0):
            raise StoreError(f"{key}: no such canary")
    return found


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
    if not changes:
        return
    statement = update(CanaryRow).where(_BY_KEY).values({name: bindparam(name) for name in columns})
    result = connection.execute(statement, changes)
    if result.rowcount != len(changes):
        raise StoreError("ledger: no such canary")


def _key(key: CanaryKey) -> dict[str, Any]:
    return {"k_route": key.route, "k_epoch": key.epoch, "k_seq": key.seq}
