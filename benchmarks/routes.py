"""200 routes every 10 s: memory, CPU, reads, lateness, the ledger's growth, the identity.

The service is a process of its own, the built-in gateway and store another; a third of the routes
each logs, metrics and traces, every other one through the gateway, on default judging times.
Memory and CPU are those of /proc for the service alone; reads are counted by the store, lateness
by the ledger; runs and the identity are told by /metrics, which is scraped every 15 s as in
production: what a scrape costs is in the figures. The service takes over a ledger with nearly three
hours of judged canaries of each route, as one does that has run for long; the window begins once it
has seen more. BENCH_MINUTES is its length, BENCH_PAST the canaries a route.
"""

import os
import sqlite3
import statistics
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import insert

from benchmarks._running import (
    Running,
    cpu_s,
    load,
    p99,
    rss_mib,
    samples,
    scrape,
    states,
)
from coalmine.demo.ports import free_port
from coalmine.demo.processes import Process
from core.clock import Instant, SystemClock
from core.errors import CoalmineError
from core.reason import Reason
from scheduler.store import open_stores
from scheduler.store.canary_rows import opened
from scheduler.store.database import Store, place_of, write_engine
from scheduler.store.ledger_room import LedgerCaps
from scheduler.store.ledger_tables import CanaryRow, RouteRow
from selfcheck.canary.model import CanaryKey, LedgerRow, Look, Outcome, Receipt, Sent, Signal
from tests.support.stores import pending_row

ROUTES, EVERY_S, SCRAPE_S = 200, 10, 15.0
MINUTES = float(os.environ.get("BENCH_MINUTES", "5"))
PAST = int(os.environ.get("BENCH_PAST", "1000"))
SEEN, WARM_UP_S, READY_TRIES = 6, 600.0, 10
RSS_GOAL_MIB, CPU_GOAL, READS_GOAL = 140, 0.15, 12.0
LATE_GOAL_S, NOT_RUN_GOAL = 0.1, 0.001
SIGNALS = ("logs", "metrics", "traces")


_RECEIPT = Receipt(Sent.ACCEPTED, Reason.OK, "200", 1, Sent.ACCEPTED, 0.0123, 612, silent=False)


class _Past(SystemClock):
    """The machine's clocks as they stood `back_s` seconds ago."""

    back_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() - self.back_s

    def utc(self) -> datetime:
        return super().utc() - timedelta(seconds=self.back_s)


def _name(number: int) -> str:
    return f"prod-route-{number:03d}"


def remember(data: Path, past: int) -> None:
    """A ledger in which each route has `past` canaries that were seen, the last a minute ago."""
    clock = _Past()
    stores = open_stores(data, clock)
    instance = stores.ledger.instance
    stores.close()
    engine = write_engine(place_of(Store.LEDGER, data))
    for seq in range(1, past + 1):
        clock.back_s = 60.0 + (past - seq) * EVERY_S
        rows = [
            opened(_seen(pending_row(instance, CanaryKey(_name(number), 0, seq), clock,
                                     Signal(SIGNALS[number % len(SIGNALS)]))))
            for number in range(ROUTES)
        ]  # fmt: skip
        with engine.begin() as connection:
            connection.execute(insert(CanaryRow), rows)
    counted = [{"route": _name(n), "epoch": 0, "last_seq": past} for n in range(ROUTES)]
    with engine.begin() as connection:
        connection.execute(insert(RouteRow), counted)
    engine.dispose()


def _seen(row: LedgerRow) -> LedgerRow:
    sent = row.sent
    seen = Instant(sent.utc + timedelta(seconds=1), sent.boot_id, sent.boot_s + 1)
    look = Look(1.0213, "by_id", complete=True, seen=True, reason=Reason.OK, detail="")
    return replace(
        row, receipt=_RECEIPT, outcome=Outcome.OK, reason=Reason.OK, judged=seen, seen=seen,
        delay_s=1.0213, copies=1, first_path="by_id", looks=(look,),
    )  # fmt: skip


def config(folder: Path, gateway: str, store: str, count: int = ROUTES) -> Path:
    """A config of `count` routes: signals in turn, of each signal every other one straight."""
    lines = []
    for number in range(count):
        signal = SIGNALS[number % len(SIGNALS)]
        through = number // len(SIGNALS) % 2 == 0
        inject = f'url: "{gateway}"' if through else "to: store"
        hops = "hops: [gateway], " if through else ""
        lines.append(
            f"  - {{name: {_name(number)}, signal: {signal}, every: {EVERY_S}s, {hops}"
            f"read: store, inject: {{kind: otlp_http, {inject}}}}}\n"
        )
    path = folder / "coalmine.yaml"
    path.write_text(
        f"coalmine: 1\nnamespace: bench\ndata_dir: {folder / 'data'}\n"
        f'api: {{listen: "127.0.0.1:{free_port()}"}}\n'
        f'backends:\n  store: {{kind: embedded, url: "{store}"}}\n'
        f'hops:\n  gateway: {{kind: otelcol, metrics: "{gateway}/metrics"}}\n'
        f"routes:\n{''.join(lines)}"
    )
    return path


def outcomes(page: str) -> dict[str, float]:
    """Canaries of all routes by outcome, and `sent`."""
    found: dict[str, float] = defaultdict(float)
    for labels, value in samples(page, "coalmine_canary_state"):
        found[labels["outcome"]] += value
    found["sent"] = sum(value for _, value in samples(page, "coalmine_canary_sent_total"))
    return found


def unbalanced(page: str) -> list[str]:
    """Routes whose states do not sum to what was sent at this scrape, or that say so."""
    left: dict[str, float] = defaultdict(float)
    for labels, value in samples(page, "coalmine_canary_sent_total"):
        left[labels["route"]] += value
    for labels, value in samples(page, "coalmine_canary_state"):
        left[labels["route"]] -= value
    for labels, value in samples(page, "coalmine_canary_identity_ok"):
        left[labels["route"]] += value != 1
    return sorted(route for route, difference in left.items() if difference)


def _reads(store: str) -> dict[str, float]:
    return {labels["route"]: value for labels, value in samples(scrape(store), "bench_reads")}


def _ledger_bytes(data: Path) -> int:
    """The ledger's file and its write-ahead log."""
    return sum(file.stat().st_size for file in data.glob("ledger.db*"))


def _late_s(data: Path, since_s: float) -> list[float]:
    """By how much each canary since then (boot seconds) left after its time, seconds.

    A route's time is that of its most punctual canary: offsets differ, the interval does not.
    """
    wanted = "select route, sent_boot_s from canary where sent_boot_s >= ? order by sent_boot_s"
    with closing(sqlite3.connect(f"file:{data / 'ledger.db'}?mode=ro", uri=True)) as database:
        sent = database.execute(wanted, (since_s,)).fetchall()
    phases: dict[str, list[float]] = defaultdict(list)
    firsts: dict[str, float] = {}
    for route, at_s in sent:
        # Half an interval more, so that nobody's time lies at the seam.
        phase = (at_s - firsts.setdefault(route, at_s) + EVERY_S / 2) % EVERY_S
        phases[route].append(phase)
    return [phase - min(known) for known in phases.values() for phase in known]


@dataclass(frozen=True, slots=True)
class _At:
    """Everything that is compared over the window, at one moment."""

    page: str
    reads: dict[str, float]
    ledger_bytes: int
    cpu_s: float
    at_s: float
    boot_s: float


def _now(running: Running, store: str) -> _At:
    page = scrape(running.url)
    return _At(
        page, _reads(store), _ledger_bytes(running.data), cpu_s(running.pid), time.monotonic(),
        SystemClock().monotonic(),
    )  # fmt: skip


@dataclass(slots=True)
class _Watched:
    """What the scrapes within the window showed."""

    rss: list[float] = field(default_factory=list)
    took_s: list[float] = field(default_factory=list)
    unbalanced: set[str] = field(default_factory=set)
    loads: list[float] = field(default_factory=list)
    yardstick_s: list[float] = field(default_factory=list)


def _yardstick_s() -> float:
    """CPU seconds of a fixed piece of Python: what a second of CPU is worth beside the others."""
    began_s = time.process_time()
    sum(number * number for number in range(500_000))
    return time.process_time() - began_s


def _watch(running: Running, seconds: float) -> _Watched:
    seen, began_s = _Watched(), time.monotonic()
    for beat in range(1, int(seconds / SCRAPE_S) + 1):
        time.sleep(max(0.0, began_s + beat * SCRAPE_S - time.monotonic()))
        asked_s = time.monotonic()
        page = scrape(running.url)
        seen.took_s.append(time.monotonic() - asked_s)
        seen.unbalanced.update(unbalanced(page))
        seen.rss.append(rss_mib(running.pid))
        seen.loads.append(os.getloadavg()[0])
        seen.yardstick_s.append(_yardstick_s())
    return seen


def _warm_up(running: Running) -> None:
    """Return once every route has seen enough. Raises TimeoutError."""
    end_s = time.monotonic() + WARM_UP_S
    while time.monotonic() < end_s:
        time.sleep(SCRAPE_S)
        page = samples(scrape(running.url), "coalmine_canary_state")
        ok = [value for labels, value in page if labels["outcome"] == "ok"]
        if len(ok) == ROUTES and min(ok) >= PAST + SEEN:
            return
    raise TimeoutError(f"not every route has seen {SEEN} more canaries after {WARM_UP_S:g} s")


def _told(name: str, figure: float, goal: float, unit: str) -> str:
    return f"{name}: {figure:.4g}{unit} (goal {goal:g}{unit}: {_met(figure, goal)})"


def _met(figure: float, goal: float) -> str:
    return "met" if figure <= goal else "missed"


def _lines(running: Running, first: _At, last: _At, seen: _Watched) -> list[str]:
    took_s = last.at_s - first.at_s
    share, minutes = (last.cpu_s - first.cpu_s) / took_s, took_s / 60
    gained = {
        name: last_count - outcomes(first.page)[name]
        for name, last_count in outcomes(last.page).items()
    }
    runs, before = states(last.page), states(first.page)
    due = runs["due"] - before["due"]
    not_run = sum(runs[name] - before[name] for name in ("missed", "skipped"))
    late = _late_s(running.data, first.boot_s)
    reads = {name: count - first.reads.get(name, 0) for name, count in last.reads.items()}
    a_route = sum(reads.values()) / ROUTES / minutes
    most = max(count for name, count in reads.items() if name) / minutes
    row_bytes = (last.ledger_bytes - first.ledger_bytes) / gained["sent"]
    an_hour = row_bytes * ROUTES * 3600 / EVERY_S
    hours = LedgerCaps().max_bytes * LedgerCaps().begin_share / an_hour
    told = ", ".join(f"{count:.0f} {name}" for name, count in sorted(gained.items()) if count)
    worth = f"500,000 squares take {statistics.median(seen.yardstick_s) * 1e3:.0f} ms CPU"
    cpu = _told("CPU of the service", share * 100, CPU_GOAL * 100, " % of a core")
    return [
        (
            f"start on {PAST * ROUTES} canaries of the past: API ready after "
            f"{running.ready_s:.1f} s, {running.ready_cpu_s:.1f} s CPU"
        ),
        (
            f"{ROUTES} routes every {EVERY_S} s for {minutes:.1f} min: {told}; load "
            f"{statistics.mean(seen.loads):.1f} (mean); {load()}"
        ),
        _told("memory", max(seen.rss), RSS_GOAL_MIB, " MiB") + f", {seen.rss[0]:.0f} at first",
        f"{cpu}, {share * EVERY_S / ROUTES * 1e3:.2f} ms a canary; {worth}",
        _told("reads a minute and route", a_route, READS_GOAL, "") + f", most {most:.1f}",
        (
            f"runs: {due:.0f} due, {not_run:.0f} missed or skipped "
            f"(goal {NOT_RUN_GOAL:.1%}: {_met(not_run / due, NOT_RUN_GOAL)}), "
            + _told("late p99", p99(late) * 1e3, LATE_GOAL_S * 1e3, " ms")
        ),
        (
            f"ledger: {row_bytes:,.0f} B a canary, {an_hour / 1e6:.1f} MB an hour; rows are folded "
            f"into totals from {LedgerCaps().max_bytes / 1e6:,.0f} MB on, which hold {hours:.1f} h"
        ),
        (
            f"identity: {len(seen.unbalanced)} routes out of balance in {len(seen.rss)} scrapes "
            f"(goal 0: {_met(len(seen.unbalanced), 0)}), a scrape takes "
            f"{statistics.median(seen.took_s) * 1e3:.0f} ms"
        ),
    ]


def _started(stack: ExitStack, file: Path) -> Running:
    """The service once it is ready, which a long past may delay beyond a process's patience."""
    began, began_s = datetime.now(UTC), time.monotonic()
    process = Process("coalmine", ["run", "-c", str(file)], file.parent, SystemClock())
    stack.callback(process.stop)
    for patience in range(READY_TRIES, 0, -1):
        try:
            told = process.ready()
            break
        except CoalmineError:
            if patience == 1:
                raise
    pid, took_s = int(told["pid"]), time.monotonic() - began_s
    return Running(pid, str(told["api"]), file.parent / "data", began, took_s, cpu_s(pid))


def run() -> list[str]:
    """One line a figure, its goal beside it."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        embedded = Process("benchmarks._counted", [], folder, SystemClock())
        stack.callback(embedded.stop)
        told = embedded.ready()
        gateway, store = str(told["gateway"]), str(told["store"])
        if PAST:
            remember(folder / "data", PAST)
        running = _started(stack, config(folder, gateway, store))
        _warm_up(running)
        first = _now(running, store)
        seen = _watch(running, MINUTES * 60)
        return _lines(running, first, _now(running, store), seen)
