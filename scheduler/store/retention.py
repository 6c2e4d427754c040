"""How much history is kept: days or bytes, whichever ends first; deleted in small batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, select, tuple_
from sqlmodel import SQLModel, col

from scheduler.store.samples_tables import HopWindowRow, MeterHourRow, RunPackRow, RunRow

_GIB = 1 << 30
_VACUUM_PAGES = 2000
_PAGES = (
    "SELECT page_count, freelist_count, page_size"
    " FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
)


@dataclass(frozen=True, slots=True)
class Retention:
    """`max_bytes` counts live pages of the SQLite file; on PostgreSQL only days count."""

    days: float = 14.0
    meter_days: float = 400.0
    max_bytes: int = 2 * _GIB
    batch: int = 1000


# Any: a column of whatever type; the oldest rows go first by it.
_HISTORY: tuple[tuple[type[SQLModel], Any], ...] = (
    (RunRow, RunRow.scheduled_at),
    (RunPackRow, RunPackRow.hour),
    (HopWindowRow, HopWindowRow.ended),
)


def prune_once(connection: Connection, orders: Sequence[tuple[Retention, datetime]]) -> list[int]:
    """One batch of each table: what is too old, then, when too big, the oldest of all."""
    return [_prune(connection, retention, now) for retention, now in orders]


def _prune(connection: Connection, retention: Retention, now: datetime) -> int:
    cutoff = now - timedelta(days=retention.days)
    gone = sum(_delete(connection, table, at, retention.batch, cutoff) for table, at in _HISTORY)
    meter_cutoff = now - timedelta(days=retention.meter_days)
    gone += _delete(connection, MeterHourRow, MeterHourRow.hour, retention.batch, meter_cutoff)
    if not gone and live_bytes(connection) > retention.max_bytes:
        gone = sum(_delete(connection, table, at, retention.batch) for table, at in _HISTORY)
    if gone and connection.dialect.name == "sqlite":
        give_back(connection)
    return gone


def give_back(connection: Connection) -> None:
    """Return freed pages to the file system, so many that the writer is not held up for long."""
    free = int(connection.exec_driver_sql("PRAGMA freelist_count").scalar_one())
    for _ in range(min(free, _VACUUM_PAGES)):
        # The driver steps a statement without columns only once, and each step is one page.
        connection.exec_driver_sql("PRAGMA incremental_vacuum")


def live_bytes(connection: Connection) -> int:
    """Bytes of the pages in use; 0 on PostgreSQL, whose size only its own vacuum decides."""
    if connection.dialect.name != "sqlite":
        return 0
    pages, free, size = connection.exec_driver_sql(_PAGES).one()
    return (int(pages) - int(free)) * int(size)


def _delete(
    connection: Connection,
    table: type[SQLModel],
    at: Any,
    batch: int,
    before: datetime | None = None,
) -> int:
    # Any: a column of whatever type.
    core_table = table.__table__  # type: ignore[attr-defined]  # SQLModel does not declare it
    keys = list(core_table.primary_key.columns)
    oldest = select(*keys).order_by(col(at)).limit(batch)
    if before is not None:
        oldest = oldest.where(col(at) < before)
    return connection.execute(delete(table).where(tuple_(*keys).in_(oldest))).rowcount
