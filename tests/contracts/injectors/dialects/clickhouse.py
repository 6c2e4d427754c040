"""ClickHouse's HTTP interface (clickhouse.com/docs, 2026-11): 200 and not a byte."""

import json
from urllib.parse import parse_qs, urlsplit

from core.outbound.protocol import Request
from core.reason import Reason
from selfcheck.canary.model import Signal
from tests.contracts.injectors.dialect import Dialect, Said, Seen

_TABLES = {
    Signal.LOGS: ("otel_logs", "Timestamp", "LogAttributes"),
    Signal.TRACES: ("otel_traces", "Timestamp", "SpanAttributes"),
    Signal.METRICS: ("otel_metrics_gauge", "TimeUnix", "Attributes"),
}


def _parse(signal: Signal, request: Request) -> Seen:
    table, time, attributes = _TABLES[signal]
    asked = parse_qs(urlsplit(request.url).query)
    assert asked["query"] == [f"INSERT INTO `{table}` FORMAT JSONEachRow"]
    row = json.loads(request.body)
    seconds, _, fraction = row[time].partition(".")
    stamp_ns = int(seconds) * 10**9 + int(fraction)
    if signal is not Signal.METRICS:
        canary_id = row[attributes]["canary.id"]
        return Seen(canary_id, stamp_ns, row["TraceId"], row.get("Body"))
    (exemplar,), (trace_id,) = row["Exemplars.FilteredAttributes"], row["Exemplars.TraceId"]
    series = {"name": row["MetricName"], **row["ResourceAttributes"], **row[attributes]}
    return Seen(exemplar["canary.id"], stamp_ns, trace_id, None, row["Value"], series)


_LATE = b"Code: 252. DB::Exception: Too many parts. (TOO_MANY_PARTS)"
DIALECTS = {
    "clickhouse": Dialect(
        "clickhouse",
        {signal: (Said(200),) for signal in Signal},
        {
            "exception_after_the_header": (Said(200, _LATE), Reason.NOT_OTLP),
            "login_page": (Said(200, b"<html>", {"Content-Type": "text/html"}), Reason.NOT_OTLP),
            "204": (Said(204), Reason.NOT_OTLP),
            "redirect": (Said(302, b"", {"Location": "/login"}), Reason.NOT_OTLP),
            "no_table": (Said(404, b"Code: 60. DB::Exception: no."), Reason.INJECT),
            "wrong_user": (Said(500, b"Code: 516. DB::Exception: no."), Reason.AUTH),
        },
        _parse,
        whole="a row is inserted or refused as a whole",
    ),
}
