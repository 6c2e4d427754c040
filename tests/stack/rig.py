"""What the tests against real servers stand on: doors before the stores, and a watched service."""

import contextlib
import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, cast

from coalmine.demo.receiver import PageReceiver
from core.clock import SystemClock
from deploy.stack.collector import CollectorPlan
from deploy.stack.launch import TENANT, Instance, Stack, through
from deploy.stack.watched import AGENT, STORES, Watcher, config, write
from tests.fakes.door import Door
from tests.support.servers import stack_of

# As the demo's, with more room for real servers on a busy machine.
JUDGING = {
    "min_interval": "1s",
    "injection_deadline": "2s",
    "first_read_after": "200ms",
    "poll_first": "300ms",
    "poll_max": "1s",
    "poll_late_max": "2s",
    "reads_per_minute": 240,
    "read_timeout": "2s",
    "backoff_max": "2s",
    "deadline_floor": "4s",
    "deadline_margin": "3s",
    "deadline_cold": "4s",
    "confirm_after": "500ms",
}
PATIENCE_S = 45.0
TOKEN = "open-sesame"
# The Collectors by their names in the stack.
CHAIN = ("otelcol", AGENT)
_LOOK_S = 0.3
_STALLED = {"blind(stale)", "blind(readback)", "blind(lag)"}

Row = Mapping[str, Any]


class Rig:
    """Real servers; the gateway writes through one door a store, the service through another.

    Before the gateway stands an agent, a Collector too.
    """

    def __init__(self, folder: Path) -> None:
        self.through = {store: Door() for store in STORES.values()}
        self.straight = {store: Door() for store in STORES.values()}
        agent = {AGENT: Instance("otelcol", plan=through("otelcol", hop=AGENT))}
        self.stack = stack_of(folder, "otelcol", *STORES.values(), plan=self._plan, instances=agent)
        self.plans = {name: cast("CollectorPlan", self.stack[name].config) for name in CHAIN}
        self._changed: set[str] = set()
        for store in STORES.values():
            server = self.stack[store]
            for door in (self.through[store], self.straight[store]):
                door.read_from = server.url()
                door.write_to = server.url("otlp") if store == "jaeger" else server.url()

    def _plan(self, _stack: Stack) -> CollectorPlan:
        loki = {"endpoint": f"{self.through['loki'].url}/otlp"}
        return CollectorPlan(
            {
                "logs": {**loki, "headers": {"X-Scope-OrgID": TENANT}},
                "metrics": {"endpoint": f"{self.through['prometheus'].url}/api/v1/otlp"},
                "traces": {"endpoint": self.through["jaeger"].url},
            }
        )

    @property
    def doors(self) -> list[Door]:
        return [*self.through.values(), *self.straight.values()]

    def close(self) -> None:
        self.stack.close()
        for door in self.doors:
            door.close()

    def stop_store(self, store: str) -> None:
        """The store is gone, and so is whatever listened in its place."""
        self.stack.stop(store)
        self.through[store].close()
        self.straight[store].close()

    def start_store(self, store: str) -> None:
        self.stack.start(store)
        self.through[store].open()
        self.straight[store].open()

    def change(self, collector: str, make: Callable[[CollectorPlan], CollectorPlan]) -> None:
        """Restart one Collector with its plan changed, until `restore`."""
        plan = self.plans[collector]
        self.stack.reconfigure(make(plan), collector)
        self._changed.add(collector)

    def restore(self) -> None:
        """Every Collector does what it did at first."""
        for collector in sorted(self._changed):
            self.stack.reconfigure(self.plans[collector], collector)
        self._changed.clear()

    def mend(self) -> None:
        """Everything runs and nothing is refused."""
        for door in self.doors:
            door.mend()
        for name in (*STORES.values(), "otelcol", AGENT):
            self.stack.start(name)

    def document(self, pager_url: str, folder: Path) -> dict[str, Any]:
        """The config of a service that sees the stores through their doors."""
        document = config(self.stack, pager_url, folder, every="1s")
        for store, door in self.straight.items():
            entry = document["backends"][store]
            entry["url"] = door.url
            (folder / "read-token").write_text(TOKEN)
            entry["auth"] = {"bearer_file": str(folder / "read-token")}
            if "write_url" in entry:
                entry["write_url"] = door.url
        document["judging"] = dict(JUDGING)
        document["paging"] = {"group_wait": "2s", "blind_after": "4s"}
        return document


@dataclass
class Watch:
    """A running service and everything it said: boards, pages, accounts that did not balance."""

    watcher: Watcher
    pager: PageReceiver
    boards: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    pages: list[dict[str, Any]] = field(default_factory=list)
    imbalances: list[str] = field(default_factory=list)
    scrapes: int = 0
    stopped: bool = False
    _news: threading.Condition = field(default_factory=threading.Condition)
    _over: threading.Event = field(default_factory=threading.Event)

    def look_on(self) -> None:
        """Look again and again until `end`; runs in a thread of its own."""
        while not self._over.is_set():
            try:
                board = self.watcher.board()
                imbalances = self.watcher.imbalances()
            except OSError:
                board, imbalances = None, []
            with self._news:
                while not self.pager.pages.empty():
                    self.pages.append(self.pager.pages.get())
                if board is not None:
                    self.boards.append((time.monotonic(), board))
                    self.imbalances += imbalances
                    self.scrapes += 1
                self._news.notify_all()
            self._over.wait(_LOOK_S)

    def end(self) -> None:
        self._over.set()

    def now(self) -> float:
        return time.monotonic()

    @property
    def board(self) -> dict[str, Any]:
        return self.boards[-1][1]

    def route(self, name: str) -> Row:
        return next(row for row in self.board["routes"] if row["name"] == name)

    def until(self, what: str, true: Callable[[], Any], within_s: float = PATIENCE_S) -> Any:
        """The first true answer; it is asked again whenever something new was seen."""
        with self._news:
            got = self._news.wait_for(lambda: bool(self.boards) and true(), within_s)
        assert got, f"not within {within_s:g} s: {what}\n{self.told()}"
        return got

    def look_again(self) -> None:
        """Wait for a board that is newer than this call."""
        count = self.scrapes
        self.until("a further look", lambda: self.scrapes > count)

    def until_all_ok(self) -> None:
        self.until("all is ok", lambda: all_ok(self.board))

    def until_verdict(self, name: str, verdict: str, *reasons: str) -> Row:
        def reached() -> bool:
            row = self.route(name)
            return row["verdict"] == verdict and (not reasons or row["reason"] in reasons)

        self.until(f"{name} is {verdict}({'|'.join(reasons)})", reached)
        return self.route(name)

    def until_hop(self, name: str, hop: str) -> Row:
        def located() -> bool:
            return str(self.route(name)["finding"]).startswith(f"{hop}:")

        self.until(f"{name} is located at {hop}", located)
        return self.route(name)

    def until_page(self, action: str, count: int = 1) -> list[dict[str, Any]]:
        self.until(f"{count} {action} pages", lambda: len(self.of(action)) >= count)
        return self.of(action)

    def of(self, action: str) -> list[dict[str, Any]]:
        """What was paged with this action: the `data` of each, in order, told twice counted once."""
        seen = {page["data"]["page_id"]: page["data"] for page in self.pages}
        return [data for data in seen.values() if data["action"] == action]

    def verdicts(self, name: str, since: float) -> list[str]:
        """Every verdict of the route that a board showed since then, oldest first."""
        return [
            row["verdict"]
            for at, board in self.boards
            if at >= since
            for row in board["routes"]
            if row["name"] == name
        ]

    def always_ok(self, since: float, *names: str) -> None:
        """Nothing else was shown of these since then, and they are ok now.

        A machine that stalls leaves nobody looking, which has to be called blind.
        """
        for name in names:
            seen = {
                f"{row['verdict']}({row['reason']})"
                for at, board in self.boards
                if at >= since
                for row in board["routes"]
                if row["name"] == name
            }
            assert seen - _STALLED == {"ok(ok)"}, f"{name}: {seen}\n{self.told()}"
            self.until_verdict(name, "ok")

    def told(self) -> str:
        """Everything a reader of a failed test wants to know."""
        if not self.boards:
            return f"no board\n{self.watcher.log()[-3000:]}"
        lines = [
            f"{row['name']:15} {row['verdict']}({row['reason']}) {row['detail']} | {row['finding']}"
            f" | {row['evidence']} | { ({k: v for k, v in row['outcomes'].items() if v}) }"
            for row in self.board["routes"]
        ]
        lines += [
            f"source {row['name']} {row['verdict']} {row['detail']}"
            for row in self.board["sources"]
        ]
        lines += [
            f"incident {row['rule']}:{row['subject']} {row['state']} hop={row['hop']} members={row['members']}"
            for row in self.board["incidents"]
        ]
        lines += [
            f"page {page['data']['action']} {page['data']['rule']}:"
            f"{page['data']['subject']} hop={page['data']['hop']} "
            f"members={[one['subject'] for one in page['data']['members']]}: "
            f"{page['data']['summary']}"
            for page in self.pages
        ]
        return "\n".join([*lines, self.watcher.log()[-2000:]])


def all_ok(board: Mapping[str, Any]) -> bool:
    return bool(board["routes"]) and {row["verdict"] for row in board["routes"]} == {"ok"}


@contextlib.contextmanager
def watched(document: dict[str, Any], folder: Path, pager: PageReceiver) -> Iterator[Watch]:
    """The service of `document`, looked at all the time; its account must always have balanced."""
    watcher = Watcher(write(document, folder), SystemClock())
    watch = Watch(watcher, pager)
    looking = threading.Thread(target=watch.look_on)
    try:
        watcher.start()
        looking.start()
        yield watch
        assert not watch.imbalances, f"{watch.imbalances[:5]}"
        assert watch.scrapes
    finally:
        watch.end()
        if looking.ident is not None:
            looking.join()
        watcher.stop()


class Shop:
    """A service of its own that sends a log line every half second by OTLP, until it is silent."""

    def __init__(self, otlp_url: str, name: str = "shop") -> None:
        self._url, self._name = f"{otlp_url}/v1/logs", name
        self._silent = threading.Event()
        self._thread = threading.Thread(target=self._talk)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.silence()

    def silence(self) -> None:
        """Go on living, but say nothing any more."""
        self._silent.set()
        self._thread.join()

    def speak(self) -> None:
        """Talk again."""
        self._silent.clear()
        self._thread = threading.Thread(target=self._talk)
        self._thread.start()

    def _talk(self) -> None:
        while not self._silent.is_set():
            with contextlib.suppress(OSError):
                self._say(time.time_ns())
            self._silent.wait(0.5)

    def _say(self, now_ns: int) -> None:
        record = {"timeUnixNano": str(now_ns), "body": {"stringValue": f"sold a lamp at {now_ns}"}}
        named = {"key": "service.name", "value": {"stringValue": self._name}}
        said = {
            "resourceLogs": [
                {"resource": {"attributes": [named]}, "scopeLogs": [{"logRecords": [record]}]}
            ]
        }
        request = urllib.request.Request(
            self._url, json.dumps(said).encode(), {"content-type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=2).close()


def with_processors(plan: CollectorPlan, signal: str, **processors: Any) -> CollectorPlan:
    """The plan with processors named `kind__name` for `kind/name`."""
    named = {key.replace("__", "/"): value for key, value in processors.items()}
    return plan.with_processors(signal, named)


def without_queue(plan: CollectorPlan) -> CollectorPlan:
    """The plan with exporters that neither queue nor try again."""
    return replace(plan, queue={"enabled": False}, retry={"enabled": False})
