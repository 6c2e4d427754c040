"""What both built-in hops share: the OTLP/HTTP receiver, the admin route and the metrics page."""

import gzip
import json
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from core.clock import Clock
from selfcheck.canary.model import Signal
from selfcheck.embedded import counters as pages
from selfcheck.embedded import shaping
from selfcheck.embedded.counters import Counters
from selfcheck.embedded.faults import Fault, FaultBoard, FaultError, FaultKind
from selfcheck.embedded.serving import LoopbackServer
from selfcheck.otlp import (
    CONTENT_TYPE,
    DEFAULT_PATHS,
    ExportRequest,
    NotOtlpError,
    build_reply,
    parse_request,
)

BODY_CAP = 4 << 20


class FullError(Exception):
    """There is no room for the request now: the sender may try again."""


class OtlpHop(ABC):
    """One hop with a receiver. `take` gets every request that no fault turned away."""

    def __init__(self, clock: Clock, faults: FaultBoard, port: int) -> None:
        """Listens on `port` of loopback once started, 0 for a free one."""
        self.clock, self.faults, self.counters = clock, faults, Counters(clock)
        for signal in Signal:
            self.counters.received(signal, 0, 0)
            self.counters.refused(signal, 0)
        self._server = LoopbackServer(self._app(), port)

    @abstractmethod
    def take(self, signal: Signal, request: ExportRequest) -> None:
        """Handle an accepted request. Raises FullError."""

    def routes(self) -> list[Route]:
        """Further routes of this hop."""
        return []

    @property
    def url(self) -> str:
        """Base URL; valid after `start`."""
        return self._server.url

    @property
    def metrics_url(self) -> str:
        """Where the hop's own counters are."""
        return f"{self.url}/metrics"

    async def start(self) -> None:
        """Listen."""
        await self._server.start()

    async def stop(self) -> None:
        """Close the port; held requests are let go first."""
        self.faults.clear(kind=FaultKind.STALL)
        await self._server.stop()

    def _app(self) -> Starlette:
        receivers = [
            Route(path, self._receive, methods=["POST"], name=str(signal))
            for signal, path in DEFAULT_PATHS.items()
        ]
        return Starlette(
            routes=[
                *receivers,
                Route("/healthz", self._health, methods=["GET"]),
                Route("/metrics", self._metrics, methods=["GET"]),
                Route("/admin/faults", self._show_faults, methods=["GET"]),
                Route("/admin/faults", self._put_fault, methods=["PUT"]),
                Route("/admin/faults", self._clear_faults, methods=["DELETE"]),
                *self.routes(),
            ]
        )

    async def _receive(self, http: Request) -> Response:
        signal = Signal(http.url.path.rsplit("/", 1)[-1])
        if http.headers.get("content-type", "").partition(";")[0] != CONTENT_TYPE:
            return PlainTextResponse("only application/x-protobuf", 415)
        try:
            body = await _body(http)
            request = parse_request(signal, body)
        except NotOtlpError as exc:
            return PlainTextResponse(str(exc), 400)
        items = shaping.count(request)
        await self.faults.released(signal)
        if self.faults.strikes(signal, FaultKind.REJECT):
            self.counters.refused(signal, items)
            return PlainTextResponse("refused by a fault", 503)
        try:
            self.take(signal, request)
        except FullError as exc:
            self.counters.refused(signal, items)
            return PlainTextResponse(str(exc), 503)
        self.counters.received(signal, items, len(body))
        return Response(build_reply(signal), media_type=CONTENT_TYPE)

    async def _health(self, _http: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _metrics(self, _http: Request) -> Response:
        return Response(self.counters.text(), media_type=pages.CONTENT_TYPE)

    async def _show_faults(self, _http: Request) -> Response:
        shown = [
            {"signal": signal, "kind": kind, "share": fault.share, "delay_s": fault.delay_s}
            for (signal, kind), fault in self.faults.active().items()
        ]
        return JSONResponse({"faults": shown})

    async def _put_fault(self, http: Request) -> Response:
        try:
            signals, fault = _fault(json.loads(await http.body()))
            for signal in signals:
                self.faults.put(signal, fault)
        except (ValueError, TypeError, KeyError, FaultError) as exc:
            return PlainTextResponse(f"no such fault: {exc}", 400)
        return await self._show_faults(http)

    async def _clear_faults(self, http: Request) -> Response:
        query = http.query_params
        try:
            signal = Signal(query["signal"]) if "signal" in query else None
            kind = FaultKind(query["kind"]) if "kind" in query else None
        except ValueError as exc:
            return PlainTextResponse(str(exc), 400)
        self.faults.clear(signal, kind)
        return await self._show_faults(http)


def _fault(written: Mapping[str, object]) -> tuple[tuple[Signal, ...], Fault]:
    """`{"signal": "logs" or "all", "kind", "share", "delay_s"}`; raises ValueError, FaultError."""
    name = str(written["signal"])
    signals = tuple(Signal) if name == "all" else (Signal(name),)
    share, delay_s = (float(str(written.get(key, plain))) for key, plain in _FIGURES)
    return signals, Fault(FaultKind(str(written["kind"])), share, delay_s)


_FIGURES = (("share", 1.0), ("delay_s", 0.0))


async def _body(http: Request) -> bytes:
    """The decoded body, at most `BODY_CAP` bytes. Raises NotOtlpError."""
    taken = bytearray()
    async for chunk in http.stream():
        taken += chunk
        if len(taken) > BODY_CAP:
            raise NotOtlpError(f"more than {BODY_CAP} bytes")
    if http.headers.get("content-encoding", "identity") != "gzip":
        return bytes(taken)
    unpacker = zlib.decompressobj(wbits=31)
    try:
        plain = unpacker.decompress(bytes(taken), BODY_CAP + 1)
    except (zlib.error, gzip.BadGzipFile) as exc:
        raise NotOtlpError(f"not gzip: {exc}") from exc
    if len(plain) > BODY_CAP or not unpacker.eof:
        raise NotOtlpError("gzip that is cut or too large")
    return plain
