"""Free loopback ports."""

import os
import random
import socket
from collections.abc import Sequence

HOST = "127.0.0.1"
_FIRST_PORT, _LAST_PORT, _WORKERS = 15_000, 32_000, 8
_given: set[int] = set()


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
