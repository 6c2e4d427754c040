"""jaeger: traces, by trace id and by search over the span's attributes.

Which of Jaeger's two HTTP APIs is asked is an option, or found by asking: version strings are
empty or false in builds of one's own.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, ClassVar, Literal, cast

from pydantic import Field

from core.options import Options
from core.reason import Reason
from core.text import safe_text
from selfcheck.backends.http import Query, ReadError, ReadSession
from selfcheck.backends.http_store import HttpStore, HttpStoreOptions
from selfcheck.backends.jaeger_apis import V1, V3, JaegerApi, Page, Search
from selfcheck.backends.protocol import (
    AccessPath,
    Declaration,
    Dedupe,
    Linked,
    Question,
    WriteRule,
)
from selfcheck.backends.sightings import Record
from selfcheck.backends.spans import ALL_FIELDS, Span, canary_ids, trace_ids_of, whole_id
from selfcheck.canary.model import Signal
from selfcheck.otlp import DEFAULT_PATHS

_TRACES = frozenset({Signal.TRACES})
BY_ID = AccessPath("by_id", 1.0, batched=False, signals=_TRACES, shows=ALL_FIELDS)
SEARCH = AccessPath("search", 1.0, batched=True, signals=_TRACES, shows=ALL_FIELDS)
_US = 1000
_NOT_FOUND = frozenset({int(HTTPStatus.NOT_FOUND)})
_APIS: Mapping[str, tuple[JaegerApi, ...]] = {"auto": (V3(), V1()), "v3": (V3(),), "v1": (V1(),)}


class JaegerOptions(HttpStoreOptions):
    """What may be written under a backend of kind `jaeger`."""

    write_url: Annotated[
        str, Field(description="Base URL of its OTLP/HTTP receiver; empty: not written to.")
    ] = ""
    zipkin_url: Annotated[
        str, Field(description="Base URL of its Zipkin receiver; empty: it has none.")
    ] = ""
    api: Annotated[
        Literal["auto", "v1", "v3"],
        Field(description="API that is read; `auto` takes v3 where it answers, else v1."),
    ] = "auto"
    row_limit: Annotated[int, Field(ge=2, le=10_000, description="Traces of one search.")] = 1000


@dataclass(frozen=True, slots=True)
class JaegerBackend(HttpStore):
    """Reads canaries and the newest spans of sources from Jaeger.

    spoken: the API that has answered in its own words, once one has.
    """

    options_model: ClassVar[type[Options]] = JaegerOptions
    declaration: ClassVar[Declaration] = Declaration(
        signals=_TRACES,
        paths=(BY_ID, SEARCH),
        # v3 shows nanoseconds, but v1 and most storages behind either keep whole microseconds.
        precision_ns=_US,
        dedupe=Dedupe.KEEPS,
        dedupe_note="the same span twice is two spans of its trace",
        row_limit=1000,
        absent='by id 404 in its own words; search 200 with nothing (1.62, 2.0) or 404 ("No traces'
        ' found", 2.20)',
        source="jaegertracing.io/docs APIs, 2026-11",
        proved=("Jaeger 1.62.0, APIs v1 and v3", "Jaeger 2.0.0-rc2, APIs v1 and v3"),
        impossible={
            "aggregate": "Jaeger's API counts nothing",
            "cached reads": "it has no cache of answers that could be asked or passed by",
            "wrong tenant": "the servers it was proved against keep no tenants apart",
        },
    )

    options: JaegerOptions
    spoken: list[JaegerApi] = field(default_factory=list)

    @classmethod
    def write_rules(cls, options: Options) -> Mapping[str, WriteRule]:
        """Jaeger takes OTLP and Zipkin's API on ports of their own, as their own pages say."""
        chosen = cast("JaegerOptions", options)
        rules = {}
        if chosen.write_url:
            paths = {Signal.TRACES: DEFAULT_PATHS[Signal.TRACES]}
            taken = frozenset({int(HTTPStatus.OK)})
            rules["otlp_http"] = WriteRule(chosen.write_url, paths, taken, empty_body=False)
        if chosen.zipkin_url:
            paths = {Signal.TRACES: "/api/v2/spans"}
            taken = frozenset({int(HTTPStatus.ACCEPTED)})
            rules["zipkin"] = WriteRule(chosen.zipkin_url, paths, taken, empty_body=True)
        return rules

    async def records(
        self, session: ReadSession, question: Question, path: AccessPath
    ) -> Sequence[Record]:
        """Spans of the traces in question: one request each by id, one search for all."""
        if path.name == BY_ID.name:
            return [
                span.record
                for trace_id in trace_ids_of(question.canaries)
                for span in await self._trace(session, trace_id)
            ]
        tags = {"coalmine.route": question.route}
        if len(question.canaries) == 1:
            tags["canary.id"] = question.canaries[0].canary_id
        wanted = Search(
            question.canaries[0].service_name,
            tags,
            question.start_ns // _US,
            question.end_ns // _US + 1,
            self.options.row_limit,
        )
        return [span.record for span in await self._search(session, wanted)]

    async def newest_ns(self, session: ReadSession, selector: str, window_s: float) -> int | None:
        """Of the newest span of the service named `selector`."""
        end_us = int(self.clock.utc().timestamp() * 1e6) + 1
        wanted = Search(selector, {}, end_us - int(window_s * 1e6), end_us, 20)
        page = await self._page(session, lambda api: api.search(wanted))
        # A trace comes with the spans of all its services.
        own = (span.record.stamp_ns for span in page.spans if span.service == selector)
        return max((stamp for stamp in own if stamp is not None), default=None)

    async def canaries_in(self, trace_id: str, deadline_s: float) -> Linked:
        """Ids of the canaries whose spans are in one trace."""

        async def ask(session: ReadSession) -> Iterable[str]:
            wanted = whole_id(trace_id)
            return canary_ids(await self._trace(session, wanted), wanted)

        return await self.linked(ask, deadline_s)

    async def _trace(self, session: ReadSession, trace_id: str) -> list[Span]:
        """Spans of one trace: the whole id, never what merely looks like it."""
        page = await self._page(session, lambda api: api.by_id(trace_id))
        return [span for span in page.spans if span.trace_id == trace_id]

    async def _search(self, session: ReadSession, wanted: Search) -> list[Span]:
        """Spans of all traces in the interval, halved for as long as a page is full."""
        page = await self._page(session, lambda api: api.search(wanted))
        if page.traces < wanted.limit:
            return list(page.spans)
        if wanted.end_us - wanted.start_us < 2:
            raise ReadError(Reason.READBACK, f"{wanted.limit} traces or more in one microsecond")
        middle_us = (wanted.start_us + wanted.end_us) // 2
        early = await self._search(session, _between(wanted, wanted.start_us, middle_us))
        return early + await self._search(session, _between(wanted, middle_us + 1, wanted.end_us))

    async def _page(
        self, session: ReadSession, asked: Callable[[JaegerApi], tuple[str, Query]]
    ) -> Page:
        """The answer of the API that is spoken here, found by asking. Raises ReadError."""
        words = ""
        for api in tuple(self.spoken) or _APIS[self.options.api]:
            response = await session.ask("GET", *asked(api), also=_NOT_FOUND)
            try:
                page = api.page(response)
            except ReadError as exc:
                words = f"HTTP {response.status}, {exc.detail}"
                continue
            self.spoken[:] = [api]
            return page
        raise ReadError(Reason.BACKEND_PROTOCOL, safe_text(words, 200))


def _between(wanted: Search, start_us: int, end_us: int) -> Search:
    return Search(wanted.service, wanted.tags, start_us, end_us, wanted.limit)
