"""The outbound client as tests use it: real sockets, names from a table."""

import contextlib
import socket
from collections.abc import AsyncIterator, Mapping, Sequence

from core.clock import SystemClock
from core.egress import Egress
from core.outbound.client import CurlOutbound
from core.resolve import Resolver


def names(table: Mapping[str, str | OSError]):
    """An `ask` for the resolver: IPv4 addresses or errors by name; others do not exist."""

    def ask(host: str, family: int) -> Sequence[str]:
        answer = table.get(host, socket.gaierror(socket.EAI_NONAME, "unknown name"))
        if isinstance(answer, OSError):
            raise answer
        if family != socket.AF_INET:
            raise socket.gaierror(socket.EAI_NONAME, "no AAAA")
        return [answer]

    return ask


@contextlib.asynccontextmanager
async def client(
    table: Mapping[str, str | OSError] | None = None,
    allow: Sequence[str] = (),
    control: str = "",
) -> AsyncIterator[CurlOutbound]:
    """A client whose names are those of `table`."""
    resolver = Resolver(ask=names(table or {}), control=control, threads=2)
    outbound = CurlOutbound(SystemClock(), resolver, Egress(allow))
    try:
        yield outbound
    finally:
        await outbound.close()
