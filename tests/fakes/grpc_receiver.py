"""OTLP/gRPC receivers on loopback: one that answers what it is told to, and ones that break.

Follows opentelemetry-proto docs/specification.md, "OTLP/gRPC", and for RetryInfo in the details of
a status what the Collector sends (opentelemetry-collector, receiver/otlpreceiver, 0.159). The
broken ones speak as much HTTP/2 (RFC 9113) as it takes to fail at a chosen place.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

Answer = Callable[[grpc.aio.ServicerContext], Awaitable[bytes]]

_SETTINGS, _ACK = b"\0\0\0\4\0\0\0\0\0", b"\0\0\0\4\1\0\0\0\0"
_PREFACE_BYTES = 24
_DATA, _HEADERS, _RST, _SETTINGS_FRAME = 0, 1, 3, 4


@dataclass
class Call:
    """One export as it arrived: the message is unpacked, the metadata as sent."""

    method: str
    body: bytes
    metadata: dict[str, str]


@dataclass
class Receiver:
    """`origin` is host:port; `calls` in the order of their arrival."""

    origin: str
    calls: list[Call] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.origin}"


def says(body: bytes = b"") -> Answer:
    """Status OK with these bytes."""

    async def answer(_: grpc.aio.ServicerContext) -> bytes:
        return body

    return answer


def refuses(code: str, detail: str = "", retry_s: float | None = None, own: bool = False) -> Answer:
    """A status of the receiver's own; RetryInfo in its details, or as a trailer of its `own`."""

    async def answer(context: grpc.aio.ServicerContext) -> bytes:
        trailers = () if retry_s is None else (_retry(code, retry_s, own),)
        await context.abort(grpc.StatusCode[code], detail, trailers)
        raise AssertionError("abort raises")

    return answer


async def never(_: grpc.aio.ServicerContext) -> bytes:
    """Takes the request and does not answer."""
    await asyncio.Event().wait()
    return b""


def echoes(name: str) -> Answer:
    """Refuses, and repeats a header of the request in its words."""

    async def answer(context: grpc.aio.ServicerContext) -> bytes:
        told = dict(context.invocation_metadata())[name]
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"did not like {told}")
        raise AssertionError("abort raises")

    return answer


def _retry(code: str, retry_s: float, own: bool) -> tuple[str, bytes]:
    whole = int(retry_s)
    info = RetryInfo(retry_delay=Duration(seconds=whole, nanos=int((retry_s - whole) * 1e9)))
    if own:
        return ("google.rpc.retryinfo-bin", info.SerializeToString())
    packed = Any()
    packed.Pack(info)
    number = grpc.StatusCode[code].value[0]
    return ("grpc-status-details-bin", Status(code=number, details=[packed]).SerializeToString())


@asynccontextmanager
async def receiver(
    *answers: Answer,
    credentials: grpc.ServerCredentials | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[Receiver]:
    """Answers in turn, the last one for all further calls."""
    server, got = grpc.aio.server(), Receiver("")

    class Handler(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
            async def export(body: bytes, context: grpc.aio.ServicerContext) -> bytes:
                metadata = dict(details.invocation_metadata)
                got.calls.append(Call(details.method, body, metadata))
                return await answers[min(len(got.calls), len(answers)) - 1](context)

            return grpc.unary_unary_rpc_method_handler(export)

    server.add_generic_rpc_handlers((Handler(),))
    where = f"{host}:{port}"
    add = server.add_insecure_port
    bound = add(where) if credentials is None else server.add_secure_port(where, credentials)
    got.origin = f"{host}:{bound}"
    await server.start()
    try:
        yield got
    finally:
        await server.stop(0)


@dataclass
class Broken:
    """A port that fails at a chosen place.

    requests: those that came whole. compressed: the flag of each message.
    """

    origin: str
    requests: int = 0
    compressed: list[int] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.origin}"


@asynccontextmanager
async def broken(place: str) -> AsyncIterator[Broken]:
    """One that fails at `place`.

    mute: accepts the connection and says nothing, as a frozen process does. hangs_up: closes it at
    once. before_body, after_body: takes the headers, or all of the request, and closes. resets:
    resets the stream with INTERNAL_ERROR. deaf: takes all and does not answer. page: answers as a
    web server, 502. login: answers as a web server, 200 with a page.
    """
    got = Broken("")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if place == "mute":
                await reader.read(-1)
            elif place != "hangs_up":
                await _http2(place, got, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            if not writer.is_closing():
                writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    got.origin = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield got
    finally:
        server.close()


async def _http2(
    place: str, got: Broken, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    writer.write(_SETTINGS)
    await reader.readexactly(_PREFACE_BYTES)
    while True:
        head = await reader.readexactly(9)
        kind, flags, stream = head[3], head[4], head[5:]
        payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
        if kind == _SETTINGS_FRAME and not flags & 1:
            writer.write(_ACK)
        if kind == _HEADERS and place == "before_body":
            return
        if kind == _DATA and flags & 1:
            got.requests += 1
            got.compressed.append(payload[0])
            if place == "after_body":
                return
            if place == "resets":
                writer.write(b"\0\0\4" + bytes([_RST, 0]) + stream + b"\0\0\0\2")
            if place == "page":
                writer.write(_frame(_HEADERS, 5, stream, b"\x08\x03502"))
            if place == "login":
                fields = b"\x88\x0f\x10\x09text/html"
                writer.write(_frame(_HEADERS, 4, stream, fields))
                writer.write(_frame(_DATA, 1, stream, b"<html>log in</html>"))


def _frame(kind: int, flags: int, stream: bytes, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream + payload
