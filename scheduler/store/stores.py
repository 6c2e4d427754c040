"""Opens the three stores: as the service, which is one at a time, or as a reader."""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import text

from core.clock import Clock
from core.errors import StoreError, StoreLostError
from scheduler.store.canary_rows import Remake, remake
from scheduler.store.database import Place, Store, place_of, read_engine, translated, write_engine
from scheduler.store.ledger import LedgerStore
from scheduler.store.ledger_room import LedgerCaps
from scheduler.store.migrate import is_behind, upgrade
from scheduler.store.reader import Reader
from scheduler.store.samples import SamplesStore
from scheduler.store.service import DatabaseLock, FileLock, Holder, Lock, adopt, claim
from scheduler.store.state import StateStore
from scheduler.store.writer import DEADLINE_S, Writer

# What nobody hurries for waits for company: a commit costs more than what is written in it. History
# is written behind, as nothing is decided by it.
_GATHER_S = {Store.SAMPLES: 1.0, Store.LEDGER: 0.2}


@dataclass(frozen=True, slots=True)
class Stores:
    """The three stores; `close` writes what waits and lets another be the service."""

    ledger: LedgerStore
    state: StateStore
    samples: SamplesStore
    _holder: Holder | None = None
    _last: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    async def beat(self) -> None:
        """Say that the service is alive; to be called every `service.BEAT_S` seconds.

        Raises StoreTakenError when another service has taken over: stop at once. StoreLostError
        when the file is not the one that was opened: what is written to that ends with us.
        """
        if self._holder is None:
            raise StoreError("a reader has no heartbeat")
        if not self._holder.in_place():
            raise StoreLostError(
                f"{self._holder.file}: removed or replaced while in use, nothing is kept any more; "
                "put it back, and start again"
            )
        await self.ledger.beat(self._holder.text())

    def close(self) -> None:
        """Write what waits, end the threads, release the lock."""
        self.ledger.close()
        self.state.close()
        self.samples.close()
        self._last.close()


def open_stores(
    where: Path | str,
    clock: Clock,
    *,
    instance: str = "",
    make: Remake = remake,
    deadline_s: float = DEADLINE_S,
    caps: LedgerCaps | None = None,
) -> Stores:
    """The stores for the service: locked, migrated, checked, claimed.

    where: the data folder (made with mode 0700 when missing), or a PostgreSQL URL.
    instance: the configured one, "" for the stored one, or a new one at the first start.
    caps: how much the ledger keeps.
    Raises StoreError: a folder that cannot be written, another service, a copy of a database in
    use, a newer schema, damage.
    """
    if isinstance(where, Path):
        _usable(where)
    ledger, state, samples = places = [place_of(store, where) for store in Store]
    with contextlib.ExitStack() as opened:
        opened.callback(_lock(where, ledger).release)
        behind = [place for place in places if is_behind(place)]
        if behind:
            upgrade(behind)
        for place in places:
            _check_file(place)
        name, holder = _claim(ledger, state, clock, instance)
        return Stores(
            LedgerStore(
                Reader(ledger, read_engine(ledger)),
                _writer(ledger),
                clock,
                name,
                make,
                deadline_s,
                caps,
            ),
            StateStore(
                state,
                Reader(state, read_engine(state)),
                write_engine(state),
                _writer(state),
                clock,
                deadline_s,
            ),
            SamplesStore(Reader(samples, read_engine(samples)), _writer(samples), clock),
            holder,
            opened.pop_all(),
        )


def open_reader(where: Path | str, clock: Clock, *, make: Remake = remake) -> Stores:
    """The stores for the command line and the terminal: no lock, no migration.

    Only actions can be appended. Raises StoreError when there is nothing to read yet, or the
    schema is not the one this program knows.
    """
    ledger, state, samples = places = [place_of(store, where) for store in Store]
    for place in places:
        if is_behind(place):
            raise StoreError(f"{place}: no such database yet; `coalmine run` makes it")
    store = LedgerStore(Reader(ledger, read_engine(ledger)), None, clock, "", make)
    known = store.holder()
    store.instance = known.instance if known else ""
    return Stores(
        store,
        StateStore(state, Reader(state, read_engine(state)), write_engine(state), None, clock),
        SamplesStore(Reader(samples, read_engine(samples)), None, clock),
    )


def _usable(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise StoreError(f"{folder}: cannot be the data folder: {exc.strerror}") from exc
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StoreError(f"{folder}: cannot be the data folder: it is not writable")


def _lock(where: Path | str, ledger: Place) -> Lock:
    return (
        FileLock(where) if isinstance(where, Path) else DatabaseLock(write_engine(ledger), ledger)
    )


def _writer(place: Place) -> Writer:
    return Writer(place, write_engine(place), gather_s=_GATHER_S.get(place.store, 0.0))


def _claim(ledger: Place, state: Place, clock: Clock, wanted: str) -> tuple[str, Holder]:
    engines = write_engine(ledger), write_engine(state)
    try:
        name, holder = claim(engines[0], ledger, clock, wanted)
        adopt(engines[1], state, name)
    finally:
        for engine in engines:
            engine.dispose()
    return name, holder


def _check_file(place: Place) -> None:
    """SQLite's own check of the whole file, at every start."""
    if place.file is None:
        return
    engine = read_engine(place)
    try:
        with translated(place), engine.connect() as connection:
            told: Sequence[str] = connection.execute(text("PRAGMA quick_check(5)")).scalars().all()
    finally:
        engine.dispose()
    if list(told) != ["ok"]:
        raise StoreLostError(f"{place}: damaged ({told[0]}); restore a backup")
