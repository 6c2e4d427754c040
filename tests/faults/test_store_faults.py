"""Faults of our own database: it never loses what it acknowledged, and never lies about it."""

import asyncio
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import create_engine, text

from core.clock import instant
from core.errors import StoreBusyError, StoreError, StoreLostError
from core.reason import Reason
from core.result import RunEnvelope, Trust
from core.verdict import Verdict
from paging.store import Action
from scheduler.store import open_reader, open_stores
from scheduler.store.database import Store, place_of, read_engine, translated, write_engine
from scheduler.store.migrate import is_behind
from scheduler.store.retention import Retention
from scheduler.store.writer import Writer
from selfcheck.canary.model import CanaryKey, Outcome
from tests.support.clock import VirtualClock
from tests.support.stores import pending_row, sqlite_folder

# Opens and settles canaries for ever; a line is printed only after the commit is acknowledged.
COMMIT_LOOP = """
import asyncio, sys
from dataclasses import replace
from pathlib import Path
from core.clock import SystemClock
from core.reason import Reason
from scheduler.store import open_stores
from selfcheck.canary.model import CanaryKey, Outcome
from tests.support.stores import pending_row

async def route(ledger, epoch, clock, name):
    seq = 0
    while True:
        seq += 1
        row = pending_row(ledger.instance, CanaryKey(name, epoch.number, seq), clock)
        await ledger.open(row)
        print("open", row.canary.canary_id, flush=True)
        if seq % 2:
            await ledger.settle([replace(row, outcome=Outcome.OK, reason=Reason.OK)])
            print("ok", row.canary.canary_id, flush=True)

async def main():
    clock = SystemClock()
    stores = open_stores(Path(sys.argv[1]), clock)
    epoch = await stores.ledger.begin()
    print("epoch", epoch.number, flush=True)
    await asyncio.gather(*(route(stores.ledger, epoch, clock, f"r{n}") for n in range(8)))

asyncio.run(main())
"""


def killed_after(folder, lines):
    """What a child acknowledged until it was killed after `lines` of it."""
    child = subprocess.Popen(
        [sys.executable, "-c", COMMIT_LOOP, str(folder)], stdout=subprocess.PIPE, text=True
    )
    told = [child.stdout.readline() for _ in range(lines)]
    os.kill(child.pid, signal.SIGKILL)
    told += child.stdout.readlines()
    child.stdout.close()
    assert child.wait() == -signal.SIGKILL
    return [line.split() for line in told if line.endswith("\n")]


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_fault_008_kill_9_at_random_points_loses_nothing_that_was_acknowledged(
    tmp_path, seed
):
    """Every acknowledged row is there, the identity holds, the next epoch is greater."""
    folder, clock = sqlite_folder(tmp_path), VirtualClock()
    told = killed_after(folder, random.Random(seed).randrange(50, 1500))
    stores = open_stores(folder, clock)
    try:
        for word, name in told[1:]:
            row = await stores.ledger.find(name)
            assert row is not None, f"{name} was acknowledged and is gone"
            assert word == "open" or row.outcome is Outcome.OK
        accounts = await stores.ledger.accounts()
        assert len(accounts) == 8
        assert all(account.balanced for account in accounts.values())
        assert (await stores.ledger.begin()).number > int(told[0][1])
    finally:
        stores.close()


async def test_fault_022_a_database_is_whole_after_kill_9_in_a_commit_loop(tmp_path):
    """SQLite's own check of every page finds nothing."""
    folder = sqlite_folder(tmp_path)
    killed_after(folder, 400)
    with sqlite3.connect(folder / "ledger.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


async def test_fault_022_a_damaged_file_is_refused_at_the_start(tmp_path):
    """Pages that are garbage are StoreLostError, never an empty ledger."""
    folder = sqlite_folder(tmp_path)
    with (folder / "ledger.db").open("r+b") as file:
        file.seek(8192)
        file.write(b"\xa5" * 40960)
    with pytest.raises(StoreLostError):
        open_stores(folder, VirtualClock())


async def test_fault_024_a_full_disk_is_an_error_and_old_history_can_still_be_deleted(tmp_path):
    """The write raises StoreError, nothing is half written, and a delete makes room."""
    place = place_of(Store.SAMPLES, sqlite_folder(tmp_path))
    engine = write_engine(place)
    with engine.connect() as connection:
        raw = connection.connection.driver_connection
        pages = raw.execute("PRAGMA page_count").fetchone()[0]
        raw.execute(f"PRAGMA max_page_count = {pages + 4}")
        filler = text("INSERT INTO vitals VALUES (:part, '0 0.0 b', 'ok', :detail)")

        def fill():
            with translated(place):
                for n in range(100):
                    connection.execute(filler, {"part": str(n), "detail": "x" * 4000})
                    connection.commit()

        with pytest.raises(StoreError, match="full"):
            fill()
        connection.rollback()
        connection.execute(text("DELETE FROM vitals"))
        connection.commit()
        connection.execute(filler, {"part": "new", "detail": "x"})
        connection.commit()
    engine.dispose()


async def test_fault_030_a_second_service_is_refused_and_readers_are_free(tmp_path):
    """The lock is on being the service: a reader reads, and appends an action."""
    folder, clock = sqlite_folder(tmp_path), VirtualClock()
    stores = open_stores(folder, clock)
    try:
        with pytest.raises(StoreError, match=f"another Coalmine service.*pid {os.getpid()}"):
            open_stores(folder, clock)
        reader = open_reader(folder, clock)
        action = Action("a1", "ack", "k", "ann", "", None, instant(clock))
        reader.state.append_action(action)
        assert list(await stores.state.actions()) == [action]
        assert reader.ledger.instance == stores.ledger.instance
        with pytest.raises(StoreError, match="for reading"):
            await reader.ledger.begin()
        reader.close()
    finally:
        stores.close()
    open_stores(folder, clock).close()


async def test_fault_030_a_copy_of_a_database_in_use_is_refused(tmp_path):
    """The heartbeat row leads from the copy to the service that holds the original."""
    clock = VirtualClock()
    original, copy = sqlite_folder(tmp_path / "a"), tmp_path / "b"
    stores = open_stores(original, clock)
    await stores.beat()
    shutil.copytree(original, copy)
    with pytest.raises(StoreError, match="is a copy of"):
        open_stores(copy, clock)
    stores.close()
    open_stores(copy, clock).close()


async def test_fault_030_a_backup_put_back_in_its_place_is_no_copy(tmp_path):
    """The file is another one under the same name, and the lock on its folder is ours."""
    clock = VirtualClock()
    folder, backup = sqlite_folder(tmp_path / "a"), tmp_path / "backup"
    stores = open_stores(folder, clock)
    first = (await stores.ledger.begin()).number
    await stores.beat()
    stores.close()
    shutil.copytree(folder, backup)
    lost = open_stores(folder, clock)
    instance, later = lost.ledger.instance, (await lost.ledger.begin()).number
    lost.close()
    # The files of before stay, so that those put back cannot be given their inodes.
    folder.rename(tmp_path / "aside")
    shutil.copytree(backup, folder)
    clock.move(5)
    restored = open_stores(folder, clock)
    assert restored.ledger.instance == instance
    assert (await restored.ledger.begin()).number > later > first
    restored.close()


async def test_fault_030_a_folder_that_is_taken_away_is_told_at_the_next_heartbeat(tmp_path):
    """SQLite goes on writing to files without a name: nothing of it is left after the end."""
    folder, clock = sqlite_folder(tmp_path / "a"), VirtualClock()
    stores = open_stores(folder, clock)
    await stores.beat()
    folder.rename(tmp_path / "aside")
    with pytest.raises(StoreLostError, match="removed or replaced while in use"):
        await stores.beat()
    (tmp_path / "aside").rename(folder)
    await stores.beat()
    stores.close()


async def test_fault_030_a_database_that_another_machine_serves_is_refused(tmp_path, monkeypatch):
    """A fresh heartbeat of another host and boot; a stale one is taken over."""
    folder, clock = sqlite_folder(tmp_path), VirtualClock()
    open_stores(folder, clock).close()
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    clock.reboot("boot-2")
    with pytest.raises(StoreError, match="served this database 0 s ago"):
        open_stores(folder, clock)
    clock.move(31)
    open_stores(folder, clock).close()


async def test_fault_030_a_service_that_was_replaced_stops_at_its_next_heartbeat(tmp_path):
    """A heartbeat row with another holder is StoreLostError."""
    folder, clock = sqlite_folder(tmp_path), VirtualClock()
    stores = open_stores(folder, clock)
    engine = create_engine(f"sqlite:///{folder}/ledger.db")
    with engine.begin() as connection:
        connection.execute(text('UPDATE instance SET holder = \'["h", "b", 1, "", 0]\''))
    engine.dispose()
    with pytest.raises(StoreLostError, match="taken over"):
        await stores.beat()
    stores.close()


async def test_fault_030_ledger_and_state_must_be_of_one_instance(tmp_path):
    """A state file from elsewhere, and a configured instance that is not the stored one."""
    clock = VirtualClock()
    for name in ("a", "b"):
        open_stores(sqlite_folder(tmp_path / name), clock).close()
    shutil.copy(tmp_path / "a" / "state.db", tmp_path / "b" / "state.db")
    with pytest.raises(StoreError, match="one instance"):
        open_stores(tmp_path / "b", clock)
    with pytest.raises(StoreError, match="belongs to instance"):
        open_stores(tmp_path / "a", clock, instance="ffffffff")


async def test_fault_032_a_write_waits_for_another_writer_instead_of_failing(tmp_path):
    """The writer begins IMMEDIATE, so busy_timeout applies: it waits for its turn."""
    folder, clock = sqlite_folder(tmp_path), VirtualClock()
    stores = open_stores(folder, clock)
    other = sqlite3.connect(folder / "ledger.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    begun = asyncio.ensure_future(stores.ledger.begin())
    done, _ = await asyncio.wait({begun}, timeout=0.2)
    assert not done
    other.execute("COMMIT")
    assert (await begun).number > 0
    other.close()
    stores.close()


async def test_fault_032_what_is_not_durable_in_time_is_busy_and_can_be_opened_again(tmp_path):
    """The caller learns it under its deadline; the same number may be used once more."""
    folder, clock = sqlite_folder(tmp_path), VirtualClock()
    stores = open_stores(folder, clock, deadline_s=0.1)
    ledger = stores.ledger
    epoch = await ledger.begin()
    row = pending_row(ledger.instance, CanaryKey("logs", epoch.number, 1), clock)
    other = sqlite3.connect(folder / "ledger.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusyError, match="not durable within"):
        await ledger.open(row)
    other.execute("COMMIT")
    other.close()
    again = replace(row, sent_under="path-2")
    stores.ledger._deadline_s = 5.0
    await ledger.open(again)
    assert list(await ledger.recent("logs", 9)) == [again]
    assert (await ledger.account("logs")).sent == 1
    stores.close()


async def test_fault_032_what_was_not_begun_is_never_written_after_its_deadline(tmp_path):
    """An item still in the queue is taken back when its caller gives up."""
    place = place_of(Store.SAMPLES, sqlite_folder(tmp_path))
    writer, written = Writer(place, write_engine(place)), []

    def step(_connection, items):
        written.extend(items)
        return items

    other = sqlite3.connect(place.file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    held = writer.offer(step, "first")
    while not held.running():
        await asyncio.wait({asyncio.ensure_future(asyncio.to_thread(held.running))})
    with pytest.raises(StoreBusyError):
        await writer.do(step, "second", 0.05)
    other.execute("COMMIT")
    other.close()
    writer.close()
    assert written == ["first"]


def failed_run(clock, n):
    started = instant(clock)
    at = clock.utc() + timedelta(seconds=n)
    trust = Trust(0, 0, 0)
    return RunEnvelope(
        "shop", "http", 1, 7, at, started, started, Verdict.FAIL, Reason.STATUS, "x" * 500, {}, trust
    )  # fmt: skip


async def test_fault_033_retention_killed_midway_goes_on_where_it_stood(tmp_path):
    """Each batch is a transaction: after any number of them the rest is whole."""
    folder, clock = sqlite_folder(tmp_path), VirtualClock()
    rule = Retention(days=1, batch=100)
    stores = open_stores(folder, clock)
    for n in range(450):
        stores.samples.append(failed_run(clock, n))
    await stores.samples.flush()
    clock.move(3 * 86400)
    assert await stores.samples.prune(rule) == 101
    stores.close()
    stores = open_stores(folder, clock)
    assert len(stores.samples.runs("shop", 999)) == 350
    while await stores.samples.prune(rule):
        pass
    assert stores.samples.runs("shop", 999) == []
    stores.close()


async def test_fault_033_history_that_is_too_big_loses_its_oldest_and_the_file_shrinks(tmp_path):
    """Bytes count as well as days."""
    folder, clock = sqlite_folder(tmp_path), VirtualClock()
    stores = open_stores(folder, clock)
    for n in range(2000):
        stores.samples.append(failed_run(clock, n))
    await stores.samples.flush()
    rule = Retention(max_bytes=600_000, batch=200)
    while await stores.samples.prune(rule):
        pass
    kept = stores.samples.runs("shop", 9999)
    assert 100 < len(kept) < 1000
    assert kept[0].scheduled_at == failed_run(clock, 1999).scheduled_at
    stores.close()
    assert (folder / "samples.db").stat().st_size < 700_000


async def test_fault_035_a_newer_schema_is_refused_and_left_as_it_is(tmp_path):
    """An older binary writes nothing to a newer database."""
    folder, clock = sqlite_folder(tmp_path), VirtualClock()
    engine = create_engine(f"sqlite:///{folder}/state.db")
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0999'"))
    engine.dispose()
    before = (folder / "state.db").read_bytes()
    for opening in (open_stores, open_reader):
        with pytest.raises(StoreError, match="newer Coalmine"):
            opening(folder, clock)
    assert (folder / "state.db").read_bytes() == before


async def test_fault_034_a_killed_migration_begins_again(tmp_path):
    """One transaction per step: either the whole schema is there or none of it."""
    place = place_of(Store.LEDGER, tmp_path)
    engine = write_engine(place)
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE canary (half INTEGER)"))
        connection.rollback()
    engine.dispose()
    assert is_behind(place)
    open_stores(tmp_path, VirtualClock()).close()
    assert not is_behind(place)


def test_a_reader_cannot_write(tmp_path):
    place = place_of(Store.LEDGER, sqlite_folder(tmp_path))
    engine = read_engine(place)
    with pytest.raises(StoreError), translated(place), engine.begin() as connection:
        connection.execute(text("DELETE FROM epoch"))
    engine.dispose()
