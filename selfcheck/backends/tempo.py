"""tempo: traces, by trace id, by TraceQL search and by TraceQL metrics.

Read from Tempo 3's HTTP API (grafana.com/docs/tempo, "Tempo HTTP API", 2026-11) and its source;
tried against a fake of it, as Tempo could not be installed. The two ways of looking differ by
design: by id a span shows at once, while searches and counts end `query_end_cutoff` before now.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, ClassVar, Literal, cast

from pydantic import Field

from core.options import Duration, Options
from core.outbound.protocol import Response
from core.reason import Reason
from selfcheck.access import TENANT_HEADER
from selfcheck.backends.http import (
    Json,
    ReadError,
    ReadSession,
    integer,
    items,
    member,
    number,
    parse_json,
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
    otlp_attributes,
    otlp_spans,
    otlp_types,
    part,
    span_id,
    trace_ids_of,
    whole_id,
)
from selfcheck.canary.fields import kind_of, status_of
from selfcheck.canary.model import Signal
from selfcheck.otlp import DEFAULT_PATHS

_TRACES = frozenset({Signal.TRACES})
_INDEX_S = 31.0
BY_ID = AccessPath("by_id", 0.01, batched=False, signals=_TRACES, shows=ALL_FIELDS)
SEARCH = AccessPath(
    "search", _INDEX_S, batched=True, signals=_TRACES, shows=ALL_FIELDS - {"parent_span_id"}
)
AGGREGATE = AccessPath("aggregate", _INDEX_S, batched=True, signals=_TRACES, counts_only=True)
_SECOND_NS = 10**9
_NOT_FOUND = frozenset({int(HTTPStatus.NOT_FOUND)})
# Tempo refuses more spans of one trace than that (`max_spans_per_span_set`); unasked it shows 3.
_SPANS = 100
# Fields that a search shows where it is asked for them: the name as such, the rest as attributes.
_READ_AS: Mapping[str, Callable[[object], str]] = {"kind": kind_of, "status": status_of}
_INTRINSICS = ("name", *_READ_AS)
# More copies than this of one id say nothing that this many do not.
_COPIES = 100


class TempoOptions(HttpStoreOptions):
    """What may be written under a backend of kind `tempo`."""

    write_url: Annotated[
        str, Field(description="Base URL of its OTLP/HTTP receiver; empty: not written to.")
    ] = ""
    api: Annotated[
        Literal["v2", "v1"], Field(description="API by id; v1 is for versions without v2.")
    ] = "v2"
    search_cutoff: Annotated[
        Duration, Field(description="Tempo's `query_frontend.query_end_cutoff`.")
    ] = 30.0
    row_limit: Annotated[int, Field(ge=2, le=10_000, description="Traces of one search.")] = 1000


@dataclass(frozen=True, slots=True)
class TempoBackend(HttpStore):
    """Reads canaries and the newest spans of sources from Tempo."""

    options_model: ClassVar[type[Options]] = TempoOptions
    declaration: ClassVar[Declaration] = Declaration(
        signals=_TRACES,
        paths=(BY_ID, SEARCH, AGGREGATE),
        precision_ns=1,
        dedupe=Dedupe.NOT_KNOWN,
        dedupe_note="copies of one span id are combined where blocks and live stores meet, not"
        " proved when",
        row_limit=1000,
        absent='by id 200 with "trace": {} (v2) or 404 without a body (v1); search 200 without'
        " traces; a wrong tenant looks the same",
        source="grafana.com/docs/tempo HTTP API of 3.0, 2026-11; modules/frontend",
        proved=("a fake of Tempo 3.0's HTTP API",),
        fake=True,
        impossible={
            "cached reads": "no request can ask its caches to be passed by",
            "wrong tenant": "a tenant that was never written to is one without traces",
            "future stamps by search": "its end is moved to the cutoff before the store's own now",
            "hop stamps by search": "a search shows the attributes that it was asked for by name",
        },
        # query_backend_after: beyond it searches read object storage.
        hot_window_s=15 * 60,
    )

    options: TempoOptions

    @classmethod
    def write_rules(cls, options: Options) -> Mapping[str, WriteRule]:
        """Tempo takes OTLP on a port of its own; the tenant is the one that is read."""
        chosen = cast("TempoOptions", options)
        if not chosen.write_url:
            return {}
        tenant = ((TENANT_HEADER, chosen.tenant),) if chosen.tenant else ()
        paths = {Signal.TRACES: DEFAULT_PATHS[Signal.TRACES]}
        taken = frozenset({int(HTTPStatus.OK)})
        return {"otlp_http": WriteRule(chosen.write_url, paths, taken, True, tenant)}

    async def records(
        self, session: ReadSession, question: Question, path: AccessPath
    ) -> Sequence[Record]:
        """Spans of the traces in question, or no more than their number."""
        if path.name == BY_ID.name:
            return [
                span.record
                for trace_id in trace_ids_of(question.canaries)
                for span in await self._trace(session, trace_id)
            ]
        start_s, end_s = self._seconds(question.start_ns, question.end_ns)
        if path.counts_only:
            return await _counted(session, question, start_s, end_s)
        names = sorted({name for canary in question.canaries for name in canary.attributes})
        shown = ", ".join([*(_name(name) for name in names), *_INTRINSICS])
        query = f"{_filter(question)} | select({shown})"
        found = await self._search(session, query, start_s, end_s)
        return [span.record for spans in found.values() for span in spans]

    async def newest_ns(self, session: ReadSession, selector: str, window_s: float) -> int | None:
        """Of the newest span of those that the TraceQL filter `selector` finds.

        Spans of the last `search_cutoff` do not show yet, so that a window below it finds none.
        """
        now_ns = int(self.clock.utc().timestamp() * 1e9)
        oldest_ns = now_ns - int(window_s * 1e9)
        query = {**_range(*self._seconds(oldest_ns, now_ns)), "q": selector, "limit": "20"}
        traces = _traces(await session.get("/api/search", query))
        stamps = (s.record.stamp_ns for t in traces for s in t[1])
        return max((stamp for stamp in stamps if stamp and stamp >= oldest_ns), default=None)

    async def canaries_in(self, trace_id: str, deadline_s: float) -> Linked:
        """Ids of the canaries whose spans are in one trace."""

        async def ask(session: ReadSession) -> Iterable[str]:
            wanted = whole_id(trace_id)
            return canary_ids(await self._trace(session, wanted), wanted)

        return await self.linked(ask, deadline_s)

    async def _trace(self, session: ReadSession, trace_id: str) -> list[Span]:
        """Spans of one trace, without a range of time: that would leave blocks out."""
        if self.options.api == "v2":
            answer = await session.get(f"/api/v2/traces/{trace_id}", {})
            spans = otlp_spans(part(member(_whole(answer), "trace"), "resourceSpans"))
        else:
            response = await session.ask("GET", f"/api/traces/{trace_id}", also=_NOT_FOUND)
            if response.status == HTTPStatus.NOT_FOUND:
                await _surely_tempo(session, response)
                return []
            spans = otlp_spans(member(_whole(parse_json(response.body)), "batches"))
        return [span for span in spans if span.trace_id == trace_id]

    def _seconds(self, start_ns: int, end_ns: int) -> tuple[int, int]:
        """A range in whole seconds: a wider one than asked for, and filtered by stamp and id.

        It begins before the cutoff: what lies wholly behind it is refused by counts, as Tempo
        moves the end of every range to the cutoff.
        """
        shown_s = int(self.clock.utc().timestamp() - self.options.search_cutoff) - 2
        return min(start_ns // _SECOND_NS, shown_s), end_ns // _SECOND_NS + 2

    async def _search(
        self, session: ReadSession, query: str, start_s: int, end_s: int
    ) -> dict[str, list[Span]]:
        """Matching spans by their trace, halved for as long as a page is full.

        Tempo takes the first traces it finds, in no order: a full page says nothing of the rest.
        """
        limit = self.options.row_limit
        asked = {"q": query, "limit": str(limit), "spss": str(_SPANS), **_range(start_s, end_s)}
        answer = await session.get("/api/search", asked)
        traces = _traces(answer)
        if len(traces) < limit:
            _all_done(answer)
            return dict(traces)
        if end_s - start_s < 2:
            raise ReadError(Reason.READBACK, f"{limit} traces or more in one second")
        middle_s = (start_s + end_s) // 2
        early = await self._search(session, query, start_s, middle_s)
        return early | await self._search(session, query, middle_s, end_s)


async def _counted(
    session: ReadSession, question: Question, start_s: int, end_s: int
) -> list[Record]:
    """A record for each span that is counted, without its stamp: a count shows none."""
    query = f"{_filter(question)} | count_over_time() by ({_name(CANARY_ID)})"
    answer = await session.get("/api/metrics/query", {"q": query, **_range(start_s, end_s)})
    if part(answer, "series") is None:
        member(answer, "metrics")
    found: list[Record] = []
    for one in items(part(_whole(answer), "series") or []):
        labels = otlp_attributes(part(one, "labels"))
        shown = labels.get(_name(CANARY_ID), labels.get(CANARY_ID, ""))
        times = min(_COPIES, int(number(part(one, "value") or 0)))
        found += [Record(shown, None, None, None, {})] * times
    return found


async def _surely_tempo(session: ReadSession, response: Response) -> None:
    """Whether a bare 404 is Tempo's: its API has to echo from the same address. Raises ReadError.

    A proxy on a wrong path answers 404 too.
    """
    echo = await session.ask("GET", "/api/echo")
    if response.body.strip() or echo.body.strip() != b"echo":
        raise ReadError(Reason.READBACK, "HTTP 404, not in Tempo's words")


def _whole(answer: Json) -> Json:
    """`answer`, unless it says that it is a part: too large, filtered, pruned. Raises ReadError."""
    if part(answer, "status") not in {None, "COMPLETE"}:
        raise ReadError(Reason.READBACK, f"partial: {part(answer, 'message')}"[:200])
    return answer


def _all_done(answer: Json) -> None:
    """Raises ReadError when jobs of a search were left undone though its page was not full."""
    metrics = part(answer, "metrics")
    if metrics is None:
        return
    done, of = (integer(part(metrics, name) or 0) for name in ("completedJobs", "totalJobs"))
    if done < of:
        raise ReadError(Reason.READBACK, f"partial: {done} of {of} jobs done")


def _traces(answer: Json) -> list[tuple[str, list[Span]]]:
    """Trace id and matching spans of each trace that a search found. Raises ReadError.

    What is empty may be left out, but an answer with neither traces nor metrics is none of Tempo's.
    """
    if part(_whole(answer), "traces") is None:
        member(answer, "metrics")
    return [_found(trace) for trace in items(part(answer, "traces") or [])]


def _found(trace: Json) -> tuple[str, list[Span]]:
    trace_id, spans = whole_id(text(member(trace, "traceID"))), []
    for one in items(part(trace, "spanSets") or []):
        shown = items(part(one, "spans") or [])
        if integer(part(one, "matched") or 0) > len(shown):
            raise ReadError(Reason.READBACK, f"only {len(shown)} of a trace's spans are shown")
        spans += [_span(trace_id, span) for span in shown]
    return trace_id, spans


def _span(trace_id: str, span: Json) -> Span:
    attributes = otlp_attributes(part(span, "attributes"))
    stamp_ns = integer(member(span, "startTimeUnixNano"))
    # A search leaves nothing out that it has: what is not there was not looked for.
    told = {name: read for name, read in _READ_AS.items() if name in attributes}
    fields = {
        "trace_id": trace_id,
        "span_id": span_id(part(span, "spanID")),
        "span_name": text(part(span, "name") or ""),
        **{f"span_{name}": read(attributes.pop(name)) for name, read in told.items()},
        "span_duration_ns": str(integer(part(span, "durationNanos") or 0)),
        **otlp_types(part(span, "attributes")),
    }
    record = Record(attributes.get(CANARY_ID, ""), stamp_ns, None, None, attributes, fields)
    return Span(trace_id, attributes.get("service.name", ""), record)


def _filter(question: Question) -> str:
    """TraceQL for the canary in question; for all of the route's where there are several."""
    first = question.canaries[0]
    conditions = {"resource.service.name": first.service_name}
    if len(question.canaries) == 1:
        conditions[_name(CANARY_ID)] = first.canary_id
    else:
        conditions[_name("coalmine.route")] = question.route
    told = (f"{name} = {json.dumps(value)}" for name, value in conditions.items())
    return "{ " + " && ".join(told) + " }"


def _name(attribute: str) -> str:
    return f"span.{attribute}"


def _range(start_s: int, end_s: int) -> dict[str, str]:
    return {"start": str(start_s), "end": str(end_s)}
