"""loki: logs, found by the id in structured metadata and, apart from that, by the id in the line.

Read from Loki 3.7's HTTP API (grafana.com/docs/loki, "HTTP API") and tried against 3.7.8. Counts
come from instant queries, the only ones whose cache a request can ask to pass by (`Cache-Control:
no-cache`, grafana/loki#12896): asked with and without that, they are a pair.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Annotated, ClassVar, cast

from pydantic import Field

from core.options import Options
from core.reason import Reason
from selfcheck.access import TENANT_HEADER
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
from selfcheck.backends.sightings import Record, restored, sent_names
from selfcheck.backends.spans import part
from selfcheck.canary.fields import LOG_FIELDS
from selfcheck.canary.model import Canary, Signal

_LOGS = frozenset({Signal.LOGS})
_SHOWS = frozenset(LOG_FIELDS)
BY_ID = AccessPath("by_id", 0.01, batched=True, signals=_LOGS, shows=_SHOWS)
SEARCH = AccessPath("search", 0.01, batched=True, signals=_LOGS, shows=_SHOWS)
AGGREGATE = AccessPath("aggregate", 0.01, batched=True, signals=_LOGS, counts_only=True)
AGGREGATE_CACHED = AccessPath(
    "aggregate_cached", 0.01, batched=True, signals=_LOGS, cached=True, counts_only=True
)
# Above this many ids, by id the whole span of the route is read, by search one part at a time.
IDS_IN_QUERY = 20
# More copies than this of one id say nothing that this many do not.
_COPIES = 100
_SECOND_NS = 10**9
# Loki writes it beside every record that came by OTLP with an observed time, as canaries have it.
_OTLP_ONLY = "observed_timestamp"
_HEX = re.compile(r"[0-9a-fA-F]{1,32}")
_MAY_CACHE: Mapping[str, str] = {"Cache-Control": ""}
_NO_CACHE: Mapping[str, str] = {}


class LokiOptions(HttpStoreOptions):
    """What may be written under a backend of kind `loki`."""

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
class LokiBackend(HttpStore):
    """Reads canaries and the newest lines of sources from Loki."""

    options_model: ClassVar[type[Options]] = LokiOptions
    declaration: ClassVar[Declaration] = Declaration(
        signals=_LOGS,
        paths=(BY_ID, SEARCH, AGGREGATE, AGGREGATE_CACHED),
        precision_ns=1,
        dedupe=Dedupe.COLLAPSES,
        dedupe_note="same stream, timestamp and line become one entry",
        row_limit=1000,
        absent='200 with "result": []; a wrong tenant looks the same',
        source="grafana.com/docs/loki HTTP API, 2026-11",
        proved=("Loki 3.7.8",),
        impossible={
            "cached entries": "nothing asks Loki to pass by the cache of range queries, which holds"
            " empty answers older than max_cache_freshness_per_query (10 min)",
            "wrong tenant": "a tenant that was never written to is one without entries",
        },
        # query_ingesters_within: beyond it only flushed chunks are read.
        hot_window_s=3 * 3600,
    )

    options: LokiOptions

    @classmethod
    def write_rules(cls, options: Options) -> Mapping[str, WriteRule]:
        """Loki answers 204 and no body; the tenant is the one that is read."""
        chosen = cast("LokiOptions", options)
        tenant = ((TENANT_HEADER, chosen.tenant),) if chosen.tenant else ()
        paths = {"otlp_http": "/otlp/v1/logs", "loki_push": "/loki/api/v1/push"}
        taken = frozenset({int(HTTPStatus.NO_CONTENT)})
        return {
            kind: WriteRule(chosen.url, {Signal.LOGS: path}, taken, True, tenant)
            for kind, path in paths.items()
        }

    async def records(
        self, session: ReadSession, question: Question, path: AccessPath
    ) -> Sequence[Record]:
        """Entries of the route's span with the ids of `question`, or no more than their number."""
        if path.counts_only:
            return await _counted(session, question, _MAY_CACHE if path.cached else _NO_CACHE)
        by_id = path.name == BY_ID.name
        entries: list[Entry] = []
        for some in [question] if by_id else _in_parts(question):
            query = _by_id(some) if by_id else _search(some)
            entries += await self._entries(session, query, some.start_ns, some.end_ns)
        ids = frozenset(canary.canary_id for canary in question.canaries)
        find = _metadata_id if by_id else _line_id(ids)
        names = sent_names(question.canaries)
        return [_record(find(entry), entry, names) for entry in entries]

    async def newest_ns(self, session: ReadSession, selector: str, window_s: float) -> int | None:
        """Of the newest line matching the LogQL `selector`."""
        now_ns = int(self.clock.utc().timestamp() * 1e9)
        query = {
            "query": selector,
            "start": str(now_ns - int(window_s * 1e9)),
            "end": str(now_ns + 1),
            "limit": "1",
            "direction": "backward",
        }
        page = _entries(await session.get("/loki/api/v1/query_range", query))
        return max((entry.stamp_ns for entry in page), default=None)

    async def trace_ids(self, canary: Canary, deadline_s: float) -> Linked:
        """What the stored line has as `trace_id`: the field that Grafana's derived fields follow.

        It is structured metadata both by OTLP and by Loki's own push.
        """

        async def ask(session: ReadSession) -> Iterable[str]:
            at_ns = canary.stamp_ns
            question = Question(canary.signal, canary.key.route, (canary,), at_ns, at_ns)
            found = await self._entries(session, _by_id(question), at_ns, at_ns)
            shown = (dict(entry.labels).get("trace_id", "") for entry in found)
            # What is no id leads to no trace.
            return [trace_id.lower().zfill(32) for trace_id in shown if _HEX.fullmatch(trace_id)]

        return await self.linked(ask, deadline_s)

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


def _record(canary_id: str, entry: Entry, names: Mapping[str, str]) -> Record:
    """`entry`; what OTLP has as fields stands in structured metadata, or is not there.

    An agent that parses a line and pushes it knows a severity by its word alone: its number is
    missed only where the record came by OTLP.
    """
    labels = dict(entry.labels)
    fields = {name: labels.get(name, "") for name in LOG_FIELDS}
    if fields["severity_text"] and not fields["severity_number"] and _OTLP_ONLY not in labels:
        del fields["severity_number"]
    attributes = restored(labels, names)
    return Record(canary_id, entry.stamp_ns, entry.line, None, attributes, fields)


async def _counted(
    session: ReadSession, question: Question, headers: Mapping[str, str]
) -> list[Record]:
    """A record for each entry that is counted, without its stamp: a count shows none.

    The range of a count excludes its start and includes its end.
    """
    end_ns, found = question.end_ns + 1, []
    width_s = (end_ns - question.start_ns) // _SECOND_NS + 1
    for start in range(0, len(question.canaries), IDS_IN_QUERY):
        # A count has a series for each id, and Loki refuses more than 500.
        some = replace(question, canaries=question.canaries[start : start + IDS_IN_QUERY])
        expression = f"sum by (canary_id) (count_over_time({_by_id(some)} [{width_s}s]))"
        query = {"query": expression, "time": str(end_ns)}
        response = await session.ask("GET", "/loki/api/v1/query", query, headers=headers)
        for one in items(_result(parse_json(response.body), "vector")):
            value = items(member(one, "value"))
            if len(value) != 2:
                raise ReadError(Reason.BACKEND_PROTOCOL, "a count that is no pair")
            canary_id = strings(member(one, "metric")).get("canary_id", "")
            times = min(_COPIES, integer(value[1]))
            found += [Record(canary_id, None, None, None, {})] * times
    return found


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
    if len(ids) == 1:
        return f"{_selector(question)} |= {_quote(ids[0])}"
    return f"{_selector(question)} |~ {_quote(_pattern(ids))}"


def _in_parts(question: Question) -> Iterator[Question]:
    """`question` a few canaries at a time, each with its own part of the interval.

    A line tells its id and not its route: what is asked for without ids is every canary of this
    installation, with many routes more than one read may hold.
    """
    canaries = sorted(question.canaries, key=lambda one: one.stamp_ns)
    before_ns = canaries[0].stamp_ns - question.start_ns
    after_ns = question.end_ns - canaries[-1].stamp_ns
    for start in range(0, len(canaries), IDS_IN_QUERY):
        some = tuple(canaries[start : start + IDS_IN_QUERY])
        first_ns, last_ns = some[0].stamp_ns - before_ns, some[-1].stamp_ns + after_ns
        yield replace(question, canaries=some, start_ns=first_ns, end_ns=last_ns)


def _pattern(ids: Sequence[str]) -> str:
    return "|".join(re.escape(canary_id) for canary_id in ids)


def _quote(value: str) -> str:
    return json.dumps(value)


def _entries(answer: Json) -> list[Entry]:
    return [entry for stream in items(_result(answer, "streams")) for entry in _stream(stream)]


def _result(answer: Json, kind: str) -> Json:
    """The result of a complete answer: one with warnings may be partial. Raises ReadError."""
    data = member(answer, "data")
    if member(answer, "status") != "success" or member(data, "resultType") != kind:
        raise ReadError(Reason.BACKEND_PROTOCOL, f"the result is no {kind}")
    if items(part(answer, "warnings") or []):
        raise ReadError(Reason.READBACK, "answered with warnings: may be partial")
    return member(data, "result")


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
