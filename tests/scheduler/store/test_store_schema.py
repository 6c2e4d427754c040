"""The migrations make exactly the tables that the program knows, on both databases."""

import stat
from contextlib import contextmanager

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from core.errors import StoreError
from scheduler.store import open_stores
from scheduler.store.database import Store, place_of, read_engine
from scheduler.store.ledger_tables import LedgerTable
from scheduler.store.migrate import _SCRIPTS, HEADS, migrate, revision
from scheduler.store.samples_tables import SamplesTable
from scheduler.store.state_tables import StateTable
from tests.support.clock import VirtualClock
from tests.support.stores import empty_postgres_url, postgres_url, sqlite_folder

TABLES = {Store.LEDGER: LedgerTable, Store.STATE: StateTable, Store.SAMPLES: SamplesTable}


@contextmanager
def connected(place):
    engine = read_engine(place)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.mark.parametrize("store", list(Store))
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_the_migrated_schema_is_the_one_of_the_tables(tmp_path, store, database):
    where = sqlite_folder(tmp_path) if database == "sqlite" else postgres_url()
    with connected(place_of(store, where)) as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, TABLES[store].metadata) == []


@pytest.mark.parametrize("store", list(Store))
def test_the_known_revision_is_the_newest_script(store):
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.set_main_option("version_locations", str(_SCRIPTS / "versions" / store))
    config.set_main_option("path_separator", "newline")
    assert ScriptDirectory.from_config(config).get_current_head() == HEADS[store]


def test_files_are_for_their_owner_only(tmp_path):
    folder = tmp_path / "data"
    stores = open_stores(folder, VirtualClock())
    files = sorted(folder.iterdir())
    assert {"ledger.db", "state.db", "samples.db", "service.lock"} <= {one.name for one in files}
    assert {stat.S_IMODE(one.stat().st_mode) for one in files} == {0o600}
    stores.close()


@pytest.mark.parametrize(
    ("store", "level"), [(Store.LEDGER, 2), (Store.STATE, 2), (Store.SAMPLES, 1)]
)
def test_the_pragmas_are_those_that_were_promised(tmp_path, store, level):
    with connected(place_of(store, sqlite_folder(tmp_path))) as connection:
        asked = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "auto_vacuum")
        told = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in asked]
    assert told == ["wal", level, 1, 5000, 2]


def test_an_upgrade_of_an_existing_file_copies_it_first(tmp_path, monkeypatch):
    place = place_of(Store.LEDGER, sqlite_folder(tmp_path))
    monkeypatch.setitem(HEADS, Store.LEDGER, "0004")
    migrate(place)
    copy = tmp_path / "ledger.db.before-0004-from-0003"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert revision(place) == "0003"


def test_a_failed_migration_says_why(tmp_path):
    (tmp_path / "state.db").write_bytes(b"this is no database, whatever its name may say")
    with pytest.raises(StoreError, match="not a database"):
        open_stores(tmp_path, VirtualClock())


def test_an_unsupported_database_is_named():
    with pytest.raises(StoreError, match="mysql is not supported"):
        place_of(Store.LEDGER, "mysql://127.0.0.1/x")


def test_a_second_service_on_one_postgres_database_is_refused():
    clock, url = VirtualClock(), empty_postgres_url()
    stores = open_stores(url, clock)
    with pytest.raises(StoreError, match="another Coalmine service"):
        open_stores(url, clock)
    stores.close()
    open_stores(url, clock).close()
