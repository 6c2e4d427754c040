"""loki: logs, found by the id in structured metadata and, apart from that, by the id in the line.

Read from Loki 3.7's HTTP API (grafana.com/docs/loki, "HTTP API") and tried against 3.7.8.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, ClassVar, Self, cast

from pydantic import Field

from core.clock import Clock
from core.kinds import FactSpec, Parts
from core.options import Options
from core.reason import Reason
from selfcheck.access import TENANT_HEADER, AccessOptions
from selfcheck.backends.http import (
    Json,
    ReadError,
    ReadSession,
    StoreClient,
    integer,
    items,
    member,
    strings,
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
from selfcheck.backends.sightings import Record, restored, sent_names, sightings
from selfcheck.canary.model import Signal

_LOGS = frozenset({Signal.LOGS})
BY_ID = AccessPath("by_id", 0.01, batched=True, signals=_LOGS)
SEARCH = AccessPath("search", 0.01, batched=True, signals=_LOGS)
# Above this many ids the whole span of the route is read instead of a pattern of ids.
IDS_IN_QUERY = 20


class LokiOptions(AccessOptions):
    """What may be written under a backend of kind `loki`."""

    url: Annotated[str, Field(pattern=r"^https?://.+$", description="Base URL of the API.")]
    row_limit: Annotated[
        int, Field(ge=2, le=100_000, description="Rows of one page; Loki allows 5,000.")
    ] = 1000


@dataclass(frozen=True, slots=True)
class Entry:
    """One line with its stamp, its stream labels and structured metadata."""

    stamp_ns: int
    line: str
    labels: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class LokiBackend(Backend):
    """Reads canaries and the newest lines of sources from Loki."""

    options_model: ClassVar[type[Options]] = LokiOptions
    reasons: ClassVar[frozenset[Reason]] = frozenset(
        {Reason.READBACK, Reason.AUTH, Reason.THROTTLED, Reason.BACKEND_PROTOCOL, Reason.TIMEOUT}
    )
    facts: ClassVar[tuple[FactSpec, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()
    declaration: ClassVar[Declaration] = Declaration(
        signals=_LOGS,
        paths=(BY_ID, SEARCH),
        precision_ns=1,
        dedupe=Dedupe.COLLAPSES,
        dedupe_note="same stream, timestamp and line become one entry",
        row_limit=1000,
        absent='200 with "result": []; a wrong tenant looks the same',
        source="grafana.com/docs/loki HTTP API; tried on Loki 3.7.8, 2026-11",
    )

    options: LokiOptions
    client: StoreClient
    clock: Clock

    @classmethod
    def build(cls, options: Options, parts: Parts) -> Self:
        """A reader for `options`."""
        chosen = cast("LokiOptions", options)
        return cls(chosen, StoreClient.of(chosen.url, chosen, parts), parts.clock)

    @classmethod
    def write_rule(cls, options: Options) -> WriteRule | None:
        """Loki answers OTLP with 204 and no body; the tenant is the one that is read."""
        chosen = cast("LokiOptions", options)
        tenant = ((TENANT_HEADER, chosen.tenant),) if chosen.tenant else ()
        paths = {Signal.LOGS: "/otlp/v1/logs"}
        return WriteRule(chosen.url, paths, frozenset({HTTPStatus.NO_CONTENT}), True, tenant)

    async def read(self, question: Question, path: AccessPath, deadline_s: float) -> Reading:
        """All canaries of `question`, paged to the end of their span."""
        session = self.client.session(deadline_s)
        if not question.canaries:
            return Reading.full((), session.asked, 0.0, 0)
        try:
            query = _by_id(question) if path.name == BY_ID.name else _search(question)
            entries = await self._entries(session, query, question.start_ns, question.end_ns)
        except ReadError as exc:
            return Reading.broken(
                exc.reason, exc.detail, session.asked, session.elapsed_s, exc.retry_after_s
            )
        ids = frozenset(canary.canary_id for canary in question.canaries)
        find = _metadata_id if path.name == BY_ID.name else _line_id(ids)
        names = sent_names(question.canaries)
        records = [
            Record(find(e), e.stamp_ns, e.line, None, restored(dict(e.labels), names))
            for e in entries
        ]
        seen = sightings(records, question.canaries, self.declaration.dedupe)
        return Reading.full(seen, session.asked, session.elapsed_s, session.body_bytes)

    async def newest(self, selector: str, window_s: float, deadline_s: float) -> Newest:
        """Stamp of the newest line matching the LogQL `selector` in the last `window_s`."""
        session = self.client.session(deadline_s)
        now_ns = int(self.clock.utc().timestamp() * 1e9)
        query = {
            "query": selector,
            "start": str(now_ns - int(window_s * 1e9)),
            "end": str(now_ns + 1),
            "limit": "1",
            "direction": "backward",
        }
        try:
            page = _entries(await session.get("/loki/api/v1/query_range", query))
        except ReadError as exc:
            return Newest(False, None, exc.reason, exc.detail)
        stamp_ns = max((entry.stamp_ns for entry in page), default=None)
        return Newest(True, stamp_ns, Reason.OK, "")

    async def _entries(
        self, session: ReadSession, query: str, start_ns: int, end_ns: int
    ) -> Sequence[Entry]:
        """Entries from `start_ns` to `end_ns`, both included, each once. Raises ReadError."""
        found: dict[Entry, None] = {}
        limit = self.options.row_limit
        while True:
            page = _entries(
                await session.get(
                    "/loki/api/v1/query_range",
                    {
                        "query": query,
                        "start": str(start_ns),
                        "end": str(end_ns + 1),  # exclusive
                        "limit": str(limit),
                        "direction": "forward",
                    },
                )
            )
            found.update(dict.fromkeys(page))
            if len(page) < limit:
                return tuple(found)
            last_ns = max(entry.stamp_ns for entry in page)
            if last_ns == start_ns:
                raise ReadError(Reason.READBACK, f"{limit} lines or more at one timestamp")
            # The last stamp is asked for again: a page may end between lines that share it.
            start_ns = last_ns


def _selector(question: Question) -> str:
    first = question.canaries[0]
    service, instance = _quote(first.service_name), _quote(first.service_instance)
    return f"{{service_name={service}, service_instance_id={instance}}}"


def _by_id(question: Question) -> str:
    """Structured metadata: attribute names with dots as underscores, after the pipe."""
    ids = [canary.canary_id for canary in question.canaries]
    if len(ids) > IDS_IN_QUERY:
        return f"{_selector(question)} | coalmine_route={_quote(question.route)}"
    if len(ids) == 1:
        return f"{_selector(question)} | canary_id={_quote(ids[0])}"
    return f"{_selector(question)} | canary_id=~{_quote(_pattern(ids))}"


def _search(question: Question) -> str:
    """A line filter: it needs nothing but the line itself."""
    ids = [canary.canary_id for canary in question.canaries]
    if len(ids) > IDS_IN_QUERY:
        return _selector(question)
    if len(ids) == 1:
        return f"{_selector(question)} |= {_quote(ids[0])}"
    return f"{_selector(question)} |~ {_quote(_pattern(ids))}"


def _pattern(ids: Sequence[str]) -> str:
    return "|".join(re.escape(canary_id) for canary_id in ids)


def _quote(value: str) -> str:
    return json.dumps(value)


def _entries(answer: Json) -> list[Entry]:
    data = member(answer, "data")
    if member(answer, "status") != "success" or member(data, "resultType") != "streams":
        raise ReadError(Reason.BACKEND_PROTOCOL, "not the streams of a range query")
    if items(cast("dict[str, Json]", answer).get("warnings") or []):
        raise ReadError(Reason.READBACK, "answered with warnings: may be partial")
    return [entry for stream in items(member(data, "result")) for entry in _stream(stream)]


def _stream(stream: Json) -> list[Entry]:
    labels = tuple(sorted(strings(member(stream, "stream")).items()))
    found = []
    for value in items(member(stream, "values")):
        pair = items(value)
        if len(pair) < 2:
            raise ReadError(Reason.BACKEND_PROTOCOL, "a line without a stamp")
        found.append(Entry(integer(pair[0]), text(pair[1]), labels))
    return found


def _metadata_id(entry: Entry) -> str:
    return dict(entry.labels).get("canary_id", "")


def _line_id(ids: frozenset[str]) -> Callable[[Entry], str]:
    """Finds a wanted id in a line as a whole word: no id is met as a part of another."""

    def find(entry: Entry) -> str:
        return next((word for word in entry.line.split() if word in ids), "")

    return find
