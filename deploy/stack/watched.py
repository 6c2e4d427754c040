"""A stack under watch: the config that `coalmine run` is given for it, and what the service says.

Routes of a signal that share their tails: through an agent and the gateway where the stack has an
agent, through the gateway, and straight to the store, so that a loss at each looks different.
"""

import base64
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from coalmine.demo.ports import free_port
from coalmine.demo.processes import Process
from core.clock import Clock
from deploy.stack.launch import TENANT, Stack

# Store by signal, in the order in which people name them.
STORES: Mapping[str, str] = {"logs": "loki", "metrics": "prometheus", "traces": "jaeger"}
GATEWAY = "gateway"
AGENT = "agent"
_CALL_S = 5.0

# Part of a YAML or JSON document.
Document = dict[str, Any]


def config(stack: Stack, page_url: str, folder: Path, every: str = "10s") -> Document:
    """The config as plain values, for whoever wants another one to change; `write` keeps it.

    page_url: the webhook that is paged. An Alertmanager of the stack is the second receiver.
    """
    signals = [signal for signal, store in STORES.items() if store in stack]
    # In the order of the flow, by the names that the stack has for them.
    chain = {AGENT: AGENT, GATEWAY: "otelcol"}
    hops = {hop: stack[name] for hop, name in chain.items() if name in stack}
    second = {"kind": "alertmanager", "urls": [stack["alertmanager"].url()]} if (
        "alertmanager" in stack
    ) else None  # fmt: skip
    pager = {"kind": "webhook", "url": page_url, "secret_file": str(folder / "webhook-secret")}
    rule = {"to": "pager", "fallback": "alertmanager"} if second else {
        "to": "pager", "allow_single": True,
    }  # fmt: skip
    return {
        "coalmine": 1,
        "namespace": "stack",
        "data_dir": str(folder / "data"),
        "api": {"listen": f"127.0.0.1:{free_port()}", "token_file": str(folder / "token")},
        "backends": {STORES[signal]: backend(stack, STORES[signal]) for signal in signals},
        "hops": {
            hop: {"kind": "otelcol", "metrics": f"{server.url('metrics')}/metrics"}
            for hop, server in hops.items()
        },
        "routes": [
            route
            for signal in signals
            for route in _routes(signal, {hop: one.url() for hop, one in hops.items()}, every)
        ],
        "receivers": {"pager": pager, **({"alertmanager": second} if second else {})},
        "pages": [rule],
    }


def backend(stack: Stack, store: str) -> Document:
    """The backend entry of one store."""
    written: Document = {"kind": store, "url": stack[store].url()}
    if store == "loki":
        written["tenant"] = TENANT
    if store == "jaeger":
        written["write_url"] = stack[store].url("otlp")
    return written


def _routes(signal: str, hops: Mapping[str, str], every: str) -> Iterator[Document]:
    """One route from each of `hops` on, by name with its address, and one straight to the store."""
    common = {"signal": signal, "every": every, "read": STORES[signal]}
    names = list(hops)
    for place, hop in enumerate(names):
        prefix = "gw" if hop == GATEWAY else hop
        inject = {"kind": "otlp_http", "url": hops[hop]}
        yield {"name": f"{prefix}-{signal}", **common, "hops": names[place:], "inject": inject}
    straight = {"kind": "otlp_http", "to": STORES[signal]}
    yield {"name": f"direct-{signal}", **common, "inject": straight}


def write(document: Document, folder: Path) -> Path:
    """The config file with the secrets that it names."""
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    for name, text in (("token", secrets.token_urlsafe(24)), ("webhook-secret", f"whsec_{key}")):
        path = folder / name
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(text)
    written = folder / "coalmine.yaml"
    with written.open("w") as file:
        YAML().dump(document, file)
    return written


class Watcher:
    """`coalmine run` as a process of its own, seen from outside: its API and its metrics."""

    def __init__(self, file: Path, clock: Clock) -> None:
        """Nothing runs before `start`."""
        self._file, self._clock = file, clock
        self._process: Process | None = None
        self.url = ""

    def start(self) -> None:
        """Start it and wait until it says that it is ready. Raises CoalmineError."""
        process = Process(
            "coalmine", ["run", "-c", str(self._file)], self._file.parent, self._clock
        )
        self._process = process
        self.url = str(process.ready()["api"])

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when it does not end."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def kill(self) -> None:
        """SIGKILL, as when the machine dies."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def log(self) -> str:
        """Everything it wrote to stderr."""
        path = self._file.parent / "coalmine.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def board(self) -> Document:
        """The status, as the API serves it. Raises OSError while it does not answer."""
        board: Document = json.loads(_get(f"{self.url}/api/v1/status"))
        return board

    def imbalances(self) -> list[str]:
        """Routes whose account does not add up at this scrape of /metrics, in words."""
        sent: dict[str, float] = {}
        states: dict[str, float] = {}
        said: dict[str, float] = {}
        into: Mapping[str, Callable[[str, float], None]] = {
            "coalmine_canary_sent_total": sent.__setitem__,
            "coalmine_canary_state": lambda route, value: _add(states, route, value),
            "coalmine_canary_identity_ok": said.__setitem__,
        }
        for family in text_string_to_metric_families(_get(f"{self.url}/metrics")):
            for sample in family.samples:
                if sample.name in into:
                    into[sample.name](sample.labels["route"], sample.value)
        return [
            f"{route}: sent {sent[route]:g}, states {states.get(route, 0):g}, "
            f"identity_ok {said.get(route, 0):g}"
            for route in sent
            if sent[route] != states.get(route, 0) or (sent[route] and said.get(route) != 1)
        ]


def _add(sums: dict[str, float], route: str, value: float) -> None:
    sums[route] = sums.get(route, 0) + value


def _get(url: str) -> str:
    with urlopen(url, timeout=_CALL_S) as answer:
        text: str = answer.read().decode()
        return text
