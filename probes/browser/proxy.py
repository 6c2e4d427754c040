"""The browser's only way out: a loopback proxy that resolves, judges and connects by itself.

Interception inside the browser does not see the hops of a redirect, and the browser would look
the name up again; behind a proxy neither a redirect nor a changing name gets past the guard.
"""

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import dataclass
from urllib.parse import urlsplit

from core.egress import Egress
from core.outbound.redirects import origin_of
from core.reason import Reason
from core.resolve import Resolver, Unresolved

REFUSED = "x-coalmine-refused"
_MAX_HEAD = 64 << 10
_PIECE = 64 << 10


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that did not leave for a reason of ours."""

    reason: Reason
    detail: str


class EgressProxy:
    """Serves one browser run. `refused` tells what did not leave, in order."""

    def __init__(self, egress: Egress, resolver: Resolver, written: str) -> None:
        """`written`: config text; an origin that stands in it is allowed as written."""
        self.refused: list[Refusal] = []
        self._egress, self._resolver, self._written = egress, resolver, written
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        """Listen on a free loopback port; the proxy's URL."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_MAX_HEAD)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Cut every connection."""
        if self._server is not None:
            self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._open.add(task)
            task.add_done_callback(self._open.discard)
        try:
            await self._forward(reader, writer)
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # The browser sees its connection close, and the journey tells of it.
            return
        finally:
            writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        line, _, rest = head.partition(b"\r\n")
        method, target, version = line.decode("latin-1").split(" ")
        tunnel = method == "CONNECT"
        scheme, host, port = origin_of(f"https://{target}/" if tunnel else target)
        connection = await self._connect(scheme, host, port)
        if connection is None:
            writer.write(f"HTTP/1.1 403 X\r\n{REFUSED}: 1\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
            return
        far_reader, far_writer = connection
        try:
            if tunnel:
                writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            else:
                far_writer.write(_origin_form(method, target, version, rest))
            await _join(_pump(reader, far_writer), _pump(far_reader, writer))
        finally:
            far_writer.close()

    async def _connect(
        self, scheme: str, host: str, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        found = await self._resolver.resolve(host)
        if isinstance(found, Unresolved):
            if found.ours:
                self.refused.append(Refusal(found.reason, found.detail))
                return None
            raise OSError(found.detail)
        # A tunnel may carry ws or https; the origin as written is what counts.
        literal = any(
            form in self._written for form in (f"{scheme}://{host}:{port}", f"{scheme}://{host}/")
        )
        denied = self._egress.judge(host, found[0], port, literal=literal)
        if denied is not None:
            self.refused.append(Refusal(Reason.EGRESS, denied.why))
            return None
        return await asyncio.open_connection(str(found[0]), port)


def _origin_form(method: str, target: str, version: str, rest: bytes) -> bytes:
    """The request as the server wants it, on a connection for this request alone."""
    parts = urlsplit(target)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    upgrade = b"\r\nupgrade:" in b"\r\n" + rest.lower()
    dropped = (b"proxy-",) if upgrade else (b"proxy-", b"connection:", b"keep-alive:")
    lines = [line for line in rest.split(b"\r\n") if line and not line.lower().startswith(dropped)]
    if not upgrade:
        lines.append(b"Connection: close")
    return b"\r\n".join([f"{method} {path} {version}".encode("latin-1"), *lines, b"", b""])


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(_PIECE):
            writer.write(piece)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


async def _join(up: Coroutine[None, None, None], down: Coroutine[None, None, None]) -> None:
    """Both directions until the far side has said all; then nothing more is to be carried up."""
    sending = asyncio.ensure_future(up)
    try:
        await down
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
