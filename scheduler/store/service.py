"""Who may be the service: one at a time on a database, and none on a copy of one in use.

The lock is on *being the service*; readers and those who append actions never take it.
"""

import contextlib
import fcntl
import json
import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, Engine, insert, select, text, update

from core.clock import Clock, Instant, instant
from core.errors import StoreError
from scheduler.store.database import Place, translated
from scheduler.store.ledger_tables import InstanceRow
from scheduler.store.state_tables import StateInstanceRow

BEAT_S = 10.0
STALE_S = 30.0
_LOCK_NUMBER = 0x636F616C  # "coal"


class Lock(Protocol):
    """Held until `release`, or until the process ends in whatever way."""

    def release(self) -> None:
        """Let another be the service."""
        ...


class FileLock(Lock):
    """A lock file beside the SQLite files; its text says who holds it."""

    def __init__(self, folder: Path) -> None:
        """Raises StoreError, naming the holder, when another process is the service."""
        self.path = folder / "service.lock"
        self._file = os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            holder = os.read(self._file, 100).decode(errors="replace").strip() or "unknown"
            os.close(self._file)
            raise StoreError(
                f"{folder}: another Coalmine service runs on this data folder (pid {holder}); "
                "stop it, or give this one its own data_dir"
            ) from exc
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Close the file, and with it the lock."""
        os.close(self._file)


class DatabaseLock(Lock):
    """A PostgreSQL advisory lock, held by a connection of its own."""

    def __init__(self, engine: Engine, place: Place) -> None:
        """Raises StoreError when another process holds it."""
        self._engine = engine
        with translated(place):
            self._connection: Connection = engine.connect()
            taken = self._connection.scalar(
                text("SELECT pg_try_advisory_lock(:number)"), {"number": _LOCK_NUMBER}
            )
            self._connection.commit()
        if not taken:
            self.release()
            raise StoreError(
                f"{place}: another Coalmine service runs on this database; "
                "stop it, or give this one its own database"
            )

    def release(self) -> None:
        """Close the session, and with it the lock."""
        self._connection.close()
        self._engine.dispose()


@dataclass(frozen=True, slots=True)
class Holder:
    """Who serves a ledger, as its heartbeat row says: machine, boot, process, and the file."""

    host: str
    boot_id: str
    pid: int
    file: str
    inode: int

    def text(self) -> str:
        """As it is stored."""
        return json.dumps([self.host, self.boot_id, self.pid, self.file, self.inode])

    def in_place(self) -> bool:
        """Whether the file, if there is one, still is the one that was opened."""
        try:
            return not self.file or Path(self.file).stat().st_ino == self.inode
        except OSError:
            return False

    @classmethod
    def read(cls, stored: str) -> "Holder":
        """What `text` wrote."""
        return cls(*json.loads(stored))


def holder_of(place: Place, clock: Clock) -> Holder:
    """This process as the service of `place`."""
    file = place.file
    inode = file.stat().st_ino if file else 0
    return Holder(socket.gethostname(), clock.boot_id, os.getpid(), str(file or ""), inode)


def claim(engine: Engine, place: Place, clock: Clock, wanted: str) -> tuple[str, Holder]:
    """Become the service of a ledger whose lock is held; the instance and this holder.

    wanted: the configured instance, "" for the stored one or a new one. Raises StoreError when it
    is not the stored one, and when the heartbeat says that this database is a copy of one in use.
    """
    ours = holder_of(place, clock)
    with translated(place), engine.begin() as connection:
        known = connection.execute(select(InstanceRow)).first()
        now = instant(clock)
        if known is None:
            name = wanted or secrets.token_hex(4)
            row = {"one": 1, "instance": name, "holder": ours.text(), "beat": now}
            connection.execute(insert(InstanceRow), row)
            return name, ours
        _agree(place, str(known.instance), wanted)
        _refuse_copy(place, Holder.read(known.holder), ours, known.beat, now)
        connection.execute(update(InstanceRow).values(holder=ours.text(), beat=now))
        return str(known.instance), ours


def adopt(engine: Engine, place: Place, instance: str) -> None:
    """Tie the state store to the ledger's instance. Raises StoreError when it has another."""
    with translated(place), engine.begin() as connection:
        known = connection.execute(select(StateInstanceRow)).first()
        if known is None:
            connection.execute(insert(StateInstanceRow), {"one": 1, "instance": instance})
        else:
            _agree(place, str(known.instance), instance)


def _agree(place: Place, stored: str, wanted: str) -> None:
    if wanted and wanted != stored:
        raise StoreError(
            f"{place}: belongs to instance {stored}, not {wanted}; "
            "ledger and state must be of one instance"
        )


def _refuse_copy(
    place: Place, last: Holder, ours: Holder, beat: Instant | None, now: Instant
) -> None:
    if beat is None or last == ours:
        return
    if last.boot_id == ours.boot_id:
        if (last.file, last.inode) == (ours.file, ours.inode):
            return
        # The lock of this folder is ours, so that a file put back in its place is no copy.
        moved = last.file and last.file != ours.file
        if moved and is_served(Path(last.file).parent):
            raise StoreError(
                f"{place}: is a copy of {last.file}, which pid {last.pid} is serving; "
                "two services of one instance would take each other's canaries for their own"
            )
        if moved or last.host == ours.host:
            return
    silent_s = (now.utc - beat.utc).total_seconds()
    if last.host != ours.host and silent_s < STALE_S:
        raise StoreError(
            f"{place}: {last.host} served this database {silent_s:.0f} s ago; "
            f"stop it there, and start again after {STALE_S:g} s"
        )


def is_served(folder: Path) -> bool:
    """Whether a service holds the lock of `folder`. Raises OSError when it cannot be asked."""
    with contextlib.suppress(FileNotFoundError):
        handle = os.open(folder / "service.lock", os.O_RDONLY)
        try:
            # Shared, so that two who ask do not take each other for a service.
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
    return False
