"""What the ledger holds: bytes of a canary at 200 routes every 10 s, and how far 200 MB reach."""

import asyncio
import tempfile
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from core.clock import Instant, instant
from core.reason import Reason
from scheduler.store import open_stores
from scheduler.store.ledger_room import LedgerCaps
from selfcheck.canary.model import CanaryKey, LedgerRow, Look, Outcome, Receipt, Sent
from selfcheck.canary.recheck.plan import Pace, ages_of, first_recheck
from tests.support.clock import VirtualClock
from tests.support.stores import pending_row

ROUTES, EVERY_S = 200, 10.0
CANARIES = 60
RETENTION_S = 30 * 86400.0
BOOT = "6b6f3b8e-5a43-4f5e-9a39-0a7d0a3c2f10"
RECEIPT = Receipt(Sent.ACCEPTED, Reason.OK, "200", 1, Sent.ACCEPTED, 0.0123, 612, False)


def run() -> list[str]:
    """One line per figure."""
    with tempfile.TemporaryDirectory() as name:
        return asyncio.run(_measured(Path(name)))


async def _measured(folder: Path) -> list[str]:
    clock = VirtualClock()
    clock.reboot(BOOT)
    stores = open_stores(folder, clock, instance="0123abcd")
    ledger = stores.ledger
    empty = (await ledger.room()).used_bytes
    epoch = (await ledger.begin()).number
    began, chosen = time.process_time(), []
    for seq in range(1, CANARIES + 1):
        rows = [_row(f"prod-route-{n:03d}", epoch, seq, clock) for n in range(ROUTES)]
        await asyncio.gather(*(ledger.open(row) for row in rows))
        await asyncio.gather(*(ledger.receive(row.canary.key, RECEIPT) for row in rows))
        clock.move(EVERY_S)
        rows = [_judged(row, instant(clock)) for row in rows]
        await asyncio.gather(*(ledger.settle([row]) for row in rows))
        chosen += rows
    cpu_s = time.process_time() - began
    count = CANARIES * ROUTES
    full = (await ledger.room()).used_bytes
    row_bytes = (full - empty) / count
    pace, ages = Pace(60, EVERY_S), ages_of(RETENTION_S)
    planned = [item for row in chosen if (item := first_recheck(row, ages, Pace(1, 3600.0)))]
    planned = planned[:10_000]
    await ledger.rechecks.plan(planned)
    recheck_bytes = ((await ledger.room()).used_bytes - full) / len(planned)
    waiting = sum(age.after_s / pace.gap_s(age.after_s) for age in ages)
    settled_a_day = sum(86400 / pace.gap_s(age.after_s) for age in ages)
    kept = ROUTES * (waiting + settled_a_day)
    caps = LedgerCaps()
    room = caps.max_bytes * caps.begin_share - kept * recheck_bytes
    hours = room / row_bytes / (ROUTES / EVERY_S) / 3600
    ledger.caps = replace(caps, max_bytes=full // 2)
    began, batches = time.monotonic(), 0
    while not (await ledger.make_room()).done:
        batches += 1
    batch_s = (time.monotonic() - began) / max(1, batches)
    began = time.monotonic()
    await ledger.rechecks.prune()
    prune_s = time.monotonic() - began
    began = time.monotonic()
    for n in range(20):
        await ledger.rechecks.candidates(f"prod-route-{n:03d}", None, 60, 1, 100)
        await ledger.rechecks.waiting(f"prod-route-{n:03d}", 100)
        await ledger.rechecks.accounts(f"prod-route-{n:03d}")
    step_s = (time.monotonic() - began) / 20
    stores.close()
    size = (folder / "ledger.db").stat().st_size
    return [
        f"a judged canary with receipt and 2 looks: {row_bytes:,.0f} B in the file",
        f"its three commits: {cpu_s / count * 1e6:,.0f} µs CPU",
        f"at {ROUTES} routes every {EVERY_S:g} s and a retention of 30 d:",
        f"  {kept:,.0f} rechecks of {recheck_bytes:,.0f} B: {kept * recheck_bytes / 1e6:,.0f} MB",
        f"  {caps.max_bytes / 1e6:,.0f} MB hold {hours:,.1f} h of canaries beside them",
        f"a batch of {caps.batch} canaries folded in {batch_s * 1e3:,.0f} ms",
        f"settled rechecks pruned in {prune_s * 1e3:,.0f} ms",
        f"what one route's recheck step asks for: {step_s * 1e3:,.1f} ms",
        f"the file after pruning half of it: {size / 1e6:,.1f} MB of {full / 1e6:,.1f} MB",
    ]


def _row(route: str, epoch: int, seq: int, clock: VirtualClock) -> LedgerRow:
    row = pending_row("0123abcd", CanaryKey(route, epoch, seq), clock)
    return replace(row, sent_under="0f1e2d3c4b5a6978")


def _judged(row: LedgerRow, now: Instant) -> LedgerRow:
    looks = (
        Look(1.0213, "by_id", True, False, Reason.OK, ""),
        Look(3.1877, "by_id", True, True, Reason.OK, ""),
    )
    seen = Instant(now.utc + timedelta(microseconds=13), now.boot_id, now.boot_s)
    return replace(
        row, receipt=RECEIPT, outcome=Outcome.OK, reason=Reason.OK, judged=seen, seen=seen,
        delay_s=3.1877124, copies=1, first_path="by_id", hop_stamps={}, looks=looks,
    )  # fmt: skip


if __name__ == "__main__":
    print("\n".join(run()))
