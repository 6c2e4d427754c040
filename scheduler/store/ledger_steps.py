"""What the ledger's writer does: each step takes all waiting items of its kind at once."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, func, insert, select, update
from sqlmodel import col

from core.clock import Instant
from core.errors import StoreError, StoreTakenError
from scheduler.engine.protocol import ScheduleMark
from scheduler.store.canary_rows import JUDGED, judged, opened, write_receipt
from scheduler.store.database import upsert
from scheduler.store.ledger_room import refuse_when_full
from scheduler.store.ledger_tables import (
    CanaryRow,
    EpochRow,
    InstanceRow,
    PathRow,
    RouteRow,
    ScheduleRow,
    TransitionRow,
)
from selfcheck.canary.ledger import PathPast
from selfcheck.canary.model import CanaryKey, LedgerRow, Outcome, Receipt

Done = Sequence[None]
_BY_KEY = and_(
    col(CanaryRow.route) == bindparam("k_route"),
    col(CanaryRow.epoch) == bindparam("k_epoch"),
    col(CanaryRow.seq) == bindparam("k_seq"),
)
# Built once: to build a statement costs more than to run it.
_OPEN = insert(CanaryRow)
_RECEIVE = update(CanaryRow).where(_BY_KEY).values(receipt=bindparam("receipt"))
_SETTLE = update(CanaryRow).where(_BY_KEY).values({name: bindparam(name) for name in JUDGED})
_OUTCOME = select(col(CanaryRow.outcome)).where(_BY_KEY)
_LAST_SEQ = select(col(RouteRow.last_seq)).where(
    col(RouteRow.route) == bindparam("route"), col(RouteRow.epoch) == bindparam("epoch")
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
    last: dict[tuple[str, int], int] = {}
    for row in rows:
        key = row.canary.key
        stream = key.route, key.epoch
        known = last[stream] if stream in last else _last_seq(connection, key)
        if key.seq == known:
            _forget_unsent(connection, key)
        elif key.seq != known + 1:
            raise StoreError(f"{key}: the next sequence number of this epoch is {known + 1}")
        last[stream] = key.seq
    counted = [
        {"route": route, "epoch": epoch, "last_seq": seq} for (route, epoch), seq in last.items()
    ]
    upsert(connection, RouteRow, counted)
    connection.execute(_OPEN, [opened(row) for row in rows])
    return [None] * len(rows)


def _last_seq(connection: Connection, key: CanaryKey) -> int:
    return connection.scalar(_LAST_SEQ, {"route": key.route, "epoch": key.epoch}) or 0


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
    changes = [{**_key(key), "receipt": write_receipt(receipt)} for key, receipt in items]
    if connection.execute(_RECEIVE, changes).rowcount != len(changes):
        for key, _ in items:
            _outcome(connection, key)
    return [None] * len(items)


def settle(connection: Connection, groups: Sequence[Sequence[LedgerRow]]) -> Done:
    """Write judged rows; what changed its outcome is counted.

    A canary that has been pruned keeps the outcome under which it was folded into the totals.
    """
    rows = [row for group in groups for row in group]
    moved: Counter[tuple[str, str, str]] = Counter()
    changes = []
    present: dict[CanaryKey, str | None] = {}
    for row in rows:
        key, after = row.canary.key, row.outcome.value
        before = present[key] if key in present else _outcome(connection, key)
        present[key] = before and after
        if before is None:
            continue
        changes.append({**_key(key), **judged(row)})
        if before != after:
            moved[key.route, before, after] += 1
    if changes:
        connection.execute(_SETTLE, changes)
    counted = [
        {"route": route, "was": before, "became": after, "n": n}
        for (route, before, after), n in moved.items()
    ]
    upsert(connection, TransitionRow, counted, add="n")
    return [None] * len(groups)


def _outcome(connection: Connection, key: CanaryKey) -> str | None:
    """The outcome that a row has; None when it was pruned.

    Raises StoreError for what never was a canary: a number that was given out and has no row any
    more can only have been pruned.
    """
    found: str | None = connection.scalar(_OUTCOME, _key(key))
    if found is None and key.seq > _last_seq(connection, key):
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


def keep_paths(
    connection: Connection, items: Sequence[tuple[str, str, Sequence[PathPast]]]
) -> Done:
    """Write what access paths have answered; of one route the last word counts."""
    newest = {route: (sent_under, paths) for route, sent_under, paths in items}
    connection.execute(delete(PathRow).where(col(PathRow.route).in_(newest)))
    rows = [
        {"route": route, "path": one.path, "sent_under": sent_under, "denials": f"{one.denials:x}",
         "again": f"{one.again:x}", "reads": f"{one.reads:x}",
         "outages": json.dumps(one.outages), "shown": json.dumps(dict(one.shown))}
        for route, (sent_under, paths) in newest.items()
        for one in paths
    ]  # fmt: skip
    if rows:
        connection.execute(insert(PathRow), rows)
    return [None] * len(items)


def beat(connection: Connection, beats: Sequence[tuple[str, Instant]]) -> Done:
    """Say that the service is alive, unless another has taken its place."""
    for holder, at in beats:
        ours = update(InstanceRow).where(col(InstanceRow.holder) == holder).values(beat=at)
        if connection.execute(ours).rowcount != 1:
            raise StoreTakenError("ledger: another service has taken over this database")
    return [None] * len(beats)


def _key(key: CanaryKey) -> dict[str, Any]:
    return {"k_route": key.route, "k_epoch": key.epoch, "k_seq": key.seq}
