"""What a row costs: batched Core inserts against `session.add_all`, and group commit."""

import asyncio
import tempfile
import time
from pathlib import Path

from sqlalchemy import insert
from sqlmodel import Session

from core.clock import SystemClock
from scheduler.store import open_stores
from scheduler.store.canary_rows import opened
from scheduler.store.database import Store, place_of, write_engine
from scheduler.store.ledger_tables import CanaryRow
from selfcheck.canary.model import CanaryKey
from tests.support.stores import pending_row

ROWS = 10_000
BATCH = 500
CALLERS = 200
EACH = 20


def run() -> list[str]:
    """One line per figure."""
    with tempfile.TemporaryDirectory() as name:
        folder, clock = Path(name), SystemClock()
        open_stores(folder, clock).close()
        rows = {
            route: [
                opened(pending_row("0123abcd", CanaryKey(route, 1, seq), clock))
                for seq in range(1, ROWS + 1)
            ]
            for route in ("core", "orm")
        }
        engine = write_engine(place_of(Store.LEDGER, folder))
        core_s = _timed(lambda: _by_core(engine, rows["core"]))
        orm_s = _timed(lambda: _by_orm(engine, rows["orm"]))
        engine.dispose()
        return [
            f"batched Core inserts: {_rate(core_s)}",
            f"session.add_all: {_rate(orm_s)}, {orm_s / core_s:.1f} times as much",
            asyncio.run(_group_commit(folder, clock)),
        ]


def _rate(took_s: float) -> str:
    return f"{ROWS / took_s:,.0f} rows/s, {took_s / ROWS * 1e6:.1f} µs a row"


def _timed(work) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _by_core(engine, rows) -> None:
    for start in range(0, len(rows), BATCH):
        with engine.begin() as connection:
            connection.execute(insert(CanaryRow), rows[start : start + BATCH])


def _by_orm(engine, rows) -> None:
    for start in range(0, len(rows), BATCH):
        with Session(engine) as session:
            session.add_all([CanaryRow(**row) for row in rows[start : start + BATCH]])
            session.commit()


async def _group_commit(folder, clock) -> str:
    stores = open_stores(folder, clock)
    epoch, waits = await stores.ledger.begin(), []

    async def caller(n: int) -> None:
        for seq in range(1, EACH + 1):
            key = CanaryKey(f"r{n}", epoch.number, seq)
            row = pending_row(stores.ledger.instance, key, clock)
            began = time.monotonic()
            await stores.ledger.open(row)
            waits.append(time.monotonic() - began)

    began = time.monotonic()
    await asyncio.gather(*map(caller, range(CALLERS)))
    took = time.monotonic() - began
    stores.close()
    waits.sort()
    p50, p99 = (waits[int(len(waits) * share)] * 1e3 for share in (0.5, 0.99))
    rate = len(waits) / took
    return (
        f"group commit, FULL, {CALLERS} callers: {rate:,.0f} durable rows/s, "
        f"wait p50 {p50:.1f} ms, p99 {p99:.1f} ms"
    )


if __name__ == "__main__":
    print("\n".join(run()))
