"""A hostile HTTP server on loopback: the fault is an argument, what it saw is kept."""

import asyncio
import contextlib
import gzip
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


@dataclass
class HostileServer:
    """Where it listens, and the heads of the requests that reached it."""

    port: int = 0
    tls: bool = False
    heads: list[str] = field(default_factory=list)
    connections: int = 0

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{path}"


def reply(status: int = 200, body: bytes = b"Welcome", **headers: str) -> Answer:
    """A well-formed answer; `a_b="c"` becomes the header `a-b: c`."""

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {status} X\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)

    return answer


def gzip_bomb(size: int) -> Answer:
    """`size` zero bytes, sent as gzip whether or not that was asked for."""
    return reply(body=gzip.compress(bytes(size)), content_encoding="gzip")


async def hang(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Take the request, never answer."""
    await reader.read()


async def reset(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """RST instead of an answer."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def half_close(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Close without a byte."""


def raw(*pieces: bytes) -> Answer:
    """Exactly these bytes."""

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    return answer


def endless(head: bytes, piece: bytes, every_s: float = 0.0) -> Answer:
    """`head`, then `piece` for ever: an endless body, or a drip when `every_s` is set."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        gone = asyncio.ensure_future(reader.read())
        try:
            while not gone.done():
                writer.write(piece)
                await writer.drain()
                await asyncio.wait({gone}, timeout=every_s)
        finally:
            gone.cancel()

    return answer


@contextlib.asynccontextmanager
async def serving(
    answer: Answer, context: ssl.SSLContext | None = None
) -> AsyncIterator[HostileServer]:
    """Serve `answer` to every request on a free loopback port."""
    server = HostileServer(tls=context is not None)
    tasks: set[asyncio.Task[None]] = set()

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]  # always inside a task
        server.connections += 1
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            server.heads.append(head.decode("latin-1"))
            await answer(reader, writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client left, or the test is over
        finally:
            writer.close()

    listener = await asyncio.start_server(on_connection, "127.0.0.1", 0, ssl=context)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listener.wait_closed()
