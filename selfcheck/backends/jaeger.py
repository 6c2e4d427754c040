"""jaeger: traces, by trace id and by search over the span's attributes.

Read from the JSON API behind Jaeger's own screen, which 1.62 and 2 share, and tried on 1.62. Its
times are whole microseconds. `raw` keeps the clock-skew adjuster from rewriting them.
"""

import json
from collections.abc import Mapping, Sequence
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
    text,
)
from selfcheck.backends.http_store import HttpStore, HttpStoreOptions
from selfcheck.backends.protocol import (
    AccessPath,
    Declaration,
    Dedupe,
    Question,
    WriteRule,
)
from selfcheck.backends.sightings import Record
from selfcheck.canary.model import Signal
from selfcheck.otlp import DEFAULT_PATHS

_TRACES = frozenset({Signal.TRACES})
BY_ID = AccessPath("by_id", 1.0, batched=False, signals=_TRACES)
SEARCH = AccessPath("search", 1.0, batched=True, signals=_TRACES)
_US = 1000
_NOT_FOUND = frozenset({int(HTTPStatus.NOT_FOUND)})


class JaegerOptions(HttpStoreOptions):
    """What may be written under a backend of kind `jaeger`."""

    write_url: Annotated[
        str, Field(description="Base URL of its OTLP/HTTP receiver; empty: not written to.")
    ] = ""
    row_limit: Annotated[int, Field(ge=2, le=10_000, description="Traces of one search.")] = 1000


@dataclass(frozen=True, slots=True)
class JaegerBackend(HttpStore):
    """Reads canaries and the newest spans of sources from Jaeger."""

    options_model: ClassVar[type[Options]] = JaegerOptions
    declaration: ClassVar[Declaration] = Declaration(
        signals=_TRACES,
        paths=(BY_ID, SEARCH),
        precision_ns=_US,
        dedupe=Dedupe.KEEPS,
        dedupe_note="the same span twice is two spans of its trace",
        row_limit=1000,
        absent='by id 404; search 200 with "data": [] (1.62) or 404 (2)',
        source="jaegertracing.io/docs APIs, 2026-11",
        proved=("Jaeger 1.62",),
    )

    options: JaegerOptions

    @classmethod
    def write_rules(cls, options: Options) -> Mapping[str, WriteRule]:
        """Jaeger takes OTLP on a port of its own, as the specification says."""
        chosen = cast("JaegerOptions", options)
        if not chosen.write_url:
            return {}
        paths = {Signal.TRACES: DEFAULT_PATHS[Signal.TRACES]}
        taken = frozenset({int(HTTPStatus.OK)})
        return {"otlp_http": WriteRule(chosen.write_url, paths, taken, empty_body=False)}

    async def records(
        self, session: ReadSession, question: Question, path: AccessPath
    ) -> Sequence[Record]:
        """Spans of the traces in question: one request each by id, one search for all."""
        if path.name == BY_ID.name:
            traces = await _by_id(session, question)
        else:
            start_us, end_us = question.start_ns // _US, question.end_ns // _US + 1
            traces = await self._search(session, question, start_us, end_us)
        return [record for trace in traces for record in _records(trace)]

    async def newest_ns(self, session: ReadSession, selector: str, window_s: float) -> int | None:
        """Of the newest span of the service named `selector`."""
        end_us = int(self.clock.utc().timestamp() * 1e6) + 1
        query = {
            "service": selector,
            "start": str(end_us - int(window_s * 1e6)),
            "end": str(end_us),
            "limit": "20",
            "raw": "true",
        }
        traces = _traces(await session.get("/api/traces", query, also=_NOT_FOUND))
        stamps = (stamp for trace in traces for stamp in _stamps_of(trace, selector))
        return max(stamps, default=None)

    async def _search(
        self, session: ReadSession, question: Question, start_us: int, end_us: int
    ) -> list[Json]:
        """Traces of the route in the interval, halved for as long as a page is full."""
        limit = self.options.row_limit
        tags = {"coalmine.route": question.route}
        if len(question.canaries) == 1:
            tags["canary.id"] = question.canaries[0].canary_id
        query = {
            "service": question.canaries[0].service_name,
            "tags": json.dumps(tags),
            "start": str(start_us),
            "end": str(end_us),
            "limit": str(limit),
            "raw": "true",
        }
        traces = _traces(await session.get("/api/traces", query, also=_NOT_FOUND))
        if len(traces) < limit:
            return traces
        if end_us - start_us < 2:
            raise ReadError(Reason.READBACK, f"{limit} traces or more in one microsecond")
        middle_us = (start_us + end_us) // 2
        early = await self._search(session, question, start_us, middle_us)
        return early + await self._search(session, question, middle_us + 1, end_us)


async def _by_id(session: ReadSession, question: Question) -> list[Json]:
    # Canaries of one group share a trace id: each trace is fetched once.
    found: list[Json] = []
    for trace_id in dict.fromkeys(c.trace_id.hex() for c in question.canaries):
        path = f"/api/traces/{trace_id}"
        found += _traces(await session.get(path, {"raw": "true"}, also=_NOT_FOUND))
    return found


def _traces(answer: Json) -> list[Json]:
    """Traces of a complete answer. Raises ReadError.

    A 404 means "absent" only in Jaeger's own words: a proxy on a wrong path answers 404 too.
    """
    errors = items(member(answer, "errors") or [])
    if errors and all(member(error, "code") == HTTPStatus.NOT_FOUND for error in errors):
        return []
    if errors:
        raise ReadError(Reason.READBACK, f"answered with errors: {errors}"[:200])
    return list(items(member(answer, "data")))


def _records(trace: Json) -> list[Record]:
    found = []
    for span in items(member(trace, "spans")):
        tags = _tags(items(member(span, "tags")))
        found.append(Record(tags.get("canary.id", ""), _start_ns(span), None, None, tags))
    return found


def _stamps_of(trace: Json, service: str) -> list[int]:
    """Stamps of the spans of one service: a trace comes with those of all its services."""
    processes = member(trace, "processes")
    return [
        _start_ns(span)
        for span in items(member(trace, "spans"))
        if member(processes, text(member(span, "processID")), "serviceName") == service
    ]


def _start_ns(span: Json) -> int:
    return integer(member(span, "startTime")) * _US


def _tags(tags: Sequence[Json]) -> dict[str, str]:
    return {text(member(tag, "key")): str(member(tag, "value")) for tag in tags}
