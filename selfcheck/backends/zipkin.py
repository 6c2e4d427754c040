"""zipkin: traces, by trace id and by search over tags.

Read from Zipkin's own API (zipkin.io/zipkin-api, v2) and tried against 3.6.1. Times are whole
microseconds in spans and whole milliseconds in searches; names of services are lower-cased.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, ClassVar, cast

from pydantic import Field

from core.options import Options
from core.reason import Reason
from selfcheck.backends.http import (
    Json,
    ReadError,
    ReadSession,
    integer,
    items,
    member,
    parse_json,
    strings,
    text,
)
from selfcheck.backends.http_store import HttpStore, HttpStoreOptions
from selfcheck.backends.protocol import (
    AccessPath,
    Declaration,
    Dedupe,
    Linked,
    Question,
    WriteRule,
)
from selfcheck.backends.sightings import Record
from selfcheck.backends.spans import (
    ALL_FIELDS,
    CANARY_ID,
    Span,
    canary_ids,
    part,
    span_id,
    trace_ids_of,
    whole_id,
)
from selfcheck.canary.fields import kind_of, status_of
from selfcheck.canary.model import Signal

_TRACES = frozenset({Signal.TRACES})
BY_ID = AccessPath("by_id", 1.0, batched=False, signals=_TRACES, shows=ALL_FIELDS)
SEARCH = AccessPath("search", 1.0, batched=True, signals=_TRACES, shows=ALL_FIELDS)
_US = 1000
_MS = 1_000_000
_NOT_FOUND = frozenset({int(HTTPStatus.NOT_FOUND)})
# Zipkin dates a trace by its first root span: one that is still going on began before the window.
_LONGEST_TRACE_S = 3600
_LONGEST_BEAT_NS = 3600 * 10**9
# `annotationQuery` joins its conditions with this word and knows no way to escape it.
_AND = " and "


class ZipkinOptions(HttpStoreOptions):
    """What may be written under a backend of kind `zipkin`."""

    row_limit: Annotated[int, Field(ge=2, le=10_000, description="Traces of one search.")] = 1000


@dataclass(frozen=True, slots=True)
class ZipkinBackend(HttpStore):
    """Reads canaries and the newest spans of sources from Zipkin."""

    options_model: ClassVar[type[Options]] = ZipkinOptions
    declaration: ClassVar[Declaration] = Declaration(
        signals=_TRACES,
        paths=(BY_ID, SEARCH),
        precision_ns=_US,
        dedupe=Dedupe.COLLAPSES,
        dedupe_note="spans of one id, time and content become one",
        row_limit=1000,
        absent='by id 404 with the text "ID not found"; search 200 with []',
        source="zipkin.io/zipkin-api v2, 2026-11",
        proved=("Zipkin 3.6.1",),
        impossible={
            "aggregate": "Zipkin's API counts nothing",
            "cached reads": "it has no cache of answers that could be asked or passed by",
            "wrong tenant": "it knows neither tenants nor credentials",
            "refusals after the answer": "202 precedes storage: what is dropped then is only missed"
            " on reading",
        },
    )

    options: ZipkinOptions

    @classmethod
    def write_rules(cls, options: Options) -> Mapping[str, WriteRule]:
        """Zipkin takes its own format only, on the port that it is read from."""
        chosen = cast("ZipkinOptions", options)
        paths = {Signal.TRACES: "/api/v2/spans"}
        taken = frozenset({int(HTTPStatus.ACCEPTED)})
        return {"zipkin": WriteRule(chosen.url, paths, taken, empty_body=True)}

    async def records(
        self, session: ReadSession, question: Question, path: AccessPath
    ) -> Sequence[Record]:
        """Spans of the traces in question: one request each by id, one search for all."""
        if path.name == BY_ID.name:
            return [
                span.record
                for trace_id in trace_ids_of(question.canaries)
                for span in await _trace(session, trace_id)
            ]
        # A page boundary may show a trace twice: its copies must not be counted for that.
        found = await self._search(session, _asked(question), *_span_ms(question))
        return [span.record for trace in found.values() for span in trace]

    async def newest_ns(self, session: ReadSession, selector: str, window_s: float) -> int | None:
        """Of the newest span of the service named `selector`."""
        now_s = self.clock.utc().timestamp()
        query = {
            "serviceName": selector,
            "endTs": str(int(now_s * 1000) + 1),
            "lookback": str(int((window_s + _LONGEST_TRACE_S) * 1000)),
            "limit": "20",
        }
        traces = _traces(await session.get("/api/v2/traces", query))
        # A trace comes with the spans of all its services.
        own = [s.record.stamp_ns for t in traces for s in t if s.service == selector.lower()]
        oldest_ns = int((now_s - window_s) * 1e9)
        return max((stamp for stamp in own if stamp and stamp >= oldest_ns), default=None)

    async def canaries_in(self, trace_id: str, deadline_s: float) -> Linked:
        """Ids of the canaries whose spans are in one trace."""

        async def ask(session: ReadSession) -> Iterable[str]:
            wanted = whole_id(trace_id)
            return canary_ids(await _trace(session, wanted), wanted)

        return await self.linked(ask, deadline_s)

    async def _search(
        self, session: ReadSession, asked: Mapping[str, str], start_ms: int, end_ms: int
    ) -> dict[str, list[Span]]:
        """Traces in the interval by their id, halved for as long as a page is full."""
        limit = self.options.row_limit
        ends = {"endTs": str(end_ms), "lookback": str(end_ms - start_ms), "limit": str(limit)}
        traces = _traces(await session.get("/api/v2/traces", {**asked, **ends}))
        if len(traces) < limit:
            return {trace[0].trace_id: trace for trace in traces}
        if end_ms - start_ms < 2:
            raise ReadError(Reason.READBACK, f"{limit} traces or more in one millisecond")
        middle_ms = (start_ms + end_ms) // 2
        early = await self._search(session, asked, start_ms, middle_ms)
        return early | await self._search(session, asked, middle_ms, end_ms)


def _asked(question: Question) -> dict[str, str]:
    """Service and tags that a search is narrowed by; what cannot be asked for is left out."""
    tags = {"coalmine.route": question.route}
    if len(question.canaries) == 1:
        tags[CANARY_ID] = question.canaries[0].canary_id
    conditions = [f"{name}={value}" for name, value in tags.items() if _AND not in value]
    narrowed = {"annotationQuery": _AND.join(conditions)} if conditions else {}
    return {"serviceName": question.canaries[0].service_name, **narrowed}


def _span_ms(question: Question) -> tuple[int, int]:
    """Milliseconds in which the traces in question may have begun.

    All canaries of one beat are one trace, and Zipkin dates it by any of them: each may be as far
    from the others as a beat is long (`canary.make`: a beat is the number of its interval).
    """
    beat_ns = max(canary.stamp_ns // max(1, canary.beat) for canary in question.canaries)
    beat_ns = min(beat_ns, _LONGEST_BEAT_NS)
    return max(0, question.start_ns - beat_ns) // _MS, (question.end_ns + beat_ns) // _MS + 1


async def _trace(session: ReadSession, trace_id: str) -> list[Span]:
    """Spans of one trace: the whole id, as lenient servers compare its last 16 digits only.

    A 404 means "absent" only in Zipkin's own words: a proxy on a wrong path answers 404 too.
    """
    response = await session.ask("GET", f"/api/v2/trace/{trace_id}", also=_NOT_FOUND)
    if response.status == HTTPStatus.NOT_FOUND:
        said = response.body[:200].decode(errors="replace").strip()
        shown, _, words = said.partition(" ")
        if words != "not found" or whole_id(shown) != trace_id:
            raise ReadError(Reason.READBACK, "HTTP 404, not in Zipkin's words")
        return []
    spans = [_span(span) for span in items(parse_json(response.body))]
    return [span for span in spans if span.trace_id == trace_id]


def _traces(answer: Json) -> list[list[Span]]:
    """Traces of one page; one without spans is none. Raises ReadError."""
    traces = [[_span(span) for span in items(trace)] for trace in items(answer)]
    if not all(traces):
        raise ReadError(Reason.BACKEND_PROTOCOL, "a trace without spans")
    return traces


def _span(span: Json) -> Span:
    """One span; those that tell no time of their own (shared ones) have no stamp."""
    tags = strings(part(span, "tags") or {})
    stamp_us, endpoint = part(span, "timestamp"), part(span, "localEndpoint")
    service = part(endpoint, "serviceName") if endpoint is not None else None
    stamp_ns = None if stamp_us is None else integer(stamp_us) * _US
    trace_id = whole_id(text(member(span, "traceId")))
    fields = {
        "trace_id": trace_id,
        "span_id": span_id(part(span, "id")),
        "parent_span_id": span_id(part(span, "parentId")),
        "span_name": text(part(span, "name") or ""),
        "span_kind": kind_of(part(span, "kind") or ""),
        "span_status": "error" if "error" in tags else status_of(tags.get("otel.status_code", "")),
        "span_duration_ns": str(integer(part(span, "duration") or 0) * _US),
    }
    record = Record(tags.get(CANARY_ID, ""), stamp_ns, None, None, tags, fields)
    return Span(trace_id, "" if service is None else text(service), record)
