"""A ledger of every earlier schema, with data, is brought forward and reads the same."""

import json
from dataclasses import asdict, replace

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text

from core.clock import instant
from core.reason import Reason
from scheduler.store import open_stores
from scheduler.store.canary_rows import opened
from scheduler.store.columns import to_us, write_instant
from scheduler.store.database import Store, place_of, write_engine
from scheduler.store.migrate import _SCRIPTS, revision
from selfcheck.canary.model import CanaryKey, Outcome, Receipt, Sent, Signal
from tests.support.clock import VirtualClock
from tests.support.stores import empty_postgres_url, pending_row

INSTANCE = "0123abcd"
RECEIPT = Receipt(Sent.ACCEPTED, Reason.OK, "200", 1, Sent.ACCEPTED, 0.01, 321, False)
# The columns of schema 1.
FIRST = (
    "route, epoch, seq, canary_id, signal, beat, stamp_ns, trace_id, service_name, keep,"
    " sent_utc, sent_boot, sent_boot_s, sent_under, deadline_s, receipt, outcome, reason, judged,"
    " seen, delay_s, copies, empty_read, empty_path, diff, first_path, hop_stamps"
)


def at_revision(place, number):
    """A store as that schema had it."""
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.set_main_option("version_locations", str(_SCRIPTS / "versions" / place.store))
    config.set_main_option("path_separator", "newline")
    config.attributes["place"] = place
    command.upgrade(config, number)


def written(row):
    """The values of a row as schema 1 stored them."""
    columns = {**opened(row), "receipt": json.dumps(asdict(row.receipt)) if row.receipt else None}
    return {
        name: to_us(value) if name == "sent_utc"
        else write_instant(value) if name in {"judged", "seen", "empty_read"} and value
        else value
        for name, value in columns.items()
        if name in FIRST.split(", ")
    }  # fmt: skip


def rows_of(clock):
    """One of each signal under way, and one judged with everything that can be known."""
    under_way = [
        pending_row(INSTANCE, CanaryKey("r", 1, seq), clock, signal)
        for seq, signal in enumerate(Signal, 1)
    ]
    full = replace(
        pending_row(INSTANCE, CanaryKey("r", 1, 4), clock), receipt=RECEIPT, outcome=Outcome.LATE,
        reason=Reason.LATE, judged=instant(clock), seen=instant(clock), delay_s=3.25, copies=2,
        empty_read=instant(clock), empty_path="by id", diff="ä", first_path="search",
        hop_stamps={"gateway": "2026-11-21T03:12:44Z"},
    )  # fmt: skip
    return [*under_way, full]


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
async def test_canaries_of_schema_1_come_forward_as_they_were(tmp_path, database):
    clock = VirtualClock()
    where = tmp_path if database == "sqlite" else empty_postgres_url()
    place = place_of(Store.LEDGER, where)
    at_revision(place, "0001")
    rows = rows_of(clock)
    engine = write_engine(place)
    holes = ", ".join(f":{name.strip()}" for name in FIRST.split(","))
    with engine.begin() as connection:
        for row in rows:
            connection.execute(text(f"INSERT INTO canary ({FIRST}) VALUES ({holes})"), written(row))
        connection.execute(text("INSERT INTO route VALUES ('r', 1, 9)"))
        connection.execute(text("INSERT INTO canary_day VALUES ('r', '2026-11-20', 'ok', 5)"))
        connection.execute(
            text('INSERT INTO instance VALUES (1, :name, \'["h", "b", 1, "", 0]\', NULL)'),
            {"name": INSTANCE},
        )
    engine.dispose()
    stores = open_stores(where, clock)
    assert revision(place) == "0003"
    assert list(await stores.ledger.recent("r", 9))[::-1] == rows
    account = await stores.ledger.account("r")
    assert (account.sent, account.balanced) == (9, True)
    # And go on as rows of this schema.
    await stores.ledger.settle([replace(rows[0], outcome=Outcome.OK, reason=Reason.OK)])
    stores.close()
    if database == "sqlite":
        assert (tmp_path / "ledger.db.before-0003-from-0001").exists()
