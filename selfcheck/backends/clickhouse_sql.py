"""Statements over the tables of the Collector's clickhouseexporter, with bound values only. Pure.

Source: open-telemetry/opentelemetry-collector-contrib, exporter/clickhouseexporter (table
templates), and clickhouse.com/docs, "HTTP interface", 2026-11.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from core.reason import Reason
from selfcheck.backends.http import Json, ReadError, integer, items, member, text
from selfcheck.backends.protocol import Question
from selfcheck.canary.model import Canary, Signal
from selfcheck.otlp import METRIC_NAME

# Above this many ids the whole span of the route is read instead of a list of ids.
IDS_IN_QUERY = 100
INSTANCE, ROUTE = "coalmine.instance", "coalmine.route"


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns of a table hold what.

    shows: further columns that a read asks for; fields: those that hold fields of the record.
    days: a column of whole seconds that the table is parted by, where it has one: without it no
    part is left out. Newer tables of logs have it.
    """

    stamp: str
    attributes: str
    shows: Mapping[str, str]
    fields: Mapping[str, str]
    needs: frozenset[str]
    days: str = ""


LAYOUTS: Mapping[Signal, Layout] = {
    Signal.LOGS: Layout(
        "Timestamp",
        "LogAttributes",
        {"body": "Body"},
        {
            "trace_id": "TraceId",
            "span_id": "SpanId",
            "severity_text": "SeverityText",
            "severity_number": "SeverityNumber",
        },
        frozenset({"ServiceName"}),
        "TimestampTime",
    ),
    Signal.TRACES: Layout(
        "Timestamp",
        "SpanAttributes",
        {},
        {
            "trace_id": "TraceId",
            "span_id": "SpanId",
            "parent_span_id": "ParentSpanId",
            "span_name": "SpanName",
            "span_kind": "SpanKind",
            "span_status": "StatusCode",
            "span_duration_ns": "Duration",
        },
        frozenset({"ServiceName"}),
    ),
    Signal.METRICS: Layout(
        "TimeUnix", "Attributes", {"value": "Value"}, {}, frozenset({"ServiceName", "MetricName"})
    ),
}


@dataclass(frozen=True, slots=True)
class Times:
    """The columns of one table that hold times; `days` is "" where it has none."""

    stamp: str
    days: str


@dataclass(slots=True)
class Where:
    """Conditions of one statement, and the values bound to their names."""

    conditions: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)

    def bound(self, value: str, kind: str = "String") -> str:
        """The place of a further value of type `kind`, to be written into a condition."""
        name = f"p{len(self.values)}"
        self.values[name] = value
        return f"{{{name}:{kind}}}"

    def among(self, expression: str, values: Sequence[str], kind: str = "String") -> None:
        """`expression` is one of `values`."""
        places = ", ".join(self.bound(value, kind) for value in values)
        self.conditions.append(f"{expression} IN ({places})")

    def within(self, times: Times, start_ns: int, end_ns: int) -> None:
        """The record's time lies in the interval, both ends included."""
        first, last = self.bound(str(start_ns), "Int64"), self.bound(str(end_ns), "Int64")
        self.conditions.append(
            f"{times.stamp} BETWEEN fromUnixTimestamp64Nano({first})"
            f" AND fromUnixTimestamp64Nano({last})"
        )
        if times.days:
            early = self.bound(str(start_ns // 10**9), "UInt32")
            late = self.bound(str(end_ns // 10**9), "UInt32")
            self.conditions.append(
                f"{times.days} BETWEEN toDateTime({early}) AND toDateTime({late})"
            )

    def written(self) -> str:
        """All conditions."""
        return " AND ".join(f"({one})" for one in self.conditions)


def by_id(question: Question) -> Where:
    """By what the tables are indexed for: attribute, trace id, or the sample's own time."""
    where = Where()
    first, ids = question.canaries[0], [c.canary_id for c in question.canaries]
    if question.signal is Signal.METRICS:
        _series(where, first)
        if question.stamped:
            where.among("ServiceName", [first.service_name])
            stamps = [str(c.stamp_ns) for c in question.canaries]
            _few(where, "toUnixTimestamp64Nano(TimeUnix)", stamps, "Int64")
        else:
            _few(where, "Value", [repr(c.value) for c in question.canaries], "Float64")
    elif question.signal is Signal.TRACES:
        traces = list(dict.fromkeys(c.trace_id.hex() for c in question.canaries))
        if not _few(where, "TraceId", traces):
            where.among("ServiceName", [first.service_name])
    else:
        where.among("ServiceName", [first.service_name])
        if not _few(where, "LogAttributes['canary.id']", ids):
            where.among(f"LogAttributes['{ROUTE}']", [question.route])
    return where


def by_search(question: Question) -> Where:
    """By what a person would look for: the id in the body, the attribute, all of the series."""
    where = Where()
    first, ids = question.canaries[0], [c.canary_id for c in question.canaries]
    if question.signal is Signal.METRICS:
        _series(where, first)
    elif question.signal is Signal.TRACES:
        where.among("ServiceName", [first.service_name])
        if not _few(where, "SpanAttributes['canary.id']", ids):
            where.among(f"SpanAttributes['{ROUTE}']", [question.route])
    elif len(ids) <= IDS_IN_QUERY:
        like = [f"Body LIKE {where.bound(f'%{_like(one)}%')}" for one in ids]
        where.conditions.append(" OR ".join(like))
    else:
        where.among("ServiceName", [first.service_name])
    return where


def select(columns: str, table: str, where: Where, rest: str = "") -> str:
    """A statement whose values are all bound: what is written into it is ours or the config's."""
    tail = f"{rest} FORMAT JSON".lstrip()
    return f"SELECT {columns} FROM {quoted(table)} WHERE {where.written()} {tail}"  # noqa: S608


def rows(table: str, signal: Signal, where: Where, limit: int) -> str:
    """A page of records in the order of their times."""
    layout = LAYOUTS[signal]
    stamp = f"toUnixTimestamp64Nano({layout.stamp})"
    shown = {"stamp": stamp, **layout.shows, **layout.fields, "attributes": layout.attributes}
    columns = ", ".join(f"{what} AS {name}" for name, what in shown.items())
    return select(columns, table, where, f"ORDER BY {layout.stamp} LIMIT {limit}")


def counts(table: str, question: Question, where: Where, limit: int) -> str:
    """How many records each id has; samples are told apart by time, or by value."""
    layout = LAYOUTS[question.signal]
    key = f"{layout.attributes}['canary.id']"
    if question.signal is Signal.METRICS:
        key = f"toUnixTimestamp64Nano({layout.stamp})" if question.stamped else "Value"
    columns = f"{key} AS id, count() AS copies"
    return select(columns, table, where, f"GROUP BY id LIMIT {limit}")


def answered(answer: Json) -> Sequence[Json]:
    """The rows of a complete answer. Raises ReadError.

    An exception can come after the status: then the answer is cut, or says so beside its rows.
    """
    if isinstance(answer, Mapping) and answer.get("exception"):
        raise ReadError(Reason.READBACK, f"answered with an exception: {answer['exception']}"[:200])
    found = items(member(answer, "data"))
    if integer(member(answer, "rows")) != len(found):
        raise ReadError(Reason.BACKEND_PROTOCOL, "another number of rows than the answer says")
    return found


def checked(table: str, signal: Signal, described: Sequence[Json]) -> Times:
    """The columns of time of a table in the exporter's schema with Map columns.

    Raises ReadError for another schema.
    """
    layout = LAYOUTS[signal]
    types = {text(member(one, "name")): text(member(one, "type")) for one in described}
    shown = {*layout.shows.values(), *layout.fields.values()}
    needed = {layout.stamp, layout.attributes, *shown, *layout.needs}
    missing = sorted(needed - types.keys())
    if missing:
        told = f"{table} has no column {', '.join(missing)}: another schema than the exporter's"
        raise ReadError(Reason.BACKEND_PROTOCOL, told)
    kind = types[layout.attributes]
    if not kind.startswith("Map("):
        told = f"{table}.{layout.attributes} is {kind}: `json: true` of the exporter is not read"
        raise ReadError(Reason.BACKEND_PROTOCOL, told)
    if types[layout.stamp].partition("(")[0] != "DateTime64":
        told = f"{table}.{layout.stamp} is {types[layout.stamp]}, not DateTime64"
        raise ReadError(Reason.BACKEND_PROTOCOL, told)
    return Times(layout.stamp, layout.days if layout.days in types else "")


def parameter(value: str) -> str:
    """A bound value as the HTTP interface wants it: escaped as in tab separated text."""
    for plain, escaped in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        value = value.replace(plain, escaped)
    return value


def quoted(name: str) -> str:
    """A table's name, with that of its database or without, as an identifier."""
    return ".".join(f"`{part}`" for part in name.split("."))


def _series(where: Where, canary: Canary) -> None:
    """The route's series, also as a scraper spells its labels."""
    where.among("MetricName", [METRIC_NAME])
    for name in (INSTANCE, ROUTE):
        place = where.bound(canary.attributes[name])
        plain, underscored = f"Attributes['{name}']", f"Attributes['{name.replace('.', '_')}']"
        where.conditions.append(f"{plain} = {place} OR {underscored} = {place}")


def _few(where: Where, expression: str, values: Sequence[str], kind: str = "String") -> bool:
    """Whether `values` are few enough to be listed; they are listed then."""
    if len(values) > IDS_IN_QUERY:
        return False
    where.among(expression, values, kind)
    return True


def _like(text_: str) -> str:
    return text_.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
