"""jaeger: traces, by trace id and by search over the span's attributes.

Read from the JSON API behind Jaeger's own screen, which 1.62 and 2 share, and tried on 1.62. Its
times are whole microseconds. `raw` keeps the clock-skew adjuster from rewriting them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, ClassVar, Self, cast

from pydantic import Field

from core.clock import Clock
from core.kinds import FactSpec, Parts
from core.options import Options
from core.reason import Reason
from selfcheck.access import AccessOptions
from selfcheck.backends.http import (
    Json,
    ReadError,
    ReadSession,
    StoreClient,
    integer,
    items,
    member,
    text,
)
from selfcheck.backends.protocol import (
    AccessPath,
    Backend,
    Declaration,
    Dedupe,
    Newest,
    Question,
    Reading,
    WriteRule,
)
from selfcheck.backends.sightings import Record, sightings
from selfcheck.canary.model import Signal
from selfcheck.otlp import DEFAULT_PATHS

_TRACES = frozenset({Signal.TRACES})
BY_ID = AccessPath("by_id", 1.0, batched=False, signals=_TRACES)
SEARCH = AccessPath("search", 1.0, batched=True, signals=_TRACES)
_US = 1000
_NOT_FOUND = frozenset({int(HTTPStatus.NOT_FOUND)})


class JaegerOptions(AccessOptions):
    """What may be written under a backend of kind `jaeger`."""

    url: Annotated[str, Field(pattern=r"^https?://.+$", description="Base URL of the query API.")]
    write_url: Annotated[
        str, Field(description="Base URL of its OTLP/HTTP receiver; empty: not written to.")
    ] = ""
    row_limit: Annotated[int, Field(ge=2, le=10_000, description="Traces of one search.")] = 1000


@dataclass(frozen=True, slots=True)
class JaegerBackend(Backend):
    """Reads canaries and the newest spans of sources from Jaeger."""

    options_model: ClassVar[type[Options]] = JaegerOptions
    reasons: ClassVar[frozenset[Reason]] = frozenset(
        {Reason.READBACK, Reason.AUTH, Reason.THROTTLED, Reason.BACKEND_PROTOCOL, Reason.TIMEOUT}
    )
    facts: ClassVar[tuple[FactSpec, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()
    declaration: ClassVar[Declaration] = Declaration(
        signals=_TRACES,
        paths=(BY_ID, SEARCH),
        precision_ns=_US,
        dedupe=Dedupe.KEEPS,
        dedupe_note="the same span twice is two spans of its trace",
        row_limit=1000,
        absent='by id 404; search 200 with "data": [] (1.62) or 404 (2)',
        source="jaegertracing.io/docs APIs; tried on Jaeger 1.62, 2026-11",
    )

    options: JaegerOptions
    client: StoreClient
    clock: Clock

    @classmethod
    def build(cls, options: Options, parts: Parts) -> Self:
        """A reader for `options`."""
        chosen = cast("JaegerOptions", options)
        return cls(chosen, StoreClient.of(chosen.url, chosen, parts), parts.clock)

    @classmethod
    def write_rule(cls, options: Options) -> WriteRule | None:
        """Jaeger takes OTLP on a port of its own, as the specification says."""
        chosen = cast("JaegerOptions", options)
        if not chosen.write_url:
            return None
        paths = {Signal.TRACES: DEFAULT_PATHS[Signal.TRACES]}
        return WriteRule(chosen.write_url, paths, frozenset({HTTPStatus.OK}), empty_body=False)

    async def read(self, question: Question, path: AccessPath, deadline_s: float) -> Reading:
        """Spans with the ids of `question`: one request each by id, one search for all."""
        session = self.client.session(deadline_s)
        if not question.canaries:
            return Reading.full((), session.asked, 0.0, 0)
        try:
            if path.name == BY_ID.name:
                traces = await _by_id(session, question)
            else:
                start_us, end_us = question.start_ns // _US, question.end_ns // _US + 1
                traces = await self._search(session, question, start_us, end_us)
            records = [record for trace in traces for record in _records(trace)]
        except ReadError as exc:
            return Reading.broken(
                exc.reason, exc.detail, session.asked, session.elapsed_s, exc.retry_after_s
            )
        seen = sightings(records, question.canaries, self.declaration.dedupe)
        return Reading.full(seen, session.asked, session.elapsed_s, session.body_bytes)

    async def newest(self, selector: str, window_s: float, deadline_s: float) -> Newest:
        """Stamp of the newest span of the service named `selector` in the last `window_s`."""
        session = self.client.session(deadline_s)
        end_us = int(self.clock.utc().timestamp() * 1e6) + 1
        query = {
            "service": selector,
            "start": str(end_us - int(window_s * 1e6)),
            "end": str(end_us),
            "limit": "20",
            "raw": "true",
        }
        try:
            traces = _traces(await session.get("/api/traces", query, also=_NOT_FOUND))
            stamps = [stamp for trace in traces for stamp in _stamps_of(trace, selector)]
        except ReadError as exc:
            return Newest(False, None, exc.reason, exc.detail)
        return Newest(True, max(stamps, default=None), Reason.OK, "")

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
