"""Start real servers on free loopback ports in a fresh folder, and stop only those.

`Stack` is a context manager. A server counts as started when it answers its ready URL *and* one
record has made the round trip through it. The Collector stops before its targets, else it drains
until it is killed.
"""

import json
import os
import random
import shutil
import signal
import socket
import string
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from deploy.stack.collector import CollectorPlan, render
from deploy.stack.servers import SkippedError, find

CONF = Path(__file__).resolve().parent / "conf"
HOST = "127.0.0.1"
TENANT = "team-a"
READY_S = 30.0
STOP_S = 5.0
_POLL_S = 0.05

Ports = Mapping[str, int]
_FIRST_PORT, _LAST_PORT, _WORKERS = 15_000, 32_000, 8
_given: set[int] = set()


class LaunchError(Exception):
    """A server that should run does not; the text ends with the last lines of its log."""


@dataclass(frozen=True, slots=True)
class Spec:
    """How one server is started: names of its ports, arguments, ready path, proof of use.

    grace_s: how long a SIGTERM is given before a SIGKILL.
    """

    ports: tuple[str, ...]
    arguments: Callable[[Ports, Path], list[str]]
    ready: tuple[str, str]
    prove: Callable[[Ports], bool]
    config: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    grace_s: float = STOP_S


@dataclass(slots=True)
class Running:
    """One server of a stack; its ports stay the same over restarts."""

    name: str
    spec: Spec
    folder: Path
    ports: Ports
    process: subprocess.Popen[bytes] | None = None

    def url(self, port: str = "http") -> str:
        """Base URL of one of its listeners."""
        return f"http://{HOST}:{self.ports[port]}"

    @property
    def log(self) -> Path:
        """Everything the server printed."""
        return self.folder / "log"


class Stack:
    """Servers of one test; `names` in any order, the Collector needs a plan by signal."""

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        plan: Callable[["Stack"], CollectorPlan] | None = None,
        substitutions: Mapping[str, str] | None = None,
    ) -> None:
        """`plan` is asked once ports are known; the default sends each signal to its store.

        substitutions: further names for the templates, such as `webhook` of the Alertmanager.
        Raises SkippedError when a server is missing.
        """
        missing = [name for name in names if find(name) is None]
        if missing:
            raise SkippedError(f"missing servers: {', '.join(missing)}")
        self._folder, self._substitutions = folder, dict(substitutions or {})
        self._servers = {name: self._prepare(name) for name in names}
        self._plan = (plan or default_plan)(self) if "otelcol" in names else None

    def __enter__(self) -> Self:
        """Start everything, the Collector last. Stops what runs when one fails."""
        try:
            for name in sorted(self._servers, key=lambda name: name == "otelcol"):
                self.start(name)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Stop everything."""
        self.close()

    def __contains__(self, name: str) -> bool:
        """Whether the server belongs to this stack."""
        return name in self._servers

    def __getitem__(self, name: str) -> Running:
        """One server."""
        return self._servers[name]

    def start(self, name: str) -> None:
        """Start a server on its ports and return once it is usable. Raises LaunchError."""
        server = self._servers[name]
        if server.process is not None:
            return
        self._write_config(server)
        with server.log.open("ab") as log:
            server.process = _LAUNCHER.submit(_spawn, server, log).result()
        port, path = server.spec.ready
        self._wait(server, "ready", lambda: _status(server.url(port) + path) == 200)
        self._wait(server, "usable", lambda: server.spec.prove(server.ports))

    def stop(self, name: str) -> None:
        """SIGTERM, and SIGKILL after the grace; a frozen server is let go first."""
        server = self._servers[name]
        if server.process is None:
            return
        server.process.send_signal(signal.SIGTERM)
        server.process.send_signal(signal.SIGCONT)
        try:
            server.process.wait(server.spec.grace_s)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()
        server.process = None

    def kill(self, name: str) -> None:
        """SIGKILL, as when a machine dies."""
        server = self._servers[name]
        if server.process is not None:
            server.process.kill()
            server.process.wait()
            server.process = None

    def freeze(self, name: str) -> None:
        """SIGSTOP: ports stay open, nothing answers. Returns once the server stands still."""
        stat = Path(f"/proc/{self._send(name, signal.SIGSTOP)}/stat")
        while stat.read_text().rpartition(")")[2].split()[0] != "T":
            time.sleep(_POLL_S / 10)

    def thaw(self, name: str) -> None:
        """SIGCONT after `freeze`."""
        self._send(name, signal.SIGCONT)

    @property
    def plan(self) -> CollectorPlan:
        """What the Collector does now. Raises LaunchError when there is none."""
        if self._plan is None:
            raise LaunchError("this stack has no otelcol")
        return self._plan

    def reconfigure(self, plan: CollectorPlan) -> None:
        """Restart the Collector with another plan, on the same ports."""
        self._plan = plan
        self.stop("otelcol")
        self.start("otelcol")

    def close(self) -> None:
        """Stop everything, the Collector first."""
        for name in sorted(self._servers, key=lambda name: name != "otelcol"):
            self.stop(name)

    def _prepare(self, name: str) -> Running:
        spec, folder = SPECS[name], self._folder / name
        folder.mkdir(parents=True, exist_ok=True)
        return Running(name, spec, folder, free_ports(spec.ports))

    def _write_config(self, server: Running) -> None:
        if server.name == "otelcol":
            written = render(self.plan, server.ports, str(server.folder))
            (server.folder / "config.yml").write_text(written)
        elif server.spec.config:
            template = string.Template((CONF / server.spec.config).read_text())
            values = {**server.ports, "data": server.folder, **self._substitutions}
            (server.folder / "config.yml").write_text(template.substitute(values))

    def _wait(self, server: Running, state: str, reached: Callable[[], bool]) -> None:
        ends = time.monotonic() + READY_S
        while not reached():
            ended = server.process is None or server.process.poll() is not None
            if ended or time.monotonic() > ends:
                tail = server.log.read_text(errors="replace")[-2000:]
                raise LaunchError(f"{server.name} is not {state}:\n{tail}")
            time.sleep(_POLL_S)

    def _send(self, name: str, number: signal.Signals) -> int:
        process = self._servers[name].process
        if process is None:
            raise LaunchError(f"{name} does not run")
        process.send_signal(number)
        return process.pid


def default_plan(stack: Stack) -> CollectorPlan:
    """Each signal to the store of the stack that takes it."""
    targets: dict[str, Mapping[str, object]] = {}
    if "loki" in stack:
        endpoint = f"{stack['loki'].url()}/otlp"
        targets["logs"] = {"endpoint": endpoint, "headers": {"X-Scope-OrgID": TENANT}}
    if "prometheus" in stack:
        targets["metrics"] = {"endpoint": f"{stack['prometheus'].url()}/api/v1/otlp"}
    if "jaeger" in stack:
        targets["traces"] = {"endpoint": stack["jaeger"].url("otlp")}
    return CollectorPlan(targets)


def free_ports(names: Sequence[str]) -> dict[str, int]:
    """A free loopback port for each name, below the range that outgoing connections take."""
    held, ports = [], {}
    try:
        for name in names:
            holder = _hold_port()
            held.append(holder)
            ports[name] = holder.getsockname()[1]
    finally:
        for holder in held:
            holder.close()
    return ports


def _hold_port() -> socket.socket:
    """A bound socket on a port that nobody in this process was given before.

    A port is free only until somebody else takes it: parallel test workers have ranges of their
    own, so that none takes what another was just given.
    """
    first, last = _port_range(os.environ.get("PYTEST_XDIST_WORKER", ""))
    while True:
        port = random.SystemRandom().randrange(first, last)
        holder = socket.socket()
        try:
            holder.bind((HOST, port))
        except OSError:
            holder.close()
            continue
        if port not in _given:
            _given.add(port)
            return holder
        holder.close()


def _port_range(worker: str) -> tuple[int, int]:
    """The ports of one of at most eight workers, named `gw0`, `gw1` … by pytest-xdist."""
    if not worker.startswith("gw"):
        return _FIRST_PORT, _LAST_PORT
    width = (_LAST_PORT - _FIRST_PORT) // _WORKERS
    first = _FIRST_PORT + int(worker[2:]) % _WORKERS * width
    return first, first + width


# A parent-death signal belongs to the *thread* that started the child: one that lives as long as
# the process starts them all, whoever asks.
_LAUNCHER = ThreadPoolExecutor(1, "launcher")


def _spawn(server: Running, log: IO[bytes]) -> subprocess.Popen[bytes]:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(server.folder)}
    return subprocess.Popen(
        [*_tied(), str(find(server.name)), *server.spec.arguments(server.ports, server.folder)],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd=server.folder,
        env={**environment, **server.spec.environment},
        start_new_session=True,
    )


def _tied() -> list[str]:
    """A prefix that ends the server when the process that started it dies, however it dies."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


def _status(url: str) -> int:
    """Status of a GET; 0 for no answer."""
    return _ask(url)[0]


def _ask(
    url: str, body: object = None, headers: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Status and text of a GET, or of a POST of JSON; (0, "") for no answer."""
    data = None if body is None else json.dumps(body).encode()
    fixed = {"Content-Type": "application/json", **(headers or {})}
    request = urllib.request.Request(url, data=data, headers=fixed)
    try:
        with urllib.request.urlopen(request, timeout=2) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as exc:
        exc.close()
        return exc.code, ""
    except OSError:
        return 0, ""


def _loki_proof(ports: Ports) -> bool:
    base, tenant = f"http://{HOST}:{ports['http']}/loki/api/v1", {"X-Scope-OrgID": "proof"}
    line = [str(time.time_ns()), "proof"]
    pushed = {"streams": [{"stream": {"job": "proof"}, "values": [line]}]}
    status, _ = _ask(f"{base}/push", pushed, tenant)
    found = _ask(f"{base}/query_range?query=%7Bjob%3D%22proof%22%7D", headers=tenant)[1]
    return status == 204 and '"proof"' in found


def _prometheus_proof(ports: Ports) -> bool:
    base = f"http://{HOST}:{ports['http']}/api/v1"
    point = {"asDouble": 1, "timeUnixNano": str(time.time_ns())}
    metric = {"name": "launch_proof", "gauge": {"dataPoints": [point]}}
    sent = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]}
    status, _ = _ask(f"{base}/otlp/v1/metrics", sent)
    return status == 200 and '"launch_proof"' in _ask(f"{base}/query?query=launch_proof")[1]


def _jaeger_proof(ports: Ports) -> bool:
    trace_id, now = f"{time.time_ns():032x}", str(time.time_ns())
    span = {"traceId": trace_id, "spanId": "00000000000000a1", "name": "proof"}
    span |= {"startTimeUnixNano": now, "endTimeUnixNano": now}
    sent = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    status, _ = _ask(f"http://{HOST}:{ports['otlp']}/v1/traces", sent)
    return status == 200 and _status(f"http://{HOST}:{ports['http']}/api/traces/{trace_id}") == 200


def _collector_proof(ports: Ports) -> bool:
    # Its targets are proven by now; sending through it would leave records in their stores. The
    # health endpoint may answer before the receiver listens, which answers a GET with an error.
    receives = _status(f"http://{HOST}:{ports['http']}/v1/logs") != 0
    return receives and _status(f"http://{HOST}:{ports['metrics']}/metrics") == 200


def _answers(path: str) -> Callable[[Ports], bool]:
    return lambda ports: _status(f"http://{HOST}:{ports['http']}{path}") == 200


def _jaeger_arguments(ports: Ports, _folder: Path) -> list[str]:
    # Every listener is named: those left out would take their usual ports on all interfaces.
    listeners = {
        "query.http-server.host-port": "http",
        "query.grpc-server.host-port": "query-grpc",
        "collector.otlp.http.host-port": "otlp",
        "collector.otlp.grpc.host-port": "otlp-grpc",
        "collector.http-server.host-port": "thrift",
        "collector.grpc-server.host-port": "grpc",
        "admin.http.host-port": "admin",
        "http-server.host-port": "agent",
        "processor.jaeger-binary.server-host-port": "udp-binary",
        "processor.jaeger-compact.server-host-port": "udp-compact",
        "processor.zipkin-compact.server-host-port": "udp-zipkin",
    }
    named = [f"--{flag}={HOST}:{ports[port]}" for flag, port in listeners.items()]
    return [*named, "--collector.zipkin.host-port="]


_JAEGER_PORTS = (
    "http", "query-grpc", "otlp", "otlp-grpc", "thrift", "grpc", "admin", "agent",
    "udp-binary", "udp-compact", "udp-zipkin",
)  # fmt: skip

SPECS: Mapping[str, Spec] = {
    "otelcol": Spec(
        ("http", "grpc", "metrics", "health"),
        lambda _ports, folder: [f"--config={folder}/config.yml"],
        ("health", "/"),
        _collector_proof,
    ),
    "loki": Spec(
        ("http", "grpc", "gossip"),
        lambda _ports, folder: [f"-config.file={folder}/config.yml"],
        ("http", "/ready"),
        _loki_proof,
        "loki.yml",
    ),
    "prometheus": Spec(
        ("http",),
        lambda ports, folder: [
            f"--config.file={folder}/config.yml",
            f"--web.listen-address={HOST}:{ports['http']}",
            f"--storage.tsdb.path={folder}/data",
            "--web.enable-otlp-receiver",
            "--web.enable-admin-api",
            "--enable-feature=exemplar-storage",
            "--log.level=warn",
        ],
        ("http", "/-/ready"),
        _prometheus_proof,
        "prometheus.yml",
    ),
    "jaeger": Spec(
        _JAEGER_PORTS,
        _jaeger_arguments,
        ("admin", "/"),
        _jaeger_proof,
        environment={"SPAN_STORAGE_TYPE": "memory"},
        grace_s=0.5,  # never ends by itself within 5 s; its store is memory only
    ),
    "alertmanager": Spec(
        ("http",),
        lambda ports, folder: [
            f"--config.file={folder}/config.yml",
            f"--web.listen-address={HOST}:{ports['http']}",
            "--cluster.listen-address=",
            f"--storage.path={folder}/data",
        ],
        ("http", "/-/ready"),
        _answers("/api/v2/status"),
        "alertmanager.yml",
    ),
    "blackbox": Spec(
        ("http",),
        lambda ports, folder: [
            f"--config.file={folder}/config.yml",
            f"--web.listen-address={HOST}:{ports['http']}",
        ],
        ("http", "/-/healthy"),
        _answers("/metrics"),
        "blackbox.yml",
    ),
}
