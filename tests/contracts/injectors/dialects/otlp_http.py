"""OTLP over HTTP, protobuf and JSON."""

import gzip
import json

from core.outbound.protocol import Request
from core.reason import Reason
from selfcheck.canary.model import Signal
from selfcheck.otlp import (
    CONTENT_TYPE,
    JSON_TYPE,
    attribute_map,
    build_reply,
    parse_json_request,
    parse_request,
)
from tests.contracts.injectors.dialect import Dialect, Said, Seen

PROTOBUF = {"Content-Type": CONTENT_TYPE}
JSON = {"Content-Type": JSON_TYPE}
HTML = {"Content-Type": "text/html"}
PAGE = b"<html>log in</html>"


def _parse(signal: Signal, request: Request) -> Seen:
    headers = dict(request.headers)
    packed = headers.get("Content-Encoding") == "gzip"
    body = gzip.decompress(request.body) if packed else request.body
    read = parse_request if headers["Content-Type"] == CONTENT_TYPE else parse_json_request
    sent = read(signal, body)
    if signal is Signal.LOGS:
        (record,) = sent.resource_logs[0].scope_logs[0].log_records
        found = attribute_map(record.attributes)["canary.id"]
        trace_id, text = record.trace_id.hex(), record.body.string_value
        return Seen(found, record.time_unix_nano, trace_id, body=text)
    if signal is Signal.TRACES:
        (span,) = sent.resource_spans[0].scope_spans[0].spans
        found = attribute_map(span.attributes)["canary.id"]
        return Seen(found, span.start_time_unix_nano, span.trace_id.hex())
    (point,) = sent.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points
    (exemplar,) = point.exemplars
    return Seen(
        attribute_map(exemplar.filtered_attributes)["canary.id"],
        point.time_unix_nano,
        exemplar.trace_id.hex(),
        value=point.as_double,
        series=attribute_map(point.attributes),
    )


def _no(headers: dict[str, str]) -> dict[str, tuple[Said, Reason]]:
    found = {
        "html": Said(200, PAGE, HTML),
        "html_as_otlp": Said(200, PAGE, headers),
        "redirect": Said(302, b"", {"Location": "/login"}),
        "no_content": Said(204),
        "202": Said(202, b"", headers),
        "untyped": Said(200),
    }
    return {name: (said, Reason.NOT_OTLP) for name, said in found.items()}


def _rejects(count: int, text: str) -> bytes:
    part = {"rejectedLogRecords": str(count), "errorMessage": text}
    return json.dumps({"partialSuccess": part}).encode()


DIALECTS = {
    "otlp_http-protobuf": Dialect(
        "otlp_http",
        {
            signal: tuple(
                Said(200, body, PROTOBUF) for body in (b"", b"\n\x00", build_reply(signal))
            )
            for signal in Signal
        },
        {**_no(PROTOBUF), "json": (Said(200, b"{}", JSON), Reason.NOT_OTLP)},
        _parse,
        remark=Said(200, build_reply(Signal.LOGS, 0, "use the other port"), PROTOBUF),
        partial=Said(200, build_reply(Signal.LOGS, 1, "line too long"), PROTOBUF),
    ),
    "otlp_http-json": Dialect(
        "otlp_http",
        {
            signal: (Said(200, b"{}", JSON), Said(200, b'{"partialSuccess":{}}', JSON))
            for signal in Signal
        },
        {**_no(JSON), "protobuf": (Said(200, b"", PROTOBUF), Reason.NOT_OTLP)},
        _parse,
        options={"encoding": "json"},
        remark=Said(200, _rejects(0, "use the other port"), JSON),
        partial=Said(200, _rejects(1, "line too long"), JSON),
    ),
}
