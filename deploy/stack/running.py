"""One server as a process: its ports, its folder, its log, and the signals it is sent."""

import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from deploy.stack.collector import CollectorPlan
from deploy.stack.ports import HOST
from deploy.stack.proofs import Ports, status
from deploy.stack.specs import Spec
from deploy.stack.table import find, version_of

READY_S = 60.0
_POLL_S = 0.05

# A parent-death signal belongs to the *thread* that started the child: one that lives as long as
# the process starts them all, whoever asks.
_LAUNCHER = ThreadPoolExecutor(1, "launcher")


class LaunchError(Exception):
    """A server that should run does not; the text ends with the last lines of its log."""


@dataclass(slots=True)
class Running:
    """One server of a stack; its ports stay the same over restarts.

    config: what a Collector does, or the text given for this instance; None is the usual config.
    """

    name: str
    server: str
    spec: Spec
    folder: Path
    ports: Ports
    config: CollectorPlan | str | None = None
    process: subprocess.Popen[bytes] | None = None

    def url(self, port: str = "http") -> str:
        """Base URL of one of its listeners."""
        return f"http://{HOST}:{self.ports[port]}"

    @property
    def log(self) -> Path:
        """Everything the server printed."""
        return self.folder / "log"

    @property
    def version(self) -> str:
        """The version that its binary tells, else the pin it was built from."""
        return version_of(self.server)

    @property
    def listeners(self) -> Ports:
        """Its ports, without those that a Collector's config text does not name."""
        if not isinstance(self.config, str) or self.server != "otelcol":
            return self.ports
        return {name: port for name, port in self.ports.items() if str(port) in self.config}

    def start(self) -> None:
        """Start it and return once it is usable. Raises LaunchError."""
        with self.log.open("ab") as log:
            self.process = _LAUNCHER.submit(self._spawn, log).result()
        port, path = self.spec.ready
        self._wait("ready", lambda: status(self.url(port) + path) == 200)
        self._wait("usable", lambda: self.spec.prove(self.listeners))

    def stop(self) -> None:
        """SIGTERM, and SIGKILL after the grace; a frozen server is let go first."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.wait(self.spec.grace_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def kill(self) -> None:
        """SIGKILL, as when a machine dies."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def freeze(self) -> None:
        """SIGSTOP: ports stay open, nothing answers. Returns once the server stands still."""
        stat = Path(f"/proc/{self._send(signal.SIGSTOP)}/stat")
        while stat.read_text().rpartition(")")[2].split()[0] != "T":
            time.sleep(_POLL_S / 10)

    def thaw(self) -> None:
        """SIGCONT after `freeze`."""
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> int:
        if self.process is None:
            raise LaunchError(f"{self.name} does not run")
        self.process.send_signal(number)
        return self.process.pid

    def _wait(self, state: str, reached: Callable[[], bool]) -> None:
        ends = time.monotonic() + READY_S
        while not reached():
            ended = self.process is None or self.process.poll() is not None
            if ended or time.monotonic() > ends:
                tail = self.log.read_text(errors="replace")[-2000:]
                raise LaunchError(f"{self.name} is not {state}:\n{tail}")
            time.sleep(_POLL_S)

    def _spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        executable = [*self.spec.runner(self.folder), str(find(self.server))]
        own = str(self.folder)
        return subprocess.Popen(
            [*_tied(), *executable, *self.spec.arguments(self.ports, self.folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", "HOME": own, "TMPDIR": own, **self.spec.environment},
            start_new_session=True,
        )


def _tied() -> list[str]:
    """A prefix that ends the server when the process that started it dies, however it dies."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []
