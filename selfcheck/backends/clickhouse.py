"""clickhouse: all three signals, in the tables of the Collector's clickhouseexporter, by SQL.

Every value is bound, none is written into a statement. The schema is looked at before the first
read: it differs by the exporter's version and options.

Source: clickhouse.com/docs, "HTTP interface"; the exporter's table templates, 2026-11.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, ClassVar, cast
from urllib.parse import quote, urlencode

from pydantic import Field

from core.options import Options
from core.outbound.protocol import Response
from core.reason import Reason
from selfcheck.backends import clickhouse_sql as sql
from selfcheck.backends.http import (
    Json,
    ReadError,
    ReadSession,
    integer,
    member,
    number,
    parse_json,
    strings,
    text,
)
from selfcheck.backends.http_store import HttpStore, HttpStoreOptions
from selfcheck.backends.promql_answer import Sample, records_of
from selfcheck.backends.protocol import (
    AccessPath,
    Declaration,
    Dedupe,
    Linked,
    Question,
    WriteRule,
)
from selfcheck.backends.sightings import Record, restored, sent_names
from selfcheck.canary.fields import kind_of, status_of
from selfcheck.canary.model import Canary, Signal

_ALL = frozenset(Signal)
# The exporter's batches and the server's asynchronous inserts are seconds behind.
_SHOWS = frozenset(name for layout in sql.LAYOUTS.values() for name in layout.fields)
BY_ID = AccessPath("by_id", 1.0, batched=True, signals=_ALL, shows=_SHOWS)
SEARCH = AccessPath("search", 1.0, batched=True, signals=_ALL, shows=_SHOWS)
AGGREGATE = AccessPath("aggregate", 1.0, batched=True, signals=_ALL, counts_only=True)
_TABLE = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?$"
_NOT_FOUND = frozenset({int(HTTPStatus.NOT_FOUND)})
_CODE = re.compile(rb"\bCode: (\d{1,6})\. ")
# UNKNOWN_TABLE and UNKNOWN_DATABASE: the exporter makes both when it starts.
_NO_TABLE = frozenset({60, 81})
# 192..195 users and passwords, 497 ACCESS_DENIED, 516 AUTHENTICATION_FAILED.
AUTH_CODES = frozenset({192, 193, 194, 195, 497, 516})
# 201 QUOTA_EXCEEDED, 202 TOO_MANY_SIMULTANEOUS_QUERIES.
_THROTTLED = frozenset({201, 202})
_COUNTED = 1000
_WhereOf = Callable[[Question], sql.Where]


class ClickhouseOptions(HttpStoreOptions):
    """What may be written under a backend of kind `clickhouse`; `auth` is its user."""

    database: Annotated[
        str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="As the exporter's own.")
    ] = "default"
    logs_table: Annotated[str, Field(pattern=_TABLE, description="Table of logs.")] = "otel_logs"
    traces_table: Annotated[str, Field(pattern=_TABLE, description="Table of spans.")] = (
        "otel_traces"
    )
    metrics_table: Annotated[
        str, Field(pattern=_TABLE, description="Table of gauges, which canaries are.")
    ] = "otel_metrics_gauge"
    row_limit: Annotated[int, Field(ge=2, le=100_000, description="Rows of one page.")] = 1000

    def table(self, signal: Signal) -> str:
        """The table that holds the canaries of `signal`."""
        return str(getattr(self, f"{signal}_table"))

    def request_headers(self) -> tuple[tuple[str, str], ...]:
        """User and password in ClickHouse's own headers; a token as everywhere else."""
        if self.auth is None or self.auth.password is None:
            return HttpStoreOptions.request_headers(self)
        user = ("X-ClickHouse-User", self.auth.username)
        key = ("X-ClickHouse-Key", self.auth.password.reveal())
        return (*self.tenant_headers(), *self.headers.items(), user, key)


@dataclass(frozen=True, slots=True)
class ClickhouseBackend(HttpStore):
    """Reads canaries, links and the newest records of sources from ClickHouse."""

    options_model: ClassVar[type[Options]] = ClickhouseOptions
    declaration: ClassVar[Declaration] = Declaration(
        signals=_ALL,
        paths=(BY_ID, SEARCH, AGGREGATE),
        precision_ns=1,
        dedupe=Dedupe.KEEPS,
        dedupe_note="every insert is a row, so that copies are counted; but a replicated table"
        " takes a block that is repeated byte for byte as one",
        row_limit=1000,
        absent='200 with "rows": 0; a table that is not there yet is a 404 and absent too',
        source="clickhouse.com/docs HTTP interface; clickhouseexporter table templates, 2026-11",
        proved=("chdb 4.4.0 (ClickHouse 26.9) behind an HTTP front of ours",),
        impossible={
            "replicas": "the engine under test has none: read one replica, or consistently",
            "the server's own HTTP interface": "the engine is real, its HTTP front is ours",
        },
    )

    options: ClickhouseOptions
    known: dict[str, sql.Times] = field(default_factory=dict)

    @staticmethod
    def told(response: Response) -> Reason | None:
        """What the exception's number says: a wrong user comes with several statuses."""
        code = exception_code(response)
        if code in AUTH_CODES:
            return Reason.AUTH
        return Reason.THROTTLED if code in _THROTTLED else None

    @classmethod
    def write_rules(cls, options: Options) -> Mapping[str, WriteRule]:
        """One insert a canary, into the tables that are read; 200 and no body."""
        chosen = cast("ClickhouseOptions", options)
        paths = {s: insert_path(chosen.database, chosen.table(s)) for s in Signal}
        taken = frozenset({int(HTTPStatus.OK)})
        rule = WriteRule(chosen.url, paths, taken, True, chosen.tenant_headers())
        return {"clickhouse": rule}

    async def records(
        self, session: ReadSession, question: Question, path: AccessPath
    ) -> Sequence[Record]:
        """Rows with the canaries of `question`, or how many there are."""
        times = await self._known(session, question.signal)
        if times is None:
            return []
        if path.counts_only:
            return await self._counted(session, question, times)
        where = sql.by_id if path.name == BY_ID.name else sql.by_search
        rows = await self._rows(session, question, where, times)
        return _records(rows, question, path)

    async def newest_ns(self, session: ReadSession, selector: str, window_s: float) -> int | None:
        """Of the newest row of `signal: condition`, the condition in SQL."""
        name, _, condition = selector.partition(":")
        if name not in _ALL or not condition.strip():
            told = "a selector is `logs:`, `traces:` or `metrics:` and a condition in SQL"
            raise ReadError(Reason.READBACK, told)
        signal = Signal(name)
        times = await self._known(session, signal)
        if times is None:
            return None
        now_ns = int(self.clock.utc().timestamp() * 1e9)
        where = sql.Where([condition])
        where.within(times, now_ns - int(window_s * 1e9), now_ns + 1)
        columns = f"count() AS found, toUnixTimestamp64Nano(max({times.stamp})) AS newest"
        statement = sql.select(columns, self.options.table(signal), where)
        (row,) = await self._asked(session, statement, where.values) or [{"found": 0}]
        return integer(member(row, "newest")) if integer(member(row, "found")) else None

    async def trace_ids(self, canary: Canary, deadline_s: float) -> Linked:
        """Trace ids in the log's own column, or in the exemplars of the sample."""
        question = Question(
            canary.signal, canary.key.route, (canary,), canary.stamp_ns, canary.stamp_ns
        )
        column = "TraceId" if canary.signal is Signal.LOGS else "arrayJoin(`Exemplars.TraceId`)"
        where = sql.by_id(question)
        where.within(
            sql.Times(sql.LAYOUTS[canary.signal].stamp, ""), question.start_ns, question.end_ns
        )
        return await self._linked_column(canary.signal, column, where, deadline_s)

    async def canaries_in(self, trace_id: str, deadline_s: float) -> Linked:
        """Canary ids of the spans in the trace of 32 hex digits."""
        where = sql.Where()
        where.among("TraceId", [trace_id])
        column = "SpanAttributes['canary.id']"
        return await self._linked_column(Signal.TRACES, column, where, deadline_s)

    async def _linked_column(
        self, signal: Signal, column: str, where: sql.Where, deadline_s: float
    ) -> Linked:
        rest = f"LIMIT {self.options.row_limit}"
        shown = f"DISTINCT {column} AS found"
        statement = sql.select(shown, self.options.table(signal), where, rest)

        async def ask(session: ReadSession) -> Iterable[str]:
            if await self._known(session, signal) is None:
                return []
            rows = await self._asked(session, statement, where.values)
            return [told for row in rows if (told := text(member(row, "found")))]

        return await self.linked(ask, deadline_s)

    async def _rows(
        self, session: ReadSession, question: Question, where_of: _WhereOf, times: sql.Times
    ) -> list[Json]:
        """All rows in the interval. Raises ReadError.

        Copies count, so that no page is asked for twice over: of a full page the rows of its last
        stamp are left to the next one.
        """
        found: list[Json] = []
        start_ns, limit = question.start_ns, self.options.row_limit
        table = self.options.table(question.signal)
        while True:
            where = where_of(question)
            where.within(times, start_ns, question.end_ns)
            statement = sql.rows(table, question.signal, where, limit)
            page = await self._asked(session, statement, where.values)
            if len(page) < limit:
                return found + list(page)
            last_ns = integer(member(page[-1], "stamp"))
            whole = [row for row in page if integer(member(row, "stamp")) != last_ns]
            if not whole:
                raise ReadError(Reason.READBACK, f"{limit} rows or more at one timestamp")
            found += whole
            start_ns = last_ns

    async def _counted(
        self, session: ReadSession, question: Question, times: sql.Times
    ) -> list[Record]:
        where = sql.by_id(question)
        where.within(times, question.start_ns, question.end_ns)
        limit = self.options.row_limit
        table = self.options.table(question.signal)
        statement = sql.counts(table, question, where, limit)
        rows = await self._asked(session, statement, where.values)
        if len(rows) >= limit:
            raise ReadError(Reason.READBACK, f"{limit} ids or more are counted")
        found: list[Record] = []
        for row in rows:
            record = Record(_counted_id(member(row, "id"), question), None, None, None, {})
            found += [record] * min(integer(member(row, "copies")), _COUNTED)
        return found

    async def _known(self, session: ReadSession, signal: Signal) -> sql.Times | None:
        """The table's times, None while it is not there; looked at once. Raises ReadError."""
        table = self.options.table(signal)
        if table not in self.known:
            described = await self._asked(
                session, f"DESCRIBE TABLE {sql.quoted(table)} FORMAT JSON"
            )
            if not described:
                return None
            self.known[table] = sql.checked(table, signal, described)
        return self.known[table]

    async def _asked(
        self, session: ReadSession, statement: str, values: Mapping[str, str] | None = None
    ) -> Sequence[Json]:
        """Rows of one statement; none of a table that is not there. Raises ReadError."""
        bound = {f"param_{n}": sql.parameter(v) for n, v in (values or {}).items()}
        # The whole result is made before the first byte leaves: an exception keeps its status.
        told = {"database": self.options.database, "wait_end_of_query": "1", **bound}
        path = f"/?{urlencode(told, quote_via=quote)}"
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        response = await session.ask(
            "POST", path, body=statement.encode(), headers=headers, also=_NOT_FOUND
        )
        if response.status == HTTPStatus.NOT_FOUND:
            if exception_code(response) in _NO_TABLE:
                return []
            raise session.client.refusal(response)
        return sql.answered(parse_json(response.body))


def exception_code(response: Response) -> int | None:
    """The number of ClickHouse's exception, from its header or its text; None without one."""
    told = response.header("x-clickhouse-exception-code") or ""
    if told.isascii() and told.isdigit():
        return int(told[:6])
    found = _CODE.search(response.body[:4096])
    return None if found is None else int(found[1])


def insert_path(database: str, table: str) -> str:
    """Where rows of a table are posted to, as one JSON object a line."""
    told = {"database": database, "query": f"INSERT INTO {sql.quoted(table)} FORMAT JSONEachRow"}
    return f"/?{urlencode(told, quote_via=quote)}"


def _records(rows: Sequence[Json], question: Question, path: AccessPath) -> list[Record]:
    if question.signal is Signal.METRICS:
        return records_of([_sample(row) for row in rows], question)
    names = sent_names(question.canaries)
    ids = frozenset(canary.canary_id for canary in question.canaries)
    found = []
    for row in rows:
        attributes = restored(strings(member(row, "attributes")), names)
        body = text(member(row, "body")) if question.signal is Signal.LOGS else None
        own = attributes.get("canary.id", "")
        if body is not None and path.name == SEARCH.name:
            # The search is for the line: it must not need the attribute.
            own = next((word for word in body.split() if word in ids), "")
        fields = _fields(row, question.signal)
        found.append(Record(own, integer(member(row, "stamp")), body, None, attributes, fields))
    return found


def _fields(row: Json, signal: Signal) -> dict[str, str]:
    """The exporter's columns; its words for kinds and statuses differ by its version."""
    told = {name: str(member(row, name)) for name in sql.LAYOUTS[signal].fields}
    spelled = {"span_kind": kind_of, "span_status": status_of}
    return {name: spelled.get(name, str)(value) for name, value in told.items()}


def _sample(row: Json) -> Sample:
    labels = tuple(sorted(strings(member(row, "attributes")).items()))
    return Sample(integer(member(row, "stamp")), number(member(row, "value")), labels)


def _counted_id(told: Json, question: Question) -> str:
    if question.signal is not Signal.METRICS:
        return text(told)
    if question.stamped:
        stamps = {canary.stamp_ns: canary.canary_id for canary in question.canaries}
        return stamps.get(integer(told), "")
    return {c.value: c.canary_id for c in question.canaries}.get(number(told), "")
