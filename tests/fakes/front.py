"""What may stand before a store: TLS, a cache, a query frontend that aligns ranges.

`pipe` hands bytes on, so that it is true to whatever is behind it; `forward` reads requests, so
that it can change what is asked and keep what was answered.
"""

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

_MINUTE_S = 60
_SPAN_NAMES = re.compile(r"(start|end)(_ns|_?[tT]s|Ts)?$|^endTs$")
# Digits of the whole part of a Unix time near the present day, by unit.
_UNITS = {10: 1, 13: 10**3, 16: 10**6, 19: 10**9}


@dataclass
class Front:
    """`url` to use in place of the store's.

    heads: of requests that came in; asked: what each of them asked for, credentials and dates left
    out; taken: bytes.
    """

    url: str
    heads: list[str] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)
    taken: int = 0


Rewrite = Callable[[str], str]


def aligned(target: str) -> str:
    """`target` with the ends of its range cut down to whole minutes, whatever their unit."""
    parts = urlsplit(target)
    query = [(name, _cut(name, value)) for name, value in parse_qsl(parts.query, True)]
    return urlunsplit(parts._replace(query=urlencode(query)))


def _cut(name: str, value: str) -> str:
    whole = value.partition(".")[0]
    if not _SPAN_NAMES.search(name) or not whole.isdigit() or len(whole) not in _UNITS:
        return value
    step = _MINUTE_S * _UNITS[len(whole)]
    return str(int(whole) // step * step)


def unchanged(target: str) -> str:
    return target


@contextlib.asynccontextmanager
async def pipe(behind: str, context: ssl.SSLContext) -> AsyncIterator[Front]:
    """TLS before the server at `behind`; a handshake that fails reaches nobody."""
    target = urlsplit(behind)
    front = Front("")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(target.hostname, target.port)

        def count(data: bytes) -> None:
            front.taken += len(data)

        await asyncio.gather(
            _copy(reader, inner_writer, count), _copy(inner_reader, writer, lambda _: None)
        )

    async with _listening(serve, context) as port:
        front.url = urlunsplit(target._replace(scheme="https", netloc=f"127.0.0.1:{port}"))
        yield front


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Callable[[bytes], None]
) -> None:
    try:
        while data := await reader.read(65536):
            seen(data)
            writer.write(data)
            await writer.drain()
    except (OSError, ssl.SSLError):
        return  # one side left
    finally:
        writer.close()


@contextlib.asynccontextmanager
async def forward(
    behind: str, rewrite: Rewrite = unchanged, *, caching: bool = False
) -> AsyncIterator[Front]:
    """Forwards each request as `rewrite` has its target.

    caching: what was answered once is answered again, unless the request says `no-cache`.
    """
    target, front = urlsplit(behind), Front("")
    cache: dict[str, bytes] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            body = await reader.readexactly(_length(head))
            front.taken += len(head) + len(body)
            front.heads.append(head)
            front.asked.add(_meaning(head, body))
            method, asked, _ = head.split(" ", 2)
            head = head.replace(f"{method} {asked} ", f"{method} {rewrite(asked)} ", 1)
            key = f"{method} {rewrite(asked)} {body!r}"
            fresh = not caching or bypasses(head)
            if fresh or key not in cache:
                answer = await _ask(target.hostname or "", target.port or 80, head, body)
                if not fresh:
                    cache[key] = answer
            writer.write(answer if fresh else cache[key])
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            return  # the client left
        finally:
            writer.close()

    async with _listening(serve, None) as port:
        front.url = urlunsplit(target._replace(netloc=f"127.0.0.1:{port}"))
        yield front


def _meaning(head: str, body: bytes) -> str:
    """Request line, named action and body: what a request asks for."""
    first, *lines = head.split("\r\n")
    actions = [line for line in lines if line.lower().startswith("x-amz-target:")]
    return "\n".join([first, *actions, body.decode("latin-1")])


def bypasses(head: str) -> bool:
    """Whether a request says that no cache may answer it."""
    return "no-cache" in head.lower() or "no-store" in head.lower()


def _length(head: str) -> int:
    found = re.search(r"^content-length: *(\d+)", head, re.IGNORECASE | re.MULTILINE)
    return int(found[1]) if found else 0


async def _ask(host: str, port: int, head: str, body: bytes) -> bytes:
    """The whole answer of the store; it says that we close too."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(_closing(head).encode("latin-1") + body)
        await writer.drain()
        told = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").removesuffix("\r\n\r\n")
        # Some stores take a second to close: without a length only do we wait for that.
        length = _length(told)
        content = await (reader.readexactly(length) if length else reader.read(-1))
        return _closing(told).encode("latin-1") + b"\r\n\r\n" + content
    finally:
        writer.close()


def _closing(head: str) -> str:
    """`head` of a message after which the connection ends."""
    first, *lines = head.split("\r\n")
    kept = [line for line in lines if not line.lower().startswith("connection:")]
    return "\r\n".join([first, "Connection: close", *kept])


@contextlib.asynccontextmanager
async def _listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], object],
    context: ssl.SSLContext | None,
) -> AsyncIterator[int]:
    tasks: set[asyncio.Task[object]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(serve(reader, writer))  # type: ignore[arg-type]  # a coroutine
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
