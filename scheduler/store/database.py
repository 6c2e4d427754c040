"""Engines and transactions of one store, and our errors for those of the drivers.

SQLite: WAL, one file of mode 0600 a store, writes begin IMMEDIATE, because a read transaction
that turns into a write fails at once and knows no busy time-out. PostgreSQL: one schema a store.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    Insert,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlmodel import SQLModel

from core.errors import StoreBusyError, StoreError, StoreLostError

BUSY_MS = 5000
# Of each connection; the system keeps the file's pages as well. Only the ledger's writer goes back
# to pages all over its file and has SQLite's own 2 MiB.
_CACHE_KIB = 256
_WAL_CAP_BYTES = 64 << 20
_BUSY = ("locked", "busy", "lock timeout", "deadlock", "could not serialize")
_LOST = ("malformed", "not a database", "disk i/o error", "unable to open", "readonly database")


class Store(StrEnum):
    """The three stores."""

    LEDGER = "ledger"
    STATE = "state"
    SAMPLES = "samples"


@dataclass(frozen=True, slots=True)
class Place:
    """Where one store is: an SQLite file, or a schema of a PostgreSQL database."""

    store: Store
    url: URL

    @property
    def file(self) -> Path | None:
        """The SQLite file; None on PostgreSQL."""
        name = self.url.database if self.url.get_backend_name() == "sqlite" else None
        return Path(name) if name else None

    def __str__(self) -> str:
        """Safe to show: without a password."""
        return str(self.file or self.url.render_as_string(hide_password=True))


def place_of(store: Store, where: Path | str) -> Place:
    """The place of `store` under a data folder, or in the PostgreSQL database of a URL.

    Raises StoreError for any other URL.
    """
    if isinstance(where, Path):
        file = where.resolve() / f"{store}.db"
        return Place(store, URL.create("sqlite", database=str(file)))
    try:
        url = make_url(where)
    except SQLAlchemyError as exc:
        raise StoreError("database.url: not a URL") from exc
    if url.get_backend_name() != "postgresql":
        raise StoreError(f"database.url: {url.get_backend_name()} is not supported, use postgresql")
    return Place(store, url.set(drivername="postgresql+psycopg"))


def write_engine(place: Place) -> Engine:
    """For the store's writer and for short appends from other processes."""
    return _engine(place, write=True)


def read_engine(place: Place) -> Engine:
    """For snapshots: cannot write, and is never held up by the writer."""
    return _engine(place, write=False)


def _engine(place: Place, *, write: bool) -> Engine:
    if place.file is not None:
        engine = create_engine(place.url, connect_args={"timeout": BUSY_MS / 1000}, max_overflow=8)
        _prepare_sqlite(engine, place, write=write)
        return engine
    options = f"-csearch_path={place.store} -clock_timeout={BUSY_MS}"
    if place.store is Store.SAMPLES:
        options += " -csynchronous_commit=off"
    if not write:
        options += " -cdefault_transaction_read_only=on"
    return create_engine(
        place.url,
        connect_args={"options": options, "connect_timeout": 5},
        isolation_level="READ COMMITTED" if write else "REPEATABLE READ",
        pool_pre_ping=not write,
    )


def _prepare_sqlite(engine: Engine, place: Place, *, write: bool) -> None:
    level = "NORMAL" if place.store is Store.SAMPLES else "FULL"
    file = place.file

    def connected(connection: sqlite3.Connection, _record: object) -> None:
        # The driver would begin by itself, too late and DEFERRED.
        connection.isolation_level = None
        if write:
            # Holds only for a file without a page; later it would but rewrite the header.
            if not connection.execute("PRAGMA page_count").fetchone()[0]:
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA journal_size_limit = {_WAL_CAP_BYTES}")
        connection.execute(f"PRAGMA synchronous = {level}")
        connection.execute("PRAGMA foreign_keys = ON")
        if not write:
            connection.execute("PRAGMA query_only = ON")
        if not write or place.store is not Store.LEDGER:
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")

    def begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    if write and file is not None and not file.exists():
        # SQLite gives the -wal and -shm files the mode of their database.
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)


@contextlib.contextmanager
def translated(place: Place) -> Iterator[None]:
    """Turns the drivers' errors into StoreError, StoreBusyError or StoreLostError."""
    try:
        yield
    except DBAPIError as exc:
        raise _ours(place, exc) from exc
    except SQLAlchemyError as exc:
        raise StoreError(f"{place}: {type(exc).__name__}: {exc}") from exc


def _ours(place: Place, exc: DBAPIError) -> StoreError:
    text = str(exc.orig).strip()
    told = f"{place}: {text}"
    lower = text.lower()
    if any(word in lower for word in _BUSY):
        return StoreBusyError(told)
    lost = exc.connection_invalidated or any(word in lower for word in _LOST)
    if lost or "connection" in lower:
        return StoreLostError(told)
    return StoreError(told)


def upsert(
    connection: Connection,
    table: type[SQLModel],
    rows: list[dict[str, Any]],
    *,
    add: str = "",
    ignore: bool = False,
) -> None:
    """Insert rows, replacing those whose primary key exists.

    add: this column is added up instead of replaced. ignore: what exists stays as it is.
    The values are of whatever types the columns have.
    """
    if not rows:
        return
    names = tuple(rows[0])
    connection.execute(_upsert(connection.dialect.name, table, names, add, ignore), rows)


@lru_cache(maxsize=64)
def _upsert(
    dialect: str, table: type[SQLModel], names: tuple[str, ...], add: str, ignore: bool
) -> Insert:
    # Any: the two dialects' inserts have no common type with what is used of them.
    statement: Any = (postgresql.insert if dialect == "postgresql" else sqlite.insert)(table)
    core_table = statement.table
    keys = [column.name for column in core_table.primary_key.columns]
    rest = {name: statement.excluded[name] for name in names if name not in keys}
    if add:
        rest[add] = core_table.c[add] + statement.excluded[add]
    built: Insert = (
        statement.on_conflict_do_nothing()
        if ignore or not rest
        else statement.on_conflict_do_update(index_elements=keys, set_=rest)
    )
    return built
