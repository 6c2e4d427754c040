"""A fake of Tempo 3.0's HTTP API: write, by id, search, TraceQL metrics, tenants.

Follows grafana.com/docs/tempo "Tempo HTTP API" (2026-11) and modules/frontend of grafana/tempo:
searches and counts never reach `cutoff_s` from now, take the first traces they find in no order,
show ids without their leading zeros and, unasked, 20 traces and 3 spans of each. Ids of v1 and v2
are base64. Of TraceQL it knows spanset filters of equalities, `select` and `count_over_time`.
"""

import base64
import json
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

from selfcheck.canary.model import Signal
from selfcheck.otlp import CONTENT_TYPE, attribute_map, build_reply, parse_request
from tests.fakes.loopback import Loopback, Reply, Seen

MAX_DURATION_S = 168 * 3600
MAX_LIMIT = 262_144
MAX_SPANS = 100
_SECOND_NS = 10**9
_STRING = r'"(?:[^"\\]|\\.)*"'
_CONDITION = re.compile(rf"\s*(span|resource)\.([\w.-]+)\s*=\s*({_STRING})\s*(&&|$)")
_QUERY = re.compile(rf'\s*\{{((?:{_STRING}|[^"}}])*)\}}\s*(?:\|\s*(.*?)\s*)?$')


class _BadRequestError(Exception):
    """What is answered with 400 and a text."""


@dataclass(frozen=True)
class Stored:
    trace_id: bytes
    span_id: bytes
    name: str
    start_ns: int
    end_ns: int
    resource: Mapping[str, str]
    attributes: Mapping[str, str]
    written_ns: int
    kind: str
    status: str


class FakeTempo:
    """Listens as an asynchronous context manager.

    cutoff_s: query_frontend.query_end_cutoff. tenants: whether X-Scope-OrgID is needed. ahead_s:
    how far its clock is ahead of the machine's. partial: by id and counts say PARTIAL. undone: jobs
    of a search that are left undone. throttled: reads are refused with 429.
    """

    def __init__(self, cutoff_s: float = 30.0, *, tenants: bool = False) -> None:
        self.cutoff_s, self.tenants = cutoff_s, tenants
        self.ahead_s, self.undone = 0.0, 0
        self.partial = self.throttled = False
        self.spans: dict[tuple[str, bytes, bytes], Stored] = {}
        self._rng = random.Random(7)
        self._loopback = Loopback(self._answer)

    async def __aenter__(self) -> Self:
        await self._loopback.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._loopback.__aexit__(*exc)

    @property
    def url(self) -> str:
        return self._loopback.base

    @property
    def seen(self) -> list[Seen]:
        return self._loopback.seen

    def lose(self) -> None:
        """Forget every span."""
        self.spans.clear()

    def _answer(self, seen: Seen) -> Reply:
        url = urlsplit(seen.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        if url.path == "/api/echo":
            return Reply(200, b"echo")
        tenant = seen.headers.get("x-scope-orgid", "")
        if self.tenants and not tenant:
            return Reply(401, b"no org id")
        if url.path == "/v1/traces" and seen.method == "POST":
            return self._write(tenant, seen.body)
        if self.throttled:
            return Reply(429, b"too many outstanding requests")
        try:
            return self._read(tenant, unquote(url.path), query)
        except _BadRequestError as exc:
            return Reply(400, str(exc).encode())

    def _read(self, tenant: str, path: str, query: Mapping[str, str]) -> Reply:
        reads: list[tuple[str, Callable[[str, Mapping[str, str], str], Reply]]] = [
            ("/api/v2/traces/", self._by_id_v2),
            ("/api/traces/", self._by_id_v1),
            ("/api/search", self._search),
            ("/api/metrics/query", self._metrics),
        ]
        for prefix, read in reads:
            if path == prefix or (prefix.endswith("/") and path.startswith(prefix)):
                return read(tenant, query, path.removeprefix(prefix))
        return Reply(404, b"404 page not found\n")

    def _now_ns(self) -> int:
        return time.time_ns() + int(self.ahead_s * _SECOND_NS)

    def _write(self, tenant: str, body: bytes) -> Reply:
        for one in parse_request(Signal.TRACES, body).resource_spans:
            resource = attribute_map(one.resource.attributes)
            for span in (span for scope in one.scope_spans for span in scope.spans):
                stored = Stored(
                    span.trace_id, span.span_id, span.name, span.start_time_unix_nano,
                    span.end_time_unix_nano, resource, attribute_map(span.attributes),
                    self._now_ns(), span.SpanKind.Name(span.kind),
                    span.status.StatusCode.Name(span.status.code),
                )  # fmt: skip
                # Copies of one span are combined.
                self.spans.setdefault((tenant, span.trace_id, span.span_id), stored)
        return Reply(200, build_reply(Signal.TRACES), {"Content-Type": CONTENT_TYPE})

    def _of(self, tenant: str) -> Iterator[Stored]:
        return (span for (owner, _, _), span in self.spans.items() if owner == tenant)

    def _trace(self, tenant: str, query: Mapping[str, str], shown: str) -> list[dict[str, object]]:
        """Resource spans of one trace; with a range, only of blocks that lie in it."""
        if not re.fullmatch("[0-9a-fA-F]{1,32}", shown):
            raise _BadRequestError("trace IDs can only contain hex characters, up to 128 bits")
        wanted = bytes.fromhex(shown.zfill(32))
        spans = [span for span in self._of(tenant) if span.trace_id == wanted]
        if "start" in query and "end" in query:
            start_s, end_s = int(query["start"]), int(query["end"])
            spans = [s for s in spans if start_s <= s.written_ns // _SECOND_NS <= end_s]
        return [
            {
                "resource": {"attributes": _pairs(span.resource)},
                "scopeSpans": [{"scope": {"name": "coalmine.canary"}, "spans": [_full(span)]}],
            }
            for span in spans
        ]

    def _by_id_v1(self, tenant: str, query: Mapping[str, str], shown: str) -> Reply:
        batches = self._trace(tenant, query, shown)
        return _json({"batches": batches}) if batches else Reply(404, b"")

    def _by_id_v2(self, tenant: str, query: Mapping[str, str], shown: str) -> Reply:
        found = self._trace(tenant, query, shown)
        trace = {"resourceSpans": found} if found else {}
        metrics = {"inspectedBytes": "900"} if found else {}
        return _json({"trace": trace, "metrics": metrics, **self._status()})

    def _status(self) -> dict[str, str]:
        told = "Trace exceeds maximum size of 5000000 bytes, a partial trace is returned"
        return {"status": "PARTIAL", "message": told} if self.partial else {}

    def _search(self, tenant: str, query: Mapping[str, str], _: str) -> Reply:
        limit, spss = int(query.get("limit", 20)), int(query.get("spss", 3))
        if limit < 1 or spss < 0:
            raise _BadRequestError("invalid limit: must be a positive number")
        if limit > MAX_LIMIT:
            raise _BadRequestError(f"limit {limit} exceeds max limit {MAX_LIMIT}")
        if spss > MAX_SPANS:
            raise _BadRequestError(f"spans per span set exceeds {MAX_SPANS}. received {spss}")
        start_s, end_s = self._clamped(query)
        matches, stage = _parsed(query.get("q", ""))
        traces: dict[bytes, list[Stored]] = {}
        for span in self._of(tenant):
            inside = start_s <= span.end_ns // _SECOND_NS and span.start_ns < end_s * _SECOND_NS
            if inside and matches(span):
                traces.setdefault(span.trace_id, []).append(span)
        found = list(traces.items())
        self._rng.shuffle(found)
        metrics = {"inspectedTraces": len(found), "totalJobs": 3, "completedJobs": 3 - self.undone}
        shown = [_summary(trace_id, spans, spss, stage) for trace_id, spans in found[:limit]]
        return _json({**({"traces": shown} if shown else {}), "metrics": metrics})

    def _metrics(self, tenant: str, query: Mapping[str, str], _: str) -> Reply:
        start_s, end_s = self._clamped(query)
        if start_s >= end_s:
            raise _BadRequestError("query window falls entirely within query_end_cutoff")
        matches, stage = _parsed(query.get("q", ""))
        by = re.fullmatch(r"count_over_time\(\) by \(([\w.]+)\)", stage)
        if by is None:
            raise _BadRequestError(f"not a metrics query: {stage}")
        counts: dict[str, int] = {}
        for span in self._of(tenant):
            inside = start_s * _SECOND_NS <= span.start_ns < end_s * _SECOND_NS
            if inside and matches(span):
                value = span.attributes.get(by[1].removeprefix("span."), "nil")
                counts[value] = counts.get(value, 0) + 1
        series = [
            {
                "labels": _pairs({by[1]: value}),
                "promLabels": f"{{{by[1]}={json.dumps(value)}}}",
                "value": count,
            }
            for value, count in counts.items()
        ]
        return _json({**({"series": series} if series else {}), "metrics": {}, **self._status()})

    def _clamped(self, query: Mapping[str, str]) -> tuple[int, int]:
        """The range in seconds, its end moved to the cutoff."""
        latest_s = int(self._now_ns() / _SECOND_NS - self.cutoff_s)
        start_s = int(query.get("start", latest_s - 3600))
        end_s = int(query.get("end", latest_s))
        if start_s >= end_s:
            told = f"received start={start_s} end={end_s}"
            raise _BadRequestError(f"http parameter start must be before end. {told}")
        if end_s - start_s > MAX_DURATION_S:
            told = f"received start={start_s} end={end_s}"
            raise _BadRequestError(f"range specified by start and end exceeds 168h0m0s. {told}")
        end_s = min(end_s, latest_s)
        return min(start_s, end_s), end_s


def _parsed(query: str) -> tuple[Callable[[Stored], bool], str]:
    """The filter of a query, and what follows its pipe."""
    whole = _QUERY.match(query)
    if whole is None:
        raise _BadRequestError(f"invalid TraceQL query: parse error: {query}")
    wanted, rest = [], whole[1].strip()
    while rest:
        condition = _CONDITION.match(rest)
        if condition is None:
            raise _BadRequestError(f"invalid TraceQL query: parse error at {rest}")
        wanted.append((condition[1], condition[2], json.loads(condition[3])))
        rest = rest[condition.end() :]

    def matches(span: Stored) -> bool:
        held = {"span": span.attributes, "resource": span.resource}
        return all(held[scope].get(name) == value for scope, name, value in wanted)

    return matches, whole[2] or ""


def _summary(trace_id: bytes, spans: list[Stored], spss: int, stage: str) -> dict[str, object]:
    names = re.fullmatch(r"select\((.*)\)", stage)
    asked = {name.strip().removeprefix("span.") for name in names[1].split(",")} if names else set()
    shown = [
        {
            "spanID": span.span_id.hex(),
            **({"name": span.name} if "name" in asked else {}),
            "startTimeUnixNano": str(span.start_ns),
            "durationNanos": str(span.end_ns - span.start_ns),
            "attributes": _pairs({
                **{k: v for k, v in span.attributes.items() if k in asked},
                **{k: v for k, v in _intrinsics(span).items() if k in asked},
                "service.name": span.resource.get("service.name", ""),
            }),
        }
        for span in spans[: spss or None]
    ]  # fmt: skip
    return {
        "traceID": trace_id.hex().lstrip("0"),
        "rootServiceName": "<root span not yet received>",
        "startTimeUnixNano": str(min(span.start_ns for span in spans)),
        "durationMs": 1,
        "spanSets": [{"spans": shown, "matched": len(spans)}],
    }


def _intrinsics(span: Stored) -> dict[str, str]:
    """As asTraceSearchMetadata of pkg/traceql writes them: lower case, without a prefix."""
    kind, status = span.kind.removeprefix("SPAN_KIND_"), span.status.removeprefix("STATUS_CODE_")
    return {"kind": kind.lower(), "status": status.lower()}


def _full(span: Stored) -> dict[str, object]:
    return {
        "traceId": base64.b64encode(span.trace_id).decode(),
        "spanId": base64.b64encode(span.span_id).decode(),
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": str(span.start_ns),
        "endTimeUnixNano": str(span.end_ns),
        "attributes": _pairs(span.attributes),
        "status": {} if span.status == "STATUS_CODE_UNSET" else {"code": span.status},
    }


def _pairs(attributes: Mapping[str, str]) -> list[dict[str, object]]:
    return [{"key": k, "value": {"stringValue": v}} for k, v in attributes.items()]


def _json(value: object) -> Reply:
    return Reply(200, json.dumps(value).encode(), {"Content-Type": "application/json"})
