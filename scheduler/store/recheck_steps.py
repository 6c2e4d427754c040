"""What the ledger's writer does for rechecks; nothing here touches a canary's own row."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, exists, func, select, tuple_, update
from sqlmodel import col

from core.errors import StoreError
from scheduler.store.database import upsert
from scheduler.store.ledger_tables import CanaryRow, RecheckDueRow, RecheckRow, RecheckTotalRow
from scheduler.store.recheck_rows import changed, planned
from selfcheck.canary.recheck.model import WAITING, Recheck, RecheckKey, RecheckState
from selfcheck.canary.recheck.tally import REMEMBERED

Done = Sequence[None]
# The newest settled rechecks of a route and age are what its verdict is made of.
KEPT_ROWS = REMEMBERED
KEPT_DAYS = 1.0
_BY_KEY = and_(
    col(RecheckRow.route) == bindparam("k_route"),
    col(RecheckRow.epoch) == bindparam("k_epoch"),
    col(RecheckRow.seq) == bindparam("k_seq"),
    col(RecheckRow.age) == bindparam("k_age"),
)


@dataclass(frozen=True, slots=True)
class Settlement:
    """What is written together: rechecks as they are now, and those that follow."""

    changed: Sequence[Recheck]
    more: Sequence[Recheck]


def plan(connection: Connection, groups: Sequence[Sequence[Recheck]]) -> Done:
    """Keep planned rechecks; one that is kept already stays as it is."""
    for items in groups:
        upsert(connection, RecheckRow, [planned(item) for item in items], ignore=True)
    return [None] * len(groups)


def settle(connection: Connection, orders: Sequence[Settlement]) -> Done:
    """Write what changed, count what has become due, keep what follows."""
    for order in orders:
        due: Counter[tuple[str, str]] = Counter()
        for item in order.changed:
            was = connection.scalar(select(RecheckRow.state).where(_BY_KEY), _key(item.key))  # type: ignore[call-overload]  # a column, to SQLAlchemy
            if was is None or RecheckState(was) not in WAITING:
                raise StoreError(f"{item.key}: no such recheck waits")
            if was == RecheckState.PLANNED and item.state is not RecheckState.PLANNED:
                due[item.canary.key.route, item.age] += 1
        columns: dict[str, Any] = {name: bindparam(name) for name in changed(order.changed[0])}
        rows = [{**_key(item.key), **changed(item)} for item in order.changed]
        connection.execute(update(RecheckRow).where(_BY_KEY).values(columns), rows)
        counted = [{"route": route, "age": age, "n": n} for (route, age), n in due.items()]
        upsert(connection, RecheckDueRow, counted, add="n")
        plan(connection, [order.more])
    return [None] * len(orders)


def prune(connection: Connection, orders: Sequence[tuple[datetime, int]]) -> list[int]:
    """Fold settled rechecks into totals, one batch an order; how many there were.

    Kept are the newest of each route and age, those of the last day, and all whose canary is
    still in the ledger: a canary without any would be chosen once more.
    """
    return [_prune(connection, now, limit) for now, limit in orders]


def _prune(connection: Connection, now: datetime, limit: int) -> int:
    order = col(RecheckRow.judged_utc).desc()
    ranked = (
        select(  # type: ignore[call-overload]  # columns, to SQLAlchemy
            RecheckRow.route,
            RecheckRow.epoch,
            RecheckRow.seq,
            RecheckRow.age,
            RecheckRow.state,
            RecheckRow.judged_utc,
            func.row_number()
            .over(partition_by=(RecheckRow.route, RecheckRow.age), order_by=order)
            .label("rank"),
        )
        .where(col(RecheckRow.state).not_in([state.value for state in WAITING]))
        .subquery()
    )
    held = exists().where(
        col(CanaryRow.route) == ranked.c.route,
        col(CanaryRow.epoch) == ranked.c.epoch,
        col(CanaryRow.seq) == ranked.c.seq,
    )
    old = connection.execute(
        select(ranked)
        .where(
            ranked.c.rank > KEPT_ROWS, ranked.c.judged_utc < now - timedelta(days=KEPT_DAYS), ~held
        )
        .limit(limit)
    ).all()
    totals = Counter((row.route, row.age, row.state) for row in old)
    counted = [
        {"route": route, "age": age, "state": state, "n": n}
        for (route, age, state), n in totals.items()
    ]
    upsert(connection, RecheckTotalRow, counted, add="n")
    if old:
        keys = [(row.route, row.epoch, row.seq, row.age) for row in old]
        table = (RecheckRow.route, RecheckRow.epoch, RecheckRow.seq, RecheckRow.age)
        connection.execute(delete(RecheckRow).where(tuple_(*table).in_(keys)))
    return len(old)


def _key(key: RecheckKey) -> dict[str, object]:
    canary = key.canary
    return {
        "k_route": canary.route, "k_epoch": canary.epoch, "k_seq": canary.seq, "k_age": key.age
    }  # fmt: skip
