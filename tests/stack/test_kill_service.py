"""`kill -9` of the service, again and again: nothing sent is forgotten, nobody is told twice.

Over the embedded gateway and store, which live on; the ledger is read between two lives.
"""

import asyncio
import random
from collections import defaultdict
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from coalmine.demo.ports import free_port
from coalmine.demo.processes import Process
from coalmine.demo.receiver import PageReceiver
from core.clock import SystemClock
from deploy.stack.watched import Watcher, write
from scheduler.store import open_reader
from tests.stack.rig import JUDGING

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(420)]

KILLS, FAULT_FROM, FAULT_TO = 50, 14, 32
ROUTES = {
    f"{signal}-{way}": (signal, way)
    for signal in ("logs", "metrics", "traces")
    for way in ("gateway", "direct")
}
VICTIM = "logs-gateway"
LIFE_S = 2.5
END_S = 60.0
Key = tuple[str, int, int]


def document(folder: Path, embedded, page_url: str):
    def route(name, signal, way):
        through = {"kind": "otlp_http", "url": embedded["gateway"]}
        straight = {"kind": "otlp_http", "to": "store"}
        return {
            "name": name, "signal": signal, "every": "1s", "read": "store",
            "hops": ["gateway"] if way == "gateway" else [],
            "inject": through if way == "gateway" else straight,
        }  # fmt: skip

    return {
        "coalmine": 1,
        "namespace": "kill",
        "data_dir": str(folder / "data"),
        "api": {"listen": f"127.0.0.1:{free_port()}", "token_file": str(folder / "token")},
        "judging": dict(JUDGING),
        "backends": {"store": {"kind": "embedded", "url": embedded["store"]}},
        "hops": {"gateway": {"kind": "otelcol", "metrics": f"{embedded['gateway']}/metrics"}},
        "routes": [route(name, *parts) for name, parts in ROUTES.items()],
        "paging": {"group_wait": "1s"},
        "receivers": {
            "pager": {
                "kind": "webhook",
                "url": page_url,
                "secret_file": str(folder / "webhook-secret"),
            }
        },
        "pages": [{"to": "pager", "allow_single": True}],
    }


def switch(gateway: str, on: bool) -> None:
    body = b'{"signal": "logs", "kind": "drop"}'
    url = f"{gateway}/admin/faults" + ("" if on else "?signal=logs&kind=drop")
    headers = {"content-type": "application/json"}
    request = Request(url, body if on else None, headers, method="PUT" if on else "DELETE")
    urlopen(request, timeout=5).close()


async def audit(data: Path) -> set[Key]:
    """Every row of the ledger; its accounts balance and no sequence number is left out."""
    stores = open_reader(data, SystemClock())
    try:
        keys: set[Key] = set()
        for name in ROUTES:
            account = await stores.ledger.account(name)
            assert account.balanced, account
            rows = await stores.ledger.recent(name, 100_000)
            assert len(rows) == account.sent, account
            seqs = defaultdict(list)
            for row in rows:
                seqs[row.canary.key.epoch].append(row.canary.key.seq)
                keys.add((name, row.canary.key.epoch, row.canary.key.seq))
            for epoch, found in seqs.items():
                assert sorted(found) == list(range(1, len(found) + 1)), (name, epoch)
        return keys
    finally:
        stores.close()


def taken(pager: PageReceiver):
    found = []
    while not pager.pages.empty():
        found.append(pager.pages.get()["data"])
    return found


def triggers(pages):
    told = defaultdict(set)
    for page in pages:
        if page["action"] == "trigger":
            told[page["rule"], page["subject"], page["dedup_key"]].add(page["page_id"])
    return told


def test_fault_014_fifty_kills_of_the_service(tmp_path):
    """The identity holds over every kill, and one fault is one incident with one trigger."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    rng, clock = random.Random(seed), SystemClock()
    wait = clock.sleep
    pager = PageReceiver(refuses=False)
    embedded = Process("selfcheck.embedded", [], tmp_path, clock)
    try:
        ready = embedded.ready()
        file = write(document(tmp_path, ready, pager.url), tmp_path)
        known: set[Key] = set()
        for life in range(KILLS):
            if life in {FAULT_FROM, FAULT_TO}:
                switch(ready["gateway"], life == FAULT_FROM)
            watcher = Watcher(file, clock)
            watcher.start()
            asyncio.run(wait(rng.uniform(0.0, LIFE_S)))
            watcher.kill()
            keys = asyncio.run(audit(tmp_path / "data"))
            assert known <= keys, f"vanished after kill {life}: {sorted(known - keys)[:5]}"
            known = keys
        pages = taken(pager)
        watcher = Watcher(file, clock)
        watcher.start()
        try:
            ends = clock.monotonic() + END_S
            while not settled(watcher.board()) and clock.monotonic() < ends:
                asyncio.run(wait(0.5))
            board = watcher.board()
            assert settled(board), [(r["name"], r["verdict"], r["detail"]) for r in board["routes"]]
            asyncio.run(wait(2.0))
        finally:
            watcher.stop()
        assert known <= asyncio.run(audit(tmp_path / "data"))
        pages += taken(pager)
        judge_pages(pages)
    finally:
        embedded.stop()
        pager.close()


def settled(board) -> bool:
    """Nothing is failing, and no incident is open."""
    well = {row["verdict"] for row in board["routes"]} <= {"ok", "degraded"}
    return well and not [row for row in board["incidents"] if row["rule"] == "fail"]


def judge_pages(pages) -> None:
    told = triggers(pages)
    failed = {key: ids for key, ids in told.items() if key[0] == "fail"}
    assert [key[1] for key in failed] == [VICTIM], sorted(told)
    assert [len(ids) for ids in told.values()] == [1] * len(told), told
    resolved = {page["dedup_key"] for page in pages if page["action"] == "resolve"}
    assert {key[2] for key in failed} <= resolved
    # The losses of the last hour degrade their route when it has stopped failing.
    others = [key[:2] for key in told if key[0] != "fail"]
    assert others in ([], [("degraded", VICTIM)]), [page["summary"] for page in pages]
