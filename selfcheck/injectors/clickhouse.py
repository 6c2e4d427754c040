"""clickhouse: one canary as one row, by an INSERT in the schema of the Collector's exporter.

Accepted means 200 and no body: an exception after the header comes as text. With asynchronous
inserts the server says so before the row can be read.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from pydantic import Field

from core.options import Options
from core.outbound.protocol import Response
from core.reason import Reason
from selfcheck.access import TENANT_HEADER
from selfcheck.backends.clickhouse import AUTH_CODES, exception_code, insert_path
from selfcheck.backends.protocol import WriteRule
from selfcheck.canary.model import Canary, Sent, Signal
from selfcheck.injectors.posting import (
    Attempt,
    Parcel,
    PostingInjector,
    PostingOptions,
    accepted,
    first_text,
    rejected,
)
from selfcheck.otlp import METRIC_NAME

_SCOPE = "coalmine.canary"
_DATABASE = "default"
# 159 TIMEOUT_EXCEEDED, 209 and 210 the network, 236 ABORTED, 319 UNKNOWN_STATUS_OF_INSERT.
_UNKNOWN = frozenset({159, 209, 210, 236, 319})
_TABLES = {
    Signal.LOGS: "otel_logs",
    Signal.TRACES: "otel_traces",
    Signal.METRICS: "otel_metrics_gauge",
}


class ClickhouseInjectOptions(PostingOptions):
    """What may be written under `inject: {kind: clickhouse}`; `auth` is the user that writes."""

    database: Annotated[
        str, Field(description="Database of the tables; not needed with `to`, which names it.")
    ] = _DATABASE

    def request_headers(self) -> tuple[tuple[str, str], ...]:
        """User and password in ClickHouse's own headers; a token as everywhere else."""
        if self.auth is None or self.auth.password is None:
            return PostingOptions.request_headers(self)
        key = ("X-ClickHouse-Key", self.auth.password.reveal())
        tenant = ((TENANT_HEADER, self.tenant),) if self.tenant else ()
        return (*tenant, *self.headers.items(), ("X-ClickHouse-User", self.auth.username), key)


@dataclass(frozen=True, slots=True)
class ClickhouseInjector(PostingInjector):
    """Inserts canaries straight into ClickHouse, past every Collector."""

    options_model: ClassVar[type[Options]] = ClickhouseInjectOptions
    signals: ClassVar[frozenset[Signal]] = frozenset(Signal)
    says: ClassVar[Mapping[Sent, str]] = {
        Sent.ACCEPTED: "200 and no body",
        Sent.REJECTED: "no connection, another status, an exception in the answer",
        Sent.MAYBE: "the server's own time-out or an unknown state of the insert,"
        " or a connection stood and no complete answer came",
    }
    source: ClassVar[str] = "clickhouse.com/docs HTTP interface, 2026-11"
    proved: ClassVar[tuple[str, ...]] = ("chdb 4.4.0 (ClickHouse 26.9) behind a front of ours",)
    other_receiver: ClassVar[WriteRule] = WriteRule(
        "",
        {signal: insert_path(_DATABASE, table) for signal, table in _TABLES.items()},
        frozenset({200}),
        empty_body=True,
    )

    options: ClickhouseInjectOptions

    def parcel(self, canary: Canary) -> Parcel:
        """The row as one JSON object."""
        body = json.dumps(_ROWS[canary.signal](canary)).encode()
        return Parcel(body, (("Content-Type", "application/x-ndjson"),))

    def path(self, canary: Canary) -> str | None:
        """The insert into the table of the signal; as the backend says, or the exporter's own."""
        if self.rule is ClickhouseInjector.other_receiver:
            return insert_path(self.options.database, _TABLES[canary.signal])
        return self.rule.paths.get(canary.signal)

    def reply(self, canary: Canary, response: Response) -> Attempt:
        """Accepted only without a body."""
        del canary
        if response.body:
            told = first_text(response.body)
            return rejected(Reason.NOT_OTLP, f"HTTP {response.status} with text: {told}")
        return accepted()

    def _judge(self, canary: Canary, response: Response) -> Attempt:
        """The exception's number decides before the status."""
        attempt = super(ClickhouseInjector, self)._judge(canary, response)
        code = exception_code(response)
        if code in AUTH_CODES:
            return replace(attempt, reason=Reason.AUTH, retry=False)
        if code in _UNKNOWN:
            return replace(
                attempt, sent=Sent.MAYBE, reason=Reason.MAYBE_SENT, retry=False, left=True
            )
        return attempt


def _time(stamp_ns: int) -> str:
    """Unix seconds with nine digits behind the point: no time zone has a say in that."""
    return f"{stamp_ns // 10**9}.{stamp_ns % 10**9:09d}"


def _resource(canary: Canary) -> dict[str, object]:
    names = {"service.name": canary.service_name, "service.instance.id": canary.service_instance}
    return {"ServiceName": canary.service_name, "ResourceAttributes": names, "ScopeName": _SCOPE}


def _log(canary: Canary) -> dict[str, object]:
    return {
        **_resource(canary),
        "Timestamp": _time(canary.stamp_ns),
        "TraceId": canary.trace_id.hex(),
        "SpanId": canary.span_id.hex(),
        "SeverityText": canary.severity_text,
        "SeverityNumber": canary.severity_number,
        "Body": canary.body,
        "LogAttributes": dict(canary.attributes),
    }


def _span(canary: Canary) -> dict[str, object]:
    return {
        **_resource(canary),
        "Timestamp": _time(canary.stamp_ns),
        "TraceId": canary.trace_id.hex(),
        "SpanId": canary.span_id.hex(),
        "SpanName": canary.span_name,
        "SpanKind": canary.span_kind.title(),
        "SpanAttributes": dict(canary.attributes),
        "Duration": canary.span_duration_ns,
        "StatusCode": canary.span_status.title(),
    }


def _gauge(canary: Canary) -> dict[str, object]:
    return {
        **_resource(canary),
        "MetricName": METRIC_NAME,
        "Attributes": dict(canary.attributes),
        "TimeUnix": _time(canary.stamp_ns),
        "Value": canary.value,
        "Exemplars.FilteredAttributes": [{"canary.id": canary.canary_id}],
        "Exemplars.TimeUnix": [_time(canary.stamp_ns)],
        "Exemplars.Value": [canary.value],
        "Exemplars.SpanId": [canary.span_id.hex()],
        "Exemplars.TraceId": [canary.trace_id.hex()],
    }


_ROWS = {Signal.LOGS: _log, Signal.TRACES: _span, Signal.METRICS: _gauge}
