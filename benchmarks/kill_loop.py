"""`kill -9` of the whole service, 200 times and more, over hops that lose, delay, double, refuse.

Two instances run side by side against one built-in gateway and store, each with a ledger of its
own; each life ends at a random moment, one in five before the service is ready, and draws the
faults of both hops anew. After every life the ledger's file is read by itself: what was sent is the
sum of the last sequence numbers, rows are dense, none is gone, and each canary that ever reached a
hop, by the hops' own count, is in it. At the end the faults are switched off, and every outcome is
compared with what the store holds until the two agree, for END_S at most; by when is told.
BENCH_KILLS and BENCH_CANARIES are the least of each.
"""

import json
import math
import os
import random
import sqlite3
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks._running import load, scrape
from benchmarks.routes import SIGNALS, unbalanced
from coalmine.demo.ports import free_port
from coalmine.demo.processes import Process
from core.clock import SystemClock

KILLS = int(os.environ.get("BENCH_KILLS", "200"))
CANARIES = int(os.environ.get("BENCH_CANARIES", "10000"))
LANES, ROUTES, LIFE_S, END_S = 2, 48, 6.0, 300.0
EARLY = 0.2
# Kind, share, seconds of delay; each strikes in half of the lives, at either hop.
FAULTS = {
    "gateway": (("drop", 0.1, 0), ("delay", 0.3, 0.5), ("duplicate", 0.2, 0), ("reject", 0.5, 0)),
    "store": (("drop", 0.05, 0), ("delay", 0.2, 0.4), ("reject", 0.2, 0)),
}
# Each read costs the store, one process, a scan of all it holds: it must be left time to answer, as
# while no read gets through every canary rightly stays unknown.
JUDGING = (
    "{min_interval: 1s, injection_deadline: 2s, first_read_after: 200ms, poll_first: 500ms, "
    "poll_max: 2s, poll_late_max: 4s, reads_per_minute: 120, read_timeout: 5s, backoff_max: 5s, "
    "deadline_floor: 4s, deadline_margin: 3s, deadline_cold: 4s, confirm_after: 500ms}"
)
_SEEN = ("ok", "late", "altered")

# Route, epoch, sequence number.
Key = tuple[str, int, int]


def _config(folder: Path, gateway: str, store: str) -> Path:
    lines = []
    for number in range(ROUTES):
        through = number // len(SIGNALS) % 2 == 0
        inject = f'url: "{gateway}"' if through else "to: store"
        hops = "hops: [gateway], " if through else ""
        lines.append(
            f"  - {{name: r{number}, signal: {SIGNALS[number % len(SIGNALS)]}, every: 1s, {hops}"
            f"read: store, inject: {{kind: otlp_http, {inject}}}}}\n"
        )
    path = folder / "coalmine.yaml"
    path.write_text(
        f"coalmine: 1\nnamespace: {folder.name}\ndata_dir: {folder / 'data'}\n"
        f'api: {{listen: "127.0.0.1:{free_port()}"}}\njudging: {JUDGING}\n'
        f'backends:\n  store: {{kind: embedded, url: "{store}"}}\n'
        f'hops:\n  gateway: {{kind: otelcol, metrics: "{gateway}/metrics"}}\n'
        f"routes:\n{''.join(lines)}"
    )
    return path


def _called(url: str, method: str = "GET", body: object = None) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    data = json.dumps(body).encode() if body else None
    headers = {"content-type": "application/json"}
    with opener.open(urllib.request.Request(url, data, headers, method=method), timeout=30) as got:
        text: str = got.read().decode()
        return text


@dataclass(frozen=True, slots=True)
class _Hops:
    """The gateway and the store, which all instances share."""

    gateway: str
    store: str

    def strike(self, rng: random.Random) -> None:
        """Draw the faults of both hops anew."""
        self.clear()
        for hop, faults in FAULTS.items():
            for kind, share, delay_s in faults:
                if rng.random() < 0.5:
                    fault = {"signal": "all", "kind": kind, "share": share, "delay_s": delay_s}
                    _called(f"{getattr(self, hop)}/admin/faults", "PUT", fault)

    def clear(self) -> None:
        """No fault."""
        for url in (self.gateway, self.store):
            _called(f"{url}/admin/faults", "DELETE")

    def arrived(self, instance: str) -> set[str]:
        """Ids of the canaries of `instance` that ever reached either."""
        pages = [_called(f"{url}/bench/arrived") for url in (self.gateway, self.store)]
        return _of(instance, "\n".join(pages))

    def stored(self, instance: str) -> set[str]:
        """Ids of the canaries of `instance` that the store holds."""
        return _of(instance, _called(f"{self.store}/bench/stored"))


@dataclass(frozen=True, slots=True)
class _Settled:
    """One instance after its last life: outcomes, and those that contradict the store.

    first: how many did when that life began. arrived: canaries that ever reached a hop. took_s:
    from the start of that life until none did any more, or until they were given up.
    """

    outcomes: Counter[str]
    first: int
    wrong: list[str]
    arrived: int
    took_s: float


def _of(instance: str, page: str) -> set[str]:
    return {name for name in page.split() if name.startswith(f"cm-{instance}-")}


@dataclass(frozen=True, slots=True)
class _Ledger:
    """The ledger's file as it lies there, read without any of our own code."""

    instance: str
    last_seqs: dict[tuple[str, int], int]
    outcomes: dict[str, str]
    keys: set[Key]

    @classmethod
    def read(cls, file: Path) -> "_Ledger | None":
        """None before the first instance was committed."""
        if not file.exists():
            return None
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            database.execute("begin")
            known = "select 1 from sqlite_master where name = 'canary'"
            if not database.execute(known).fetchall():
                return None
            names = database.execute("select instance from instance").fetchall()
            rows = database.execute("select route, epoch, seq, canary_id, outcome from canary")
            canaries = rows.fetchall()
            lasts = database.execute("select route, epoch, last_seq from route").fetchall()
        return cls(
            names[0][0] if names else "",
            {(route, epoch): last for route, epoch, last in lasts},
            {row[3]: row[4] for row in canaries},
            {row[:3] for row in canaries},
        )

    def gaps(self) -> Iterator[str]:
        """What was sent and has no row, or has a row and was not sent: the identity."""
        found = Counter((route, epoch) for route, epoch, _ in self.keys)
        for place in found.keys() | self.last_seqs.keys():
            last = self.last_seqs.get(place, 0)
            dense = {(*place, seq) for seq in range(1, last + 1)} <= self.keys
            if found[place] != last or not dense:
                yield f"{place}: last {last}, rows {found[place]}"


@dataclass(slots=True)
class _Lane:
    """One instance and its lives."""

    folder: Path
    hops: _Hops
    rng: random.Random
    lock: threading.Lock
    least: tuple[float, float]
    kills: int = 0
    early: int = 0
    ready_s: float = 1.0
    known: set[Key] = field(default_factory=set)
    troubles: list[str] = field(default_factory=list)

    def live(self) -> None:
        """Lives until there were kills and canaries enough, or something is missing."""
        config = _config(self.folder, self.hops.gateway, self.hops.store)
        while self.kills < self.least[0] or len(self.known) < self.least[1]:
            with self.lock:
                self.hops.strike(self.rng)
            self._life(config)
            self._audit()
            if self.troubles:
                return

    def _life(self, config: Path) -> None:
        began_s = time.monotonic()
        process = Process("coalmine", ["run", "-c", str(config)], self.folder, SystemClock())
        try:
            if self.kills and self.rng.random() < EARLY:
                self.early += 1
                time.sleep(self.rng.uniform(0, self.ready_s))
                return
            url = str(process.ready()["api"])
            self.ready_s = time.monotonic() - began_s
            if routes := unbalanced(scrape(url)):
                self.troubles.append(f"after kill {self.kills} /metrics: {routes}")
            time.sleep(self.rng.uniform(0, LIFE_S))
        finally:
            process.kill()
            self.kills += 1

    def _audit(self) -> None:
        # The service is dead: nothing more leaves it, so the two can be read one after the other.
        ledger = _Ledger.read(self.folder / "data" / "ledger.db")
        if ledger is None:
            return
        arrived = self.hops.arrived(ledger.instance) if ledger.instance else set()
        found = {
            "out of balance": list(ledger.gaps()),
            "vanished": sorted(self.known - ledger.keys),
            "arrived and not in the ledger": sorted(arrived - ledger.outcomes.keys()),
        }
        self.known = ledger.keys
        self.troubles += [
            f"after kill {self.kills} {what}: {len(which)}, {which[:3]}"
            for what, which in found.items()
            if which
        ]

    def settle(self) -> _Settled:
        """A last life without faults, until every outcome from before it agrees with the store."""
        config = self.folder / "coalmine.yaml"
        ledger, first = self._compared()
        until = max(epoch for _, epoch, _ in ledger.keys)
        began_s = time.monotonic()
        process = Process("coalmine", ["run", "-c", str(config)], self.folder, SystemClock())
        try:
            process.ready()
            while self._compared(until)[1] and time.monotonic() - began_s < END_S:
                time.sleep(5)
        finally:
            took_s = time.monotonic() - began_s
            process.stop()
        self._audit()
        ledger, wrong = self._compared(until)
        arrived = len(self.hops.arrived(ledger.instance))
        outcomes = Counter(ledger.outcomes.values())
        return _Settled(outcomes, len(first), wrong, arrived, took_s)

    def _compared(self, until: float = math.inf) -> tuple[_Ledger, list[str]]:
        """What is pending or contradicts the store, of the epochs up to and with `until`."""
        ledger = _Ledger.read(self.folder / "data" / "ledger.db")
        assert ledger is not None
        stored = self.hops.stored(ledger.instance)
        return ledger, [
            f"{name} {outcome} and {'' if name in stored else 'not '}stored"
            for name, outcome in ledger.outcomes.items()
            if int(name.split("-")[2]) <= until
            and (outcome == "pending" or (outcome in _SEEN) != (name in stored))
        ]


def run() -> Iterator[str]:
    """What was killed, sent and found, the goals beside it; then AssertionError on a miss."""
    return killed(KILLS, CANARIES)


def killed(kills: int, canaries: int) -> Iterator[str]:
    """The same with at least so many of each."""
    seed = random.SystemRandom().randrange(2**32)
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        embedded = Process("benchmarks._counted", [], Path(name), SystemClock())
        stack.callback(embedded.stop)
        told = embedded.ready()
        hops, lock = _Hops(str(told["gateway"]), str(told["store"])), threading.Lock()
        lanes = []
        for number in range(LANES):
            folder = Path(name) / f"lane{number}"
            folder.mkdir()
            rng, least = random.Random(seed + number), (kills / LANES, canaries / LANES)
            lanes.append(_Lane(folder, hops, rng, lock, least))
        pool = stack.enter_context(ThreadPoolExecutor(LANES))
        list(pool.map(_Lane.live, lanes))
        hops.clear()
        settled = list(pool.map(_Lane.settle, lanes))
    yield from _lines(seed, lanes, settled, time.monotonic() - began_s)


def _lines(seed: int, lanes: list[_Lane], settled: list[_Settled], took_s: float) -> Iterator[str]:
    outcomes = sum((one.outcomes for one in settled), Counter[str]())
    troubles = [text for lane in lanes for text in lane.troubles]
    wrong = [text for one in settled for text in one.wrong]
    parts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    yield (
        f"{sum(lane.kills for lane in lanes)} kills of the service, "
        f"{sum(lane.early for lane in lanes)} of them before it was ready, "
        f"in {took_s:.0f} s, seed {seed}; {load()}"
    )
    yield (
        f"{outcomes.total()} canaries in the ledgers, {sum(one.arrived for one in settled)} "
        f"reached a hop by the hops' own count: {parts}"
    )
    yield f"unaccounted, vanished or out of balance after a kill: {len(troubles)} (goal 0)"
    yield (
        f"outcomes that contradict what the store holds: {sum(one.first for one in settled)} after "
        f"the last kill, {len(wrong)} after {max(one.took_s for one in settled):.0f} s more "
        f"(goal 0 within {END_S:.0f} s)"
    )
    yield from (troubles + wrong)[:10]
    if troubles or wrong:
        raise AssertionError((troubles + wrong)[0])
