"""The demo's processes: each tells when it is ready, and ends with the demo."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.clock import Clock
from core.errors import CoalmineError

READY_S = 20.0
# Asks the kernel for a SIGTERM when the demo dies in whatever way, then runs the module.
_TIED = """import ctypes, runpy, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)"""


class Process:
    """One Python module as a process of its own; its stderr goes to a file in the demo's folder."""

    def __init__(self, module: str, args: Sequence[str], folder: Path, clock: Clock) -> None:
        """Start it in a session of its own, so that a Ctrl-C is ours alone to handle."""
        self._module, self._clock = module, clock
        self.log = folder / f"{module.rsplit('.', 1)[-1]}.log"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _TIED, module, *args],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                start_new_session=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )  # fmt: skip

    def ready(self) -> Mapping[str, Any]:
        """The JSON line that says it is ready. Raises CoalmineError when none comes."""
        stream = self._process.stdout
        assert stream is not None
        end = self._clock.monotonic() + READY_S
        while self._clock.monotonic() < end:
            readable, _, _ = select.select([stream], [], [], 0.2)
            if readable:
                line = stream.readline()
                if not line:
                    break
                if line.startswith(b"{"):
                    answer: Mapping[str, Any] = json.loads(line)
                    return answer
        last = self.log.read_text(errors="replace")[-1500:]
        raise CoalmineError(f"{self._module} did not start; its last words:\n{last}")

    def stop(self) -> None:
        """SIGTERM, then SIGKILL after five seconds."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait(5)
        self._close()

    def kill(self) -> None:
        """SIGKILL, as when the machine dies."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(5)
        self._close()

    def _close(self) -> None:
        if self._process.stdout is not None:
            self._process.stdout.close()
