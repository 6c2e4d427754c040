"""The built-in store: takes OTLP, keeps records in bounded memory, answers queries.

Query API (JSON): `/api/v1/records?signal=` with `id=` or `trace_id=`, or with `route=&instance=&
value=`; `/api/v1/search?signal=&route=&instance=&start_ns=&end_ns=&limit=&after=` in order of
arrival with `next` for the following page; `/api/v1/newest?signal=&service=&start_ns=`.
"""

import random
from collections.abc import Callable, Iterable

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from core.clock import Clock
from selfcheck.canary.model import Signal
from selfcheck.embedded import shaping
from selfcheck.embedded.faults import FaultBoard, FaultKind
from selfcheck.embedded.receiver import OtlpHop
from selfcheck.embedded.records import MAX_RECORDS, RecordStore, StoredRecord, records_of
from selfcheck.otlp import ExportRequest

FAULTS = frozenset(
    {FaultKind.DROP, FaultKind.DELAY, FaultKind.REJECT, FaultKind.STALL, FaultKind.READ_DOWN}
)
MAX_PAGE = 1000


class EmbeddedStore(OtlpHop):
    """A hop whose records can be read back."""

    def __init__(
        self, clock: Clock, rng: random.Random, port: int = 0, capacity: int = MAX_RECORDS
    ) -> None:
        """Keeps the newest `capacity` records of each signal."""
        self.store = RecordStore(capacity)
        super().__init__(clock, FaultBoard(FAULTS, rng), port)
        for signal in Signal:
            self.counters.exported(signal, _storage(signal), 0)

    def take(self, signal: Signal, request: ExportRequest) -> None:
        """Keep the records, unless the store is told to lose or to hide them."""
        if self.faults.strikes(signal, FaultKind.DROP):
            return
        visible_s = self.clock.monotonic() + self.faults.delay_s(signal)
        for record in records_of(request, visible_s):
            self.store.add(record)
        self.counters.exported(signal, _storage(signal), shaping.count(request))

    def routes(self) -> list[Route]:
        """The query API."""
        return [
            Route("/api/v1/records", self._records, methods=["GET"]),
            Route("/api/v1/search", self._search, methods=["GET"]),
            Route("/api/v1/newest", self._newest, methods=["GET"]),
        ]

    async def _records(self, http: Request) -> Response:
        signal = _signal(http)
        if (trouble := self._trouble(signal)) or signal is None:
            return trouble or _bad_signal()
        wanted = _wanted(http)
        if wanted is None:
            return PlainTextResponse("expected id, trace_id, or route, instance and value", 400)
        found = (r for _, r in self.store.scan(signal, self.clock.monotonic()))
        return JSONResponse({"records": [_shown(r) for r in found if wanted(r)]})

    async def _search(self, http: Request) -> Response:
        signal = _signal(http)
        if (trouble := self._trouble(signal)) or signal is None:
            return trouble or _bad_signal()
        query = http.query_params
        try:
            start_ns, end_ns = int(query["start_ns"]), int(query["end_ns"])
            after, limit = int(query.get("after", 0)), min(MAX_PAGE, int(query["limit"]))
        except (KeyError, ValueError) as exc:
            return PlainTextResponse(f"bad query: {exc}", 400)
        found = [
            (arrival, record)
            for arrival, record in self.store.scan(signal, self.clock.monotonic())
            if arrival > after
            and start_ns <= record.stamp_ns <= end_ns
            and record.route == query.get("route", record.route)
            and record.instance == query.get("instance", record.instance)
        ]
        page = found[: max(1, limit)]
        following = page[-1][0] if len(found) > len(page) else None
        return JSONResponse({"records": [_shown(r) for _, r in page], "next": following})

    async def _newest(self, http: Request) -> Response:
        signal = _signal(http)
        if (trouble := self._trouble(signal)) or signal is None:
            return trouble or _bad_signal()
        try:
            start_ns = int(http.query_params["start_ns"])
        except (KeyError, ValueError) as exc:
            return PlainTextResponse(f"bad query: {exc}", 400)
        service = http.query_params.get("service", "")
        stamps = _stamps_of(service, self.store.scan(signal, self.clock.monotonic()))
        newest = max((stamp for stamp in stamps if stamp >= start_ns), default=None)
        return JSONResponse({"stamp_ns": newest})

    def _trouble(self, signal: Signal | None) -> Response | None:
        if signal is not None and self.faults.strikes(signal, FaultKind.READ_DOWN):
            return PlainTextResponse("the read side is down", 503)
        return None


def _wanted(http: Request) -> Callable[[StoredRecord], bool] | None:
    """What one query for records asks for; None when it asks for nothing that can be told."""
    query = http.query_params
    if "id" in query:
        return lambda record: record.canary_id == query["id"]
    if "trace_id" in query:
        return lambda record: record.trace_id == query["trace_id"]
    try:
        series = (query["route"], query["instance"], float(query["value"]))
    except (KeyError, ValueError):
        return None
    return lambda record: (record.route, record.instance, record.value) == series


def _storage(signal: Signal) -> str:
    return f"memory/{signal}"


def _signal(http: Request) -> Signal | None:
    name = http.query_params.get("signal", "")
    return Signal(name) if name in set(Signal) else None


def _bad_signal() -> Response:
    return PlainTextResponse("signal must be logs, metrics or traces", 400)


def _stamps_of(service: str, scanned: Iterable[tuple[int, StoredRecord]]) -> Iterable[int]:
    return (record.stamp_ns for _, record in scanned if record.service == service)


def _shown(record: StoredRecord) -> dict[str, object]:
    return {
        "id": record.canary_id,
        "stamp_ns": record.stamp_ns,
        "trace_id": record.trace_id,
        "body": record.body,
        "value": record.value,
        "attributes": record.attributes,
        "fields": record.fields,
    }
