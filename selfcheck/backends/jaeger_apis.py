"""The two HTTP APIs by which Jaeger shows traces: how each is asked, and its own words. Pure.

v1 is the JSON behind Jaeger's screen, which 1.x and 2.x share; its times are whole microseconds.
v3 shows OTLP as JSON. `raw` keeps both from rewriting times (the clock-skew adjuster). Sources:
jaegertracing.io/docs APIs and cmd/query of 1.62 and 2.0, 2026-11.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Protocol

from core.outbound.protocol import Response
from core.reason import Reason
from selfcheck.backends.http import Json, Query, ReadError, integer, items, member, parse_json, text
from selfcheck.backends.sightings import Record
from selfcheck.backends.spans import CANARY_ID, Span, otlp_spans, part, span_id, whole_id
from selfcheck.canary.fields import kind_of, status_of, type_field

_US = 1000
_SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched for: traces with a span of `service` that has `tags`, times in Unix us."""

    service: str
    tags: Mapping[str, str]
    start_us: int
    end_us: int
    limit: int


@dataclass(frozen=True, slots=True)
class Page:
    """One answer: its spans, and of how many traces they are."""

    spans: tuple[Span, ...]
    traces: int


class JaegerApi(Protocol):
    """One of the APIs."""

    def by_id(self, trace_id: str) -> tuple[str, Query]:
        """Path and query that ask for one trace."""
        ...

    def search(self, wanted: Search) -> tuple[str, Query]:
        """Path and query of a search."""
        ...

    def page(self, response: Response) -> Page:
        """The traces of a complete answer of status 200 or 404, none when it says so.

        Raises ReadError for all that this API would not say: a 404 means "absent" only in its own
        words, as a proxy on a wrong path answers 404 too.
        """
        ...


class V1:
    """`/api/traces`."""

    def by_id(self, trace_id: str) -> tuple[str, Query]:
        """Path and query that ask for one trace."""
        return f"/api/traces/{trace_id}", {"raw": "true"}

    def search(self, wanted: Search) -> tuple[str, Query]:
        """Path and query of a search."""
        query = {
            "service": wanted.service,
            "start": str(wanted.start_us),
            "end": str(wanted.end_us),
            "limit": str(wanted.limit),
            "raw": "true",
        }
        tags = {"tags": json.dumps(wanted.tags)} if wanted.tags else {}
        return "/api/traces", {**query, **tags}

    def page(self, response: Response) -> Page:
        """The traces of `data`, unless its `errors` say that there is none."""
        answer = parse_json(response.body)
        errors = items(member(answer, "errors") or [])
        if errors and all(member(error, "code") == HTTPStatus.NOT_FOUND for error in errors):
            return Page((), 0)
        if errors:
            raise ReadError(Reason.READBACK, f"answered with errors: {errors}"[:200])
        _refuse_bare(response)
        traces = items(member(answer, "data"))
        return Page(tuple(span for trace in traces for span in _v1_spans(trace)), len(traces))


class V3:
    """`/api/v3/traces`. Its parameters were renamed on the way from 1.x to 2.x: both are sent."""

    def by_id(self, trace_id: str) -> tuple[str, Query]:
        """Path and query that ask for one trace."""
        return f"/api/v3/traces/{trace_id}", {"raw_traces": "true", "rawTraces": "true"}

    def search(self, wanted: Search) -> tuple[str, Query]:
        """Path and query of a search."""
        start, end, limit = _rfc3339(wanted.start_us), _rfc3339(wanted.end_us), str(wanted.limit)
        query = {
            "query.service_name": wanted.service,
            "query.serviceName": wanted.service,
            "query.start_time_min": start,
            "query.startTimeMin": start,
            "query.start_time_max": end,
            "query.startTimeMax": end,
            "query.num_traces": limit,
            "query.search_depth": limit,
            "query.searchDepth": limit,
            "query.raw_traces": "true",
            "query.rawTraces": "true",
        }
        tags = {"query.attributes": json.dumps(wanted.tags)} if wanted.tags else {}
        return "/api/v3/traces", {**query, **tags}

    def page(self, response: Response) -> Page:
        """The spans of `result`, unless `error` says that there is none."""
        answer = parse_json(response.body)
        if part(answer, "error") is not None:
            if member(answer, "error", "httpCode") == HTTPStatus.NOT_FOUND:
                return Page((), 0)
            raise ReadError(Reason.READBACK, f"answered with an error: {answer}"[:200])
        _refuse_bare(response)
        spans = tuple(otlp_spans(part(member(answer, "result"), "resourceSpans")))
        return Page(spans, len({span.trace_id for span in spans}))


def _refuse_bare(response: Response) -> None:
    """Raises ReadError for a 404 that does not say what was not found."""
    if response.status != HTTPStatus.OK:
        raise ReadError(Reason.READBACK, "without the API's own error")


def _v1_spans(trace: Json) -> list[Span]:
    processes = member(trace, "processes")
    return [_v1_span(span, processes) for span in items(member(trace, "spans"))]


def _v1_span(span: Json, processes: Json) -> Span:
    tags = {
        text(member(tag, "key")): str(member(tag, "value")) for tag in items(member(span, "tags"))
    }
    trace_id, stamp_ns = whole_id(text(member(span, "traceID"))), integer(member(span, "startTime"))
    fields = {
        "trace_id": trace_id,
        "span_id": span_id(part(span, "spanID")),
        "parent_span_id": _parent(items(part(span, "references") or [])),
        "span_name": text(part(span, "operationName") or ""),
        "span_kind": kind_of(tags.get("span.kind", "")),
        "span_status": status_of(tags.get("otel.status_code", "")),
        "span_duration_ns": str(integer(part(span, "duration") or 0) * _US),
        **_types(items(member(span, "tags"))),
    }
    service = text(member(processes, text(member(span, "processID")), "serviceName"))
    record = Record(tags.get(CANARY_ID, ""), stamp_ns * _US, None, None, tags, fields)
    return Span(trace_id, service, record)


def _parent(references: Sequence[Json]) -> str:
    """The span that this one is a child of, not those that it only follows or links to."""
    for one in references:
        if part(one, "refType") == "CHILD_OF":
            return span_id(part(one, "spanID"))
    return ""


def _types(tags: Sequence[Json]) -> dict[str, str]:
    shown = ((text(member(tag, "key")), text(part(tag, "type") or "string")) for tag in tags)
    return {type_field(key): kind for key, kind in shown if kind != "string"}


def _rfc3339(unix_us: int) -> str:
    whole = datetime.fromtimestamp(unix_us // _SECOND_US, UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{unix_us % _SECOND_US:06d}Z"
