"""Name resolution as a stage of its own: A and AAAA apart, same-name look-ups collapsed.

libcurl's resolver is not used: a few stalled AAAA look-ups filled its threads, and healthy
targets then timed out. Each family has its own small pool, so a stalled one cannot hold the other.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from core.egress import Address, is_localhost, parse_address
from core.reason import Reason

_LOOPBACK: tuple[Address, ...] = (ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1"))
_NO_NAME = frozenset({socket.EAI_NONAME, socket.EAI_NODATA})
_CONTROL_LIMIT_S = 2.0

# What asks the system: (host, family) -> addresses as text. Raises OSError.
Ask = Callable[[str, int], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Unresolved:
    """No address. `ours` = not proven to be the name's doing."""

    reason: Reason
    detail: str
    ours: bool


def ask_system(host: str, family: int) -> list[str]:
    """Addresses of `host` from the system's resolver; blocks. Raises OSError."""
    found = socket.getaddrinfo(host, None, family, socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class Resolver:
    """Resolves names for one event loop."""

    def __init__(
        self,
        *,
        families: Sequence[int] = (socket.AF_INET, socket.AF_INET6),
        limit_s: float = 5.0,
        control: str = "",
        threads: int = 8,
        ask: Ask = ask_system,
    ) -> None:
        """`control`: a name that must resolve; when it does, a resolver failure is the target's.

        families: in order of preference; the next is asked only when one has no address.
        """
        self._families, self._limit_s, self._control, self._ask = families, limit_s, control, ask
        self._pools = {
            family: ThreadPoolExecutor(threads, f"resolve-{family}") for family in families
        }
        self._asked: dict[tuple[str, int], asyncio.Future[Sequence[str]]] = {}

    async def resolve(self, host: str) -> tuple[Address, ...] | Unresolved:
        """Addresses of `host` in the preferred order, never empty, or why there are none."""
        literal = parse_address(host)
        if literal is not None:
            return (literal,)
        if is_localhost(host):
            return _LOOPBACK
        try:
            name = host.encode("ascii").decode() if host.isascii() else _idna(host)
        except UnicodeError as exc:
            return Unresolved(Reason.DNS, f"{host} is no valid name: {exc}", ours=False)
        return await self._by_family(name)

    async def _by_family(self, name: str) -> tuple[Address, ...] | Unresolved:
        trouble = Unresolved(Reason.DNS, f"{name} does not exist", ours=False)
        for family in self._families:
            try:
                async with asyncio.timeout(self._limit_s):
                    found = await self._shared(name, family)
            except TimeoutError:
                return await self._judged(f"look-up of {name} took over {self._limit_s:g} s")
            except socket.gaierror as exc:
                if exc.errno not in _NO_NAME:
                    trouble = await self._judged(f"look-up of {name}: {exc.strerror}")
                    if trouble.ours:
                        return trouble
                continue
            except OSError as exc:
                return Unresolved(Reason.RESOLVER, f"look-up of {name}: {exc}", ours=True)
            if found:
                return tuple(dict.fromkeys(map(ipaddress.ip_address, map(_bare, found))))
        return trouble

    async def _judged(self, detail: str) -> Unresolved:
        """A resolver failure is the target's only when a control name resolves meanwhile."""
        if self._control:
            try:
                async with asyncio.timeout(_CONTROL_LIMIT_S):
                    await self._shared(self._control, self._families[0])
            except OSError:
                return Unresolved(Reason.RESOLVER, f"{detail}; so did {self._control}", ours=True)
            return Unresolved(Reason.DNS, f"{detail}; {self._control} resolves", ours=False)
        return Unresolved(Reason.RESOLVER, detail, ours=True)

    async def _shared(self, name: str, family: int) -> Sequence[str]:
        key = (name, family)
        future = self._asked.get(key)
        if future is None:
            loop = asyncio.get_running_loop()
            future = loop.run_in_executor(self._pools[family], self._ask, name, family)
            self._asked[key] = future
            future.add_done_callback(lambda done: self._forget(key, done))
        # A caller that gives up must not cancel the look-up that others wait for.
        return await asyncio.shield(future)

    def _forget(self, key: tuple[str, int], done: asyncio.Future[Sequence[str]]) -> None:
        self._asked.pop(key, None)
        if not done.cancelled():
            done.exception()  # retrieved here, for when every caller has given up

    async def close(self) -> None:
        """Forget what is queued. A look-up that hangs ends by itself in its thread."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)


def _bare(text: str) -> str:
    return text.partition("%")[0]


def _idna(host: str) -> str:
    return host.encode("idna").decode()
