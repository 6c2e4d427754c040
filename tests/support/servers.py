"""Real servers for tests: skipped visibly when missing, an error when all are required."""

import contextlib
import ipaddress
from pathlib import Path

import pytest

from deploy.stack.launch import Stack
from deploy.stack.servers import SkippedError, required

# States of /proc/net: a TCP socket that listens, a UDP socket without a peer.
_WAITING = {"tcp": "0A", "tcp6": "0A", "udp": "07", "udp6": "07"}


def stack_of(folder: Path, *names: str, **options) -> Stack:
    """A stack of `names`, not started. Skips, or fails with COALMINE_REQUIRE_ALL=1."""
    try:
        return Stack(folder, names, **options)
    except SkippedError as exc:
        if required():
            pytest.fail(f"{exc} (all are required)")
        pytest.skip(f"{exc}: python deploy/stack/servers.py install")


def listeners(pid: int) -> set[tuple[str, ipaddress.IPv4Address | ipaddress.IPv6Address, int]]:
    """Protocol, address and port of every socket on which a process waits for others."""
    own, found = _sockets(pid), set()
    for protocol, state in _WAITING.items():
        for line in Path(f"/proc/{pid}/net/{protocol}").read_text().splitlines()[1:]:
            columns = line.split()
            if columns[3] == state and columns[9] in own:
                address, port = columns[1].split(":")
                found.add((protocol, _address(address), int(port, 16)))
    return found


def _sockets(pid: int) -> set[str]:
    """The inodes of the sockets that a process holds."""
    held = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            target = link.readlink().name
            if target.startswith("socket:["):
                held.add(target.removeprefix("socket:[").removesuffix("]"))
    return held


def _address(written: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address as /proc writes it: words of 32 bits in the machine's (little) byte order."""
    words = [bytes.fromhex(written[at : at + 8])[::-1] for at in range(0, len(written), 8)]
    address = ipaddress.ip_address(b"".join(words))
    return getattr(address, "ipv4_mapped", None) or address
