"""A fake of Thanos: one Receive that takes samples, one Query over several stores.

Follows thanos.io/tip/components {receive,query,query-frontend}.md and the handlers of Thanos 0.42
(pkg/receive, pkg/api/query), 2026-11. Every sample goes to all stores, as with a replication factor
of their number; each store has its own `receive` label. Faults are attributes.
"""

import gzip
import json
import math
import struct
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import cramjam

from selfcheck import otlp
from selfcheck.canary.model import Signal
from tests.fakes.loopback import Loopback, Reply, Seen
from tests.fakes.promql import BadQueryError, Labels, Query, Selector, labels_of

TENANT_HEADER = "thanos-tenant"
DEFAULT_TENANT = "default-tenant"
MAX_POINTS = 11_000
_JSON = {"Content-Type": "application/json"}
Sample = tuple[dict[str, str], int, float]
Exemplars = dict[Labels, list[dict[str, Any]]]


class FakeThanos:
    """`query_url` and `receive_url`, while entered.

    enforce_tenancy: Query shows a tenant its own series only. down: stores that do not answer.
    hidden: stores that lost what they were sent. quorum: False refuses writes with 503.
    limited: True refuses them with 429. caching: range queries are answered from a cache.
    always_partial: `partial_response=false` does not get through to Query. align_s: times are cut
    to multiples of it.
    """

    def __init__(
        self, *, enforce_tenancy: bool = False, stores: tuple[str, ...] = ("r0", "r1")
    ) -> None:
        self.enforce_tenancy, self.stores = enforce_tenancy, stores
        self.down: set[str] = set()
        self.hidden: set[str] = set()
        self.quorum, self.limited, self.caching = True, False, False
        self.always_partial, self.align_s = False, 0
        self._series: dict[str, dict[Labels, dict[int, float]]] = {name: {} for name in stores}
        self._exemplars: Exemplars = {}
        self._cache: dict[str, Reply] = {}
        self._receive, self._query = Loopback(self._take), Loopback(self._answer)

    async def __aenter__(self) -> Self:
        await self._receive.__aenter__()
        await self._query.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._query.__aexit__(*error)
        await self._receive.__aexit__(*error)

    @property
    def query_url(self) -> str:
        return self._query.base

    @property
    def receive_url(self) -> str:
        return self._receive.base

    @property
    def asked(self) -> list[Seen]:
        """What Query was asked."""
        return self._query.seen

    # Receive.

    def _take(self, seen: Seen) -> Reply:
        decoders = {"/api/v1/otlp": self._otlp, "/api/v1/receive": self._remote_write}
        if seen.path not in decoders or seen.method != "POST":
            return Reply(404, b"404 page not found\n")
        if self.limited:
            return Reply(429, b"tenant is above active series limit\n")
        if not self.quorum:
            return Reply(503, b"target not available\n")
        try:
            samples = decoders[seen.path](seen)
        except (ValueError, IndexError, struct.error) as exc:
            return Reply(400, f"{exc}\n".encode())
        tenant = seen.headers.get(TENANT_HEADER, DEFAULT_TENANT)
        conflicts = [s for s in samples if not self._store(tenant, *s)]
        return (
            Reply(409, b"store locally for endpoint: conflict\n") if conflicts else Reply(200, b"")
        )

    def _store(self, tenant: str, labels: Mapping[str, str], at_ms: int, value: float) -> bool:
        """Keep a sample in every store; False where it is out of order, or of another value."""
        kept = True
        for name in self.stores:
            key = labels_of({**labels, "tenant_id": tenant, "receive": name})
            points = self._series[name].setdefault(key, {})
            if at_ms in points:
                kept = kept and points[at_ms] == value
            elif points and at_ms < max(points):
                kept = False
            elif name not in self.hidden:
                points[at_ms] = value
        return kept

    def _otlp(self, seen: Seen) -> list[Sample]:
        if seen.headers.get("content-type") != otlp.CONTENT_TYPE:
            raise ValueError(f"unsupported content type: {seen.headers.get('content-type')}")
        zipped = seen.headers.get("content-encoding") == "gzip"
        body = gzip.decompress(seen.body) if zipped else seen.body
        found: list[Sample] = []
        for resource in otlp.parse_request(Signal.METRICS, body).resource_metrics:
            own = otlp.attribute_map(resource.resource.attributes)
            named = {"job": own["service.name"], "instance": own["service.instance.id"]}
            for metric in (m for scope in resource.scope_metrics for m in scope.metrics):
                monotonic = metric.HasField("sum") and metric.sum.is_monotonic
                name = f"{metric.name}_total" if monotonic else metric.name
                points = metric.sum.data_points if monotonic else metric.gauge.data_points
                for point in points:
                    sent = otlp.attribute_map(point.attributes)
                    spelt = {key.replace(".", "_"): value for key, value in sent.items()}
                    labels = {"__name__": name, **named, **spelt}
                    at_ms = point.time_unix_nano // 1_000_000
                    found.append((labels, at_ms, point.as_double))
                    # As in Prometheus, gauges sent by OTLP lose their exemplars.
                    for exemplar in point.exemplars if monotonic else ():
                        trace = {"trace_id": exemplar.trace_id.hex()}
                        trace |= otlp.attribute_map(exemplar.filtered_attributes)
                        self._keep_exemplar(labels, trace, exemplar.as_double, at_ms)
        return found

    def _remote_write(self, seen: Seen) -> list[Sample]:
        body = bytes(cramjam.snappy.decompress_raw(seen.body))
        found: list[Sample] = []
        for series in (dict_of(content) for number, content in fields(body) if number == 1):
            labels = dict(pair_of(one) for one in series.get(1, []))
            for sample in map(dict_of, series.get(2, [])):
                value = struct.unpack("<d", sample[1][0])[0] if 1 in sample else 0.0
                found.append((labels, sample[2][0], value))
            for exemplar in map(dict_of, series.get(3, [])):
                value = struct.unpack("<d", exemplar[2][0])[0] if 2 in exemplar else 0.0
                traced = dict(pair_of(one) for one in exemplar.get(1, []))
                self._keep_exemplar(labels, traced, value, exemplar[3][0])
        return found

    def _keep_exemplar(
        self, labels: Mapping[str, str], traced: Mapping[str, str], value: float, at_ms: int
    ) -> None:
        one = {"labels": dict(traced), "value": f"{value:g}", "timestamp": at_ms / 1000}
        self._exemplars.setdefault(labels_of(labels), []).append(one)

    # Query, with a frontend before it.

    def _answer(self, seen: Seen) -> Reply:
        address = urlsplit(seen.path)
        asked = parse_qs(address.query) | parse_qs(seen.body.decode())
        stored = "no-store" not in seen.headers.get("cache-control", "")
        cachable = self.caching and stored and "storeMatch[]" not in asked
        cachable = cachable and address.path == "/api/v1/query_range"
        if cachable and seen.path in self._cache:
            return self._cache[seen.path]
        reply = self._asked(address.path, asked, seen.headers)
        if cachable and reply.status == 200:
            self._cache[seen.path] = reply
        return reply

    def _asked(
        self, path: str, asked: Mapping[str, list[str]], headers: Mapping[str, str]
    ) -> Reply:
        calls = {
            "/api/v1/query": self._instant,
            "/api/v1/query_range": self._range,
            "/api/v1/series": self._listed,
            "/api/v1/query_exemplars": self._exemplified,
        }
        if path not in calls:
            return Reply(404, b"404 page not found\n")
        try:
            partial = self.always_partial or _flag(asked, "partial_response")
            series, missing = self._visible(asked, headers)
            if missing and not partial:
                return _failed(422, "execution", f"fetch series from {missing[0]}: Unavailable")
            data = calls[path](asked, series)
        except (BadQueryError, KeyError, ValueError) as exc:
            return _failed(400, "bad_data", str(exc))
        warned = [f"fetch series from {name}: Unavailable" for name in missing]
        answer = {"status": "success", "data": data} | ({"warnings": warned} if warned else {})
        return Reply(200, json.dumps(answer).encode(), _JSON)

    def _visible(
        self, asked: Mapping[str, list[str]], headers: Mapping[str, str]
    ) -> tuple[dict[Labels, dict[int, float]], list[str]]:
        """Series of the stores that were asked and answered; those of them that did not."""
        chosen = [_selector(text) for text in asked.get("storeMatch[]", [])]
        found: dict[Labels, dict[int, float]] = {}
        wanted = [
            n for n in self.stores if not chosen or any(c.picks((("receive", n),)) for c in chosen)
        ]
        tenant = headers.get(TENANT_HEADER, DEFAULT_TENANT)
        for name in (one for one in wanted if one not in self.down):
            for labels, points in self._series[name].items():
                if self.enforce_tenancy and dict(labels)["tenant_id"] != tenant:
                    continue
                shown = dict(labels)
                if _flag(asked, "dedup"):
                    del shown["receive"]
                found.setdefault(labels_of(shown), {}).update(points)
        return found, [one for one in wanted if one in self.down]

    def _cut(self, at_ms: int) -> int:
        return at_ms - at_ms % (self.align_s * 1000) if self.align_s else at_ms

    def _instant(self, asked: Mapping[str, list[str]], series: Any) -> Any:
        query, at_ms = Query(asked["query"][0]), self._cut(_ms(asked["time"][0]))
        found = query.at(series, at_ms)
        if query.ranged:
            shown = [
                {"metric": dict(k), "values": [_pair(*one) for one in p]} for k, p in found.items()
            ]
            return {"resultType": "matrix", "result": shown}
        shown = [{"metric": dict(k), "value": _pair(at_ms, v)} for k, v in found.items()]
        return {"resultType": "vector", "result": shown}

    def _range(self, asked: Mapping[str, list[str]], series: Any) -> Any:
        query = Query(asked["query"][0])
        start, end, step = (_ms(asked[name][0]) for name in ("start", "end", "step"))
        start, end = self._cut(start), self._cut(end)
        if (end - start) // step + 1 > MAX_POINTS:
            raise BadQueryError("exceeded maximum resolution of 11,000 points per timeseries")
        found: dict[Labels, list[Any]] = {}
        for at_ms in range(start, end + 1, step):
            for labels, value in query.at(series, at_ms).items():
                found.setdefault(labels, []).append(_pair(at_ms, value))
        shown = [{"metric": dict(k), "values": v} for k, v in found.items()]
        return {"resultType": "matrix", "result": shown}

    def _listed(self, asked: Mapping[str, list[str]], series: Any) -> Any:
        start, end = _ms(asked["start"][0]), _ms(asked["end"][0])
        chosen = [_selector(text) for text in asked["match[]"]]
        return [
            dict(labels)
            for labels, points in series.items()
            if any(one.picks(labels) for one in chosen) and any(start <= at <= end for at in points)
        ]

    def _exemplified(self, asked: Mapping[str, list[str]], _series: Any) -> Any:
        chosen, found = _selector(asked["query"][0]), []
        start, end = float(asked["start"][0]), float(asked["end"][0])
        for labels, exemplars in self._exemplars.items():
            inside = [one for one in exemplars if start <= one["timestamp"] <= end]
            if chosen.picks(labels) and inside:
                found.append({"seriesLabels": dict(labels), "exemplars": inside})
        return found


def _failed(status: int, kind: str, why: str) -> Reply:
    told = {"status": "error", "errorType": kind, "error": why}
    return Reply(status, json.dumps(told).encode(), _JSON)


def _flag(asked: Mapping[str, list[str]], name: str) -> bool:
    """A boolean of the query; both that there are default to true."""
    text = asked.get(name, ["true"])[0]
    if text not in {"true", "false", "1", "0"}:
        raise BadQueryError(f"{name!r} parameter: {text!r}")
    return text in {"true", "1"}


def _selector(text: str) -> Selector:
    query = Query(text)
    if query.selector is None:
        raise BadQueryError("expected a selector")
    return query.selector


def _ms(seconds: str) -> int:
    return round(float(seconds.removesuffix("s")) * 1000)


def _pair(at_ms: int, value: float) -> list[Any]:
    text = f"{'-' if value < 0 else '+'}Inf" if math.isinf(value) else format(value, ".17g")
    return [at_ms / 1000, text]


# As much of protobuf as a write request needs.


def fields(body: bytes) -> list[tuple[int, Any]]:
    """Number and content of each field: bytes, or a whole number for a varint."""
    found, at = [], 0
    while at < len(body):
        key, at = varint(body, at)
        size = 8
        if key & 7 == 0:
            value, at = varint(body, at)
            found.append((key >> 3, value))
            continue
        if key & 7 == 2:
            size, at = varint(body, at)
        elif key & 7 != 1:
            raise ValueError(f"wire type {key & 7}")
        found.append((key >> 3, body[at : at + size]))
        at += size
    return found


def varint(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = body[at]
        value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
        if byte < 0x80:
            return value, at


def dict_of(body: bytes) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for number, content in fields(body):
        found.setdefault(number, []).append(content)
    return found


def pair_of(body: bytes) -> tuple[str, str]:
    pair = dict_of(body)
    return pair[1][0].decode(), pair.get(2, [b""])[0].decode()
