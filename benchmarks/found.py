"""How soon a loss is found: from the start of a fault to the first canary judged lost or rejected.

An endpoint that never answers judges no canary (what was sent to it stays unknown): there it is the
time until the route is `fail`, read every second.

On default judging times, against the embedded gateway and store, each a process of its own. Every
route has seen 20 canaries before the first fault, so that its deadline is a learned one. Samples
are routes times faults; hash offsets spread the routes over the interval.
"""

import asyncio
import json
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks._running import Running, load, service
from coalmine.demo.ports import free_port
from coalmine.demo.processes import Process
from core.clock import SystemClock
from scheduler.store.ledger import LedgerStore
from scheduler.store.stores import open_reader
from selfcheck.canary.model import Outcome

SIGNALS = ("logs", "metrics", "traces")
ROUTES_A_SIGNAL = 4
EVERY_S = 10
SEEN = 20
JUDGED = ("drop", "reject", "sink")
NEVER_ANSWERED = "stall"
GOAL_S = 90.0
GIVE_UP_S = 150.0
_FOUND = (Outcome.LOST, Outcome.REJECTED)

_ROUTE = """\
  - {{name: {signal}-{number}, signal: {signal}, every: {every}s, hops: [gateway], read: store,
     inject: {{kind: otlp_http, url: "{gateway}"}}}}
"""


def _config(folder: Path, gateway: str, store: str) -> Path:
    routes = "".join(
        _ROUTE.format(signal=signal, number=number, every=EVERY_S, gateway=gateway)
        for signal in SIGNALS
        for number in range(ROUTES_A_SIGNAL)
    )
    config = folder / "coalmine.yaml"
    config.write_text(
        f"coalmine: 1\nnamespace: bench\ndata_dir: {folder / 'data'}\n"
        f'api: {{listen: "127.0.0.1:{free_port()}"}}\n'
        f'backends:\n  store: {{kind: embedded, url: "{store}"}}\n'
        f'hops:\n  gateway: {{kind: otelcol, metrics: "{gateway}/metrics"}}\nroutes:\n{routes}'
    )
    return config


def _routes(url: str) -> dict[str, Any]:
    """Each route as the API tells it."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{url}/api/v1/routes", timeout=30) as answer:
        return {row["name"]: row for row in json.loads(answer.read())["routes"]}


@contextmanager
def _fault(gateway: str, kind: str) -> Iterator[datetime]:
    """The fault on every signal; yields when it began."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    headers = {"content-type": "application/json"}
    began = datetime.now(UTC)
    for signal in SIGNALS:
        body = json.dumps({"signal": signal, "kind": kind}).encode()
        url = f"{gateway}/admin/faults"
        opener.open(urllib.request.Request(url, body, headers, method="PUT")).close()
    try:
        yield began
    finally:
        for signal in SIGNALS:
            url = f"{gateway}/admin/faults?signal={signal}&kind={kind}"
            opener.open(urllib.request.Request(url, method="DELETE")).close()


def _await_well(url: str) -> None:
    """Return once every route saw enough and none fails. Raises TimeoutError after ten minutes."""
    end_s = time.monotonic() + 600
    while time.monotonic() < end_s:
        time.sleep(2)
        routes = _routes(url)
        if routes and all(
            route["outcomes"]["ok"] >= SEEN and route["verdict"] != "fail"
            for route in routes.values()
        ):
            return
    raise TimeoutError(f"not every route is well: {_routes(url)}")


async def _first_found(ledger: LedgerStore, route: str, began: datetime) -> float | None:
    """Seconds from `began` to the first judgement that a canary sent since is lost or rejected."""
    rows = await ledger.recent(route, SEEN)
    found = [
        row.judged.utc
        for row in rows
        if row.outcome in _FOUND and row.judged is not None and row.sent.utc >= began
    ]
    return (min(found) - began).total_seconds() if found else None


def _found(running: Running, began: datetime) -> dict[str, float]:
    """Seconds by route; a route that had not found it when we gave up has the time of giving up."""
    end_s = time.monotonic() + GIVE_UP_S
    missing, found = set(_routes(running.url)), {}
    stores = open_reader(running.data, SystemClock())
    try:
        while missing and time.monotonic() < end_s:
            time.sleep(1)
            for name, route in _routes(running.url).items():
                took_s = asyncio.run(_first_found(stores.ledger, name, began))
                if took_s is None and route["verdict"] == "fail":
                    took_s = (datetime.now(UTC) - began).total_seconds()
                if name in missing and took_s is not None:
                    found[name] = took_s
                    missing.discard(name)
    finally:
        stores.close()
    return found | dict.fromkeys(missing, GIVE_UP_S)


def run() -> list[str]:
    """One line a fault, one for all: median, 95th percentile and worst, with the goal."""
    lines, everything = [], []
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        embedded = Process("selfcheck.embedded", [], folder, SystemClock())
        stack.callback(embedded.stop)
        told = embedded.ready()
        gateway = str(told["gateway"])
        running = stack.enter_context(service(_config(folder, gateway, str(told["store"]))))
        for kind in (*JUDGED, NEVER_ANSWERED):
            _await_well(running.url)
            with _fault(gateway, kind) as began:
                took = sorted(_found(running, began).values())
            everything += took if kind in JUDGED else []
            lines.append(
                f"{kind}: found on {len(took)} routes after {statistics.median(took):.0f} s "
                f"(median), {took[0]:.0f} to {took[-1]:.0f} s; {load()}"
            )
    p95_s = statistics.quantiles(everything, n=20)[18]
    lines.append(
        f"time to a judged loss, default judging, canaries every {EVERY_S} s: "
        f"{len(everything)} samples, "
        f"median {statistics.median(everything):.0f} s, p95 {p95_s:.0f} s "
        f"(goal {GOAL_S:g}: {'met' if p95_s <= GOAL_S else 'missed'}), "
        f"worst {max(everything):.0f} s"
    )
    return lines
