"""Start real servers on free loopback ports in a fresh folder, and stop only those.

`Stack` is a context manager. A server counts as started when it answers its ready URL *and* one
record has made the round trip through it. Collectors stop before their targets, else they drain
until they are killed.
"""

import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.stack.collector import SIGNALS, CollectorPlan, render
from deploy.stack.ports import HOST, free_ports
from deploy.stack.running import LaunchError, Running
from deploy.stack.specs import SPECS
from deploy.stack.table import SkippedError, find

__all__ = [
    "HOST", "TENANT", "Instance", "LaunchError", "Running", "Stack", "default_plan", "free_ports",
    "through",
]  # fmt: skip

CONF = Path(__file__).resolve().parent / "conf"
TENANT = "team-a"
COLLECTOR = "otelcol"


@dataclass(frozen=True, slots=True)
class Instance:
    """One server of a stack under a name of its own, such as a second Collector, the agent.

    plan: of a Collector; config: text of its config file instead of the usual one. Both are asked
    once, when all ports of the stack are known. A Collector's text has to listen on its `health`
    port; `http` and `metrics` are waited for when they are in it. ports: names of further ports.
    """

    server: str
    plan: "Callable[[Stack], CollectorPlan] | None" = None
    config: "Callable[[Stack], str] | None" = None
    ports: tuple[str, ...] = ()


class Stack:
    """Servers of one test, each by its own name or as a named instance."""

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        plan: Callable[["Stack"], CollectorPlan] | None = None,
        substitutions: Mapping[str, str] | None = None,
        instances: Mapping[str, Instance] | None = None,
    ) -> None:
        """`plan` is that of the one called otelcol; the default sends each signal to its store.

        substitutions: further names for the templates, such as `webhook` of the Alertmanager.
        instances: more servers by name; a Collector stands after the one that it sends to.
        Raises SkippedError when a server is missing.
        """
        wanted = {
            **{name: Instance(name, plan if name == COLLECTOR else None) for name in names},
            **(instances or {}),
        }
        missing = sorted({one.server for one in wanted.values() if find(one.server) is None})
        if missing:
            raise SkippedError(f"missing servers: {', '.join(missing)}")
        self._folder, self._substitutions = folder, dict(substitutions or {})
        self._servers = {name: self._prepare(name, one) for name, one in wanted.items()}
        for name, one in wanted.items():
            self._servers[name].config = self._config(one)

    def __enter__(self) -> Self:
        """Start everything, Collectors last. Stops what runs when one fails."""
        try:
            for name in self._order():
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
        if server.process is None:
            self._write_config(server)
            server.start()

    def stop(self, name: str) -> None:
        """SIGTERM, and SIGKILL after the grace; a frozen server is let go first."""
        self._servers[name].stop()

    def kill(self, name: str) -> None:
        """SIGKILL, as when a machine dies."""
        self._servers[name].kill()

    def freeze(self, name: str) -> None:
        """SIGSTOP: ports stay open, nothing answers. Returns once the server stands still."""
        self._servers[name].freeze()

    def thaw(self, name: str) -> None:
        """SIGCONT after `freeze`."""
        self._servers[name].thaw()

    @property
    def plan(self) -> CollectorPlan:
        """What the one called otelcol does now. Raises LaunchError when it has no plan."""
        config = self._servers[COLLECTOR].config if COLLECTOR in self else None
        if not isinstance(config, CollectorPlan):
            raise LaunchError(f"this stack has no {COLLECTOR} with a plan")
        return config

    def reconfigure(self, config: CollectorPlan | str, name: str = COLLECTOR) -> None:
        """Restart an instance with another plan or config text, on the same ports."""
        self._servers[name].config = config
        self.stop(name)
        self.start(name)

    def close(self) -> None:
        """Stop everything, what was started last first: a Collector before its targets."""
        for name in reversed(self._order()):
            self.stop(name)

    def _order(self) -> list[str]:
        """As they start: what receives before what sends to it."""
        return sorted(self._servers, key=lambda name: self._servers[name].server == COLLECTOR)

    def _prepare(self, name: str, wanted: Instance) -> Running:
        spec, folder = SPECS[wanted.server], self._folder / name
        for part in ("", *spec.folders):
            (folder / part).mkdir(parents=True, exist_ok=True)
        return Running(name, wanted.server, spec, folder, free_ports((*spec.ports, *wanted.ports)))

    def _config(self, wanted: Instance) -> CollectorPlan | str | None:
        if wanted.config is not None:
            return wanted.config(self)
        return (wanted.plan or default_plan)(self) if wanted.server == COLLECTOR else None

    def _write_config(self, server: Running) -> None:
        match server.config:
            case str(text):
                written = text
            case CollectorPlan() as plan:
                written = render(plan, server.ports, str(server.folder))
            case None if server.spec.config:
                template = string.Template((CONF / server.spec.config).read_text())
                ports = {name.replace("-", "_"): port for name, port in server.ports.items()}
                values = {**ports, "data": server.folder, **self._substitutions}
                written = template.substitute(values)
            case None:
                return
        (server.folder / "config.yml").write_text(written)


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


def through(gateway: str, hop: str) -> Callable[[Stack], CollectorPlan]:
    """The plan of an agent: every signal to the Collector `gateway` of the same stack."""

    def plan(stack: Stack) -> CollectorPlan:
        target = {"endpoint": stack[gateway].url()}
        return CollectorPlan(dict.fromkeys(SIGNALS, target), hop=hop)

    return plan
