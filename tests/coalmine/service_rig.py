"""The whole service in a thread: real stores, real HTTP, the embedded stack, a pager."""

import asyncio
import base64
import contextlib
import json
import random
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any, Self
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from prometheus_client.parser import text_string_to_metric_families

from coalmine.config.load import load_config
from coalmine.demo.config import JUDGING
from coalmine.demo.ports import free_port
from coalmine.demo.receiver import PageReceiver
from coalmine.wiring.service import Service
from core.clock import SystemClock
from scheduler.export.catalogue import METRICS
from selfcheck.canary.model import Signal
from selfcheck.embedded.faults import Fault, FaultKind
from selfcheck.embedded.receiver import OtlpHop
from tests.fakes.embedded_thread import Stack, embedded_stack

TOKEN = "planted-api-token-4711"
PATIENCE_S = 20.0
_TOP = """\
coalmine: 1
namespace: rig
data_dir: data
api: {{listen: "127.0.0.1:{port}", token_file: token}}
{judging}
backends:
  store: {{kind: embedded, url: "{store}"}}
hops:
  gateway: {{kind: otelcol, metrics: "{gateway}/metrics"}}
paging: {{group_wait: 1s, blind_after: 3s}}
receivers:
  pager: {{kind: webhook, url: "{pager}", secret_file: hook}}
pages:
  - {{to: pager, allow_single: true}}
"""

Board = dict[str, Any]


def get(url: str) -> bytes:
    """The body of a GET."""
    with urlopen(url, timeout=5) as answer:
        body: bytes = answer.read()
        return body


def post(url: str, body: object, token: str = TOKEN) -> tuple[int, Any]:
    """Status and JSON of a POST with a bearer token."""
    headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
    request = Request(url, json.dumps(body).encode(), headers, method="POST")
    try:
        with urlopen(request, timeout=5) as answer:
            return answer.status, json.loads(answer.read())
    except HTTPError as exc:
        with exc:
            return exc.code, json.loads(exc.read())


def series(text: str, name: str) -> dict[tuple[str, ...], float]:
    """Samples of a family by their label values, in the catalogue's order."""
    (labels,) = (spec.labels for spec in METRICS if spec.name == name)
    return {
        tuple(sample.labels[label] for label in labels): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


def all_ok(board: Board) -> bool:
    """Whether every route is ok, and there are some."""
    return bool(board["routes"]) and {one["verdict"] for one in board["routes"]} == {"ok"}


class Running:
    """One service in a thread with a loop of its own, as `coalmine run` has it."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self._ready, self._failure = threading.Event(), None
        self._thread = threading.Thread(target=self._run, name="service-under-test")
        self.url = ""
        self.service: Service
        self.loop: asyncio.AbstractEventLoop

    def start(self) -> Self:
        """Return when it serves; raises what its start raised."""
        self._thread.start()
        assert self._ready.wait(60)
        if self._failure is not None:
            self._thread.join(5)
            raise self._failure
        return self

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as exc:  # noqa: BLE001  handed to the test's thread
            self._failure = exc
            self._ready.set()

    async def _main(self) -> None:
        self._end = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.service = Service(load_config(self._config), SystemClock(), random.Random(7))
        self.url = await self.service.start()
        self._ready.set()
        await self._end.wait()
        await self.service.stop()

    def call(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Run a coroutine function in the probing loop."""

        async def run() -> Any:
            return await work()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(10)

    def do(self, work: Callable[[], Any]) -> Any:
        """Run a plain function in the probing loop."""

        async def run() -> Any:
            return work()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(10)

    def board(self) -> Board:
        """The board as the API serves it."""
        board: Board = json.loads(get(f"{self.url}/api/v1/status"))
        return board

    def metrics(self) -> str:
        """One scrape."""
        return get(f"{self.url}/metrics").decode()

    def reload_ok(self) -> bool:
        """What /metrics says of the last reload."""
        return series(self.metrics(), "coalmine_config_reload_ok") == {(): 1.0}

    def until(self, what: str, so: Callable[[Board], Any], *, limit_s: float = PATIENCE_S) -> Board:
        """The first board of which `so` holds; fails after `limit_s`."""
        pause, clock = threading.Event(), SystemClock()
        end_s = clock.monotonic() + limit_s
        while True:
            board = self.board()
            if so(board):
                return board
            if clock.monotonic() > end_s:
                raise AssertionError(f"not within {limit_s:g} s: {what}; {told(board)}")
            pause.wait(0.1)

    def stop(self) -> None:
        """An orderly end; nothing of the service is left."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self._end.set)
            self._thread.join(20)
        assert not self._thread.is_alive()
        if self._failure is not None:
            raise self._failure


def told(board: Board) -> str:
    """A board in a few lines, for the message of a failed wait."""
    lines = [f"{one['name']}: {one['verdict']} {one['reason']} {one['detail']} | {one['finding']} "
             f"{one['outcomes']}" for one in board["routes"]]  # fmt: skip
    lines += [f"{one['name']}: {one['verdict']} {one['reason']} {one['detail']}"
              for one in board["checks"] + board["sources"]]  # fmt: skip
    lines += [f"incident {one['title']}: {one['summary']}" for one in board["incidents"]]
    lines += [f"{one['part']}: {one['verdict']} {one['detail']}" for one in board["vitals"]]
    return "\n".join(lines)


def route(board: Board, name: str) -> Board:
    """One route of a board."""
    return next(one for one in board["routes"] if one["name"] == name)


def check(board: Board, name: str) -> Board:
    """One check of a board."""
    return next(one for one in board["checks"] if one["name"] == name)


def incidents(board: Board, subject: str) -> list[Board]:
    """Open incidents of a subject."""
    return [one for one in board["incidents"] if one["subject"] == subject]


@dataclass
class Rig:
    """The stack, the pager, the config's folder; services come and go."""

    folder: Path
    stack: Stack
    pager: PageReceiver
    port: int = field(default_factory=free_port)
    pages: list[Board] = field(default_factory=list)
    _running: list[Running] = field(default_factory=list)

    @property
    def config(self) -> Path:
        """The config's file."""
        return self.folder / "coalmine.yaml"

    def top(self, judging: str = JUDGING) -> str:
        """The config without checks, routes and sources."""
        return _TOP.format(
            port=self.port, judging=judging, store=self.stack.store.url,
            gateway=self.stack.gateway.url, pager=self.pager.url,
        )  # fmt: skip

    def routes(self, *names: str) -> str:
        """Entries of routes such as `logs-gateway` and `traces-direct`."""
        lines = ["routes:"]
        for name in names:
            signal, way = name.split("-")[:2]
            hops, target = "", "to: store"
            if way == "gateway":
                hops, target = "gateway", f'url: "{self.stack.gateway.url}"'
            lines.append(
                f"  - {{name: {name}, signal: {signal}, every: 1s, hops: [{hops}], read: store, "
                f"inject: {{kind: otlp_http, {target}}}}}"
            )
        return "\n".join(lines) + "\n"

    def write(self, text: str) -> None:
        """Write the config in one step."""
        new = self.config.with_suffix(".new")
        new.write_text(text)
        new.replace(self.config)

    def service(self, text: str | None = None) -> Running:
        """Start a service on `text`, or on the config that is there."""
        if text is not None:
            self.write(text)
        running = Running(self.config).start()
        self._running.append(running)
        return running

    def fault(
        self, hop: OtlpHop, kind: FaultKind, signal: Signal = Signal.LOGS, **more: float
    ) -> None:
        """Switch a fault on."""

        async def put() -> None:
            hop.faults.put(signal, Fault(kind, **more))

        asyncio.run_coroutine_threadsafe(put(), self.stack.loop).result(5)

    def mend(self) -> None:
        """Switch all faults off."""

        async def clear() -> None:
            self.stack.store.faults.clear()
            self.stack.gateway.faults.clear()

        asyncio.run_coroutine_threadsafe(clear(), self.stack.loop).result(5)

    def page(self, what: Callable[[Board], Any], limit_s: float = PATIENCE_S) -> Board:
        """The next page of which `what` holds; all that came are kept in `pages`."""
        clock = SystemClock()
        end_s = clock.monotonic() + limit_s
        while (left := end_s - clock.monotonic()) > 0:
            with contextlib.suppress(Empty):
                self.pages.append(self.pager.pages.get(timeout=left))
                if what(self.pages[-1]):
                    return self.pages[-1]
        raise AssertionError(f"no such page within {limit_s:g} s; {json.dumps(self.pages)[-2000:]}")

    def close(self) -> None:
        """End what still runs."""
        for running in self._running:
            running.stop()


@contextlib.contextmanager
def rig(folder: Path) -> Iterator[Rig]:
    """A stack and a pager, and the files that a config names."""
    for name, text in (
        ("token", TOKEN),
        ("hook", f"whsec_{base64.b64encode(b'planted-webhook-secret-000815-xx').decode()}"),
    ):
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(text)
    pager = PageReceiver(refuses=False)
    try:
        with embedded_stack(folder) as stack:
            made = Rig(folder, stack, pager)
            try:
                yield made
            finally:
                made.mend()
                made.close()
    finally:
        pager.close()
