"""The running demo: an embedded stack, the shop, the service and a pager, each on loopback."""

import base64
import json
import secrets
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self
from urllib.request import Request, urlopen

from coalmine.demo import journey as journey_module
from coalmine.demo.config import Addresses, render
from coalmine.demo.ports import free_port
from coalmine.demo.processes import Process
from coalmine.demo.receiver import PageReceiver
from coalmine.demo.story import Board, Fault, Stage, drain
from core.clock import Clock

_CALL_S = 5.0


class DemoStage(Stage):
    """Starts everything on entry and ends it on exit; leaves no file and no process behind."""

    def __init__(self, clock: Clock, *, refuses: bool, browser: bool) -> None:
        """refuses: the pager answers 400. browser: with a browser check."""
        self._clock, self._refuses, self._browser = clock, refuses, browser
        self._exit = ExitStack()
        self.url = ""
        self.token = ""
        self.config = Path()

    def __enter__(self) -> Self:
        """Start the parts in the order in which they need each other."""
        try:
            self._start()
        except BaseException:
            self._exit.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End what was started, the service first."""
        self._exit.close()

    def board(self) -> Board:
        """The service's board."""
        board: Board = _call("GET", f"{self.url}/api/v1/status")
        return board

    def page(self) -> Mapping[str, Any] | None:
        """The next page that the pager accepted."""
        return drain(self._receiver.pages)

    def faults(self) -> tuple[Fault, ...]:
        """The story's faults, in order."""
        return (
            Fault(
                "logs-dropped", "the gateway takes logs, counts them as sent, and loses them",
                "logs", "logs-gateway", "gateway", self._gateway_fault("logs", "drop"),
            ),
            Fault(
                "traces-stalled", "the gateway accepts traces and never answers", "traces",
                "traces-gateway", "gateway", self._gateway_fault("traces", "stall"),
            ),
            Fault(
                "shop-silent", "the shop goes on, but its telemetry has stopped", "",
                "source:shop", "source:shop", self._shop_silent,
            ),
        )  # fmt: skip

    def _start(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="coalmine-demo-"))
        self._exit.callback(shutil.rmtree, folder, ignore_errors=True)
        self._receiver = PageReceiver(refuses=self._refuses)
        self._exit.callback(self._receiver.close)
        embedded = self._process("selfcheck.embedded", [], folder)
        self._gateway, self._store = str(embedded["gateway"]), str(embedded["store"])
        shop = self._process("coalmine.demo.shop", ["--otlp", self._gateway], folder)
        self._shop = str(shop["ready"])
        self.config = self._write_config(folder)
        service = self._process("coalmine", ["run", "--config", str(self.config)], folder)
        self.url = str(service["api"])

    def _process(self, module: str, args: list[str], folder: Path) -> Mapping[str, Any]:
        process = Process(module, args, folder, self._clock)
        self._exit.callback(process.stop)
        return process.ready()

    def _write_config(self, folder: Path) -> Path:
        self.token = secrets.token_urlsafe(24)
        key = base64.b64encode(secrets.token_bytes(32)).decode()
        for name, text in (("token", self.token), ("webhook-secret", f"whsec_{key}")):
            (folder / name).touch(mode=0o600)
            (folder / name).write_text(text)
        at = Addresses(
            self._gateway, self._store, self._shop, self._receiver.url, free_port(), folder,
            self._journey(folder),
        )  # fmt: skip
        config = folder / "coalmine.yaml"
        config.write_text(render(at))
        return config

    def _journey(self, folder: Path) -> Path | None:
        if not self._browser:
            return None
        written = Path(journey_module.__file__).read_text().replace("{shop}", self._shop)
        (folder / "order.py").write_text(written)
        return folder / "order.py"

    def _gateway_fault(self, signal: str, kind: str) -> Callable[[bool], None]:
        def switch(on: bool) -> None:
            url = f"{self._gateway}/admin/faults"
            if on:
                _call("PUT", url, {"signal": signal, "kind": kind})
            else:
                _call("DELETE", f"{url}?signal={signal}&kind={kind}")

        return switch

    def _shop_silent(self, on: bool) -> None:
        _call("POST", f"{self._shop}/telemetry", {"on": not on})


def _call(method: str, url: str, body: object = None) -> Any:  # whatever JSON the part answers
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    with urlopen(Request(url, data, headers, method=method), timeout=_CALL_S) as answer:  # noqa: S310  our own loopback addresses
        return json.loads(answer.read())
