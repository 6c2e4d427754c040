"""An HTTP server on loopback that answers every request with given bytes, or worse."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Hostile:
    """`url` of the server; `requests` are the heads it was sent."""

    url: str
    requests: list[str] = field(default_factory=list)


def says(body: bytes, status: str = "200 OK", *headers: str, length: int | None = None) -> Answer:
    """One answer; `length` lies about the body's."""
    size = len(body) if length is None else length
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {size}", *headers])

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(head.encode() + b"\r\nConnection: close\r\n\r\n" + body)

    return answer


async def silence(writer: asyncio.StreamWriter) -> None:
    """Accepts and never answers."""
    await asyncio.Event().wait()


async def drip(writer: asyncio.StreamWriter) -> None:
    """One byte at a time, without end."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.1)


async def flood(writer: asyncio.StreamWriter) -> None:
    """A body without end, as fast as it is taken."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[")
    while True:
        writer.write(b"1," * 32768)
        await writer.drain()


async def reset(writer: asyncio.StreamWriter) -> None:
    """Takes the request and closes without a byte."""


@asynccontextmanager
async def hostile(*answers: Answer) -> AsyncIterator[Hostile]:
    """Answers in turn, the last one for all further requests."""
    seen: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = [h for h in head.lower().split("\r\n") if h.startswith("content-length:")]
            if length:
                await reader.readexactly(int(length[0].split(":")[1]))
            seen.append(head)
            await answers[min(len(seen), len(answers)) - 1](writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield Hostile(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", seen)
    finally:
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        server.close()
        await server.wait_closed()
