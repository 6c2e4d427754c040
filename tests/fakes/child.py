"""A server of ours in a process of its own: an engine that would disturb the tests beside it.

It says where it listens in one line of JSON and ends when its standard input does, so that none
outlives the tests, however they end.
"""

import atexit
import functools
import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Child:
    """A running server. version: as it tells it."""

    url: str
    version: str


@functools.cache
def child(module: str) -> Child:
    """`python -m module`, started once a test process."""
    process = subprocess.Popen(
        [sys.executable, "-m", module],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )

    def end() -> None:
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    atexit.register(end)
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{module} ended with {process.wait()} before it listened")
    told = json.loads(line)
    return Child(told["url"], told["version"])


def say(url: str, version: str) -> None:
    """For the server: it listens now, and ends with its standard input."""
    threading.Thread(target=_until_eof, daemon=True).start()
    sys.stdout.write(json.dumps({"url": url, "version": version}) + "\n")
    sys.stdout.flush()


def _until_eof() -> None:
    sys.stdin.buffer.read()
    os._exit(0)
