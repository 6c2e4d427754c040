"""OTLP: a canary as an export request, and the answer to one, as protobuf or as JSON.

The only importer of opentelemetry-proto for writing; field meanings follow the OTLP specification
(open-telemetry/opentelemetry-proto, docs/specification.md and the .proto files).
"""

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from google.protobuf import json_format  # type: ignore[import-untyped]  # ships no types
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # ships no types
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs_service
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics_service
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_service
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1 import logs_pb2 as logs
from opentelemetry.proto.metrics.v1 import metrics_pb2 as metrics
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2 as trace

from selfcheck.canary.model import Canary, Signal

CONTENT_TYPE = "application/x-protobuf"
JSON_TYPE = "application/json"
METRIC_NAME = "coalmine_canary"
HOP_PREFIX = "coalmine.hop."
DEFAULT_PATHS: Mapping[Signal, str] = MappingProxyType(
    {Signal.LOGS: "/v1/logs", Signal.METRICS: "/v1/metrics", Signal.TRACES: "/v1/traces"}
)

ExportRequest = (
    logs_service.ExportLogsServiceRequest
    | metrics_service.ExportMetricsServiceRequest
    | trace_service.ExportTraceServiceRequest
)
_REQUESTS: Mapping[Signal, type[ExportRequest]] = {
    Signal.LOGS: logs_service.ExportLogsServiceRequest,
    Signal.METRICS: metrics_service.ExportMetricsServiceRequest,
    Signal.TRACES: trace_service.ExportTraceServiceRequest,
}
_IDS = frozenset({"traceId", "spanId", "parentSpanId"})
_SCOPE = InstrumentationScope(name="coalmine.canary")


class NotOtlpError(ValueError):
    """Bytes that are no OTLP message."""


@dataclass(frozen=True, slots=True)
class ExportReply:
    """What a receiver says in its answer: `rejected` records and its message, empty for none."""

    rejected: int
    message: str


class MetricAs(StrEnum):
    """What a metrics canary is written as. Receivers treat them apart (exemplars, conversions)."""

    GAUGE = "gauge"
    COUNTER = "counter"


def build_request(canary: Canary, metric: MetricAs = MetricAs.GAUGE) -> ExportRequest:
    """The export request that carries `canary` alone."""
    if canary.signal is Signal.LOGS:
        return _logs_request(canary)
    if canary.signal is Signal.METRICS:
        return _metrics_request(canary, metric)
    return _trace_request(canary)


def encode(canary: Canary, metric: MetricAs = MetricAs.GAUGE) -> bytes:
    """The request of `canary` as protobuf bytes."""
    return bytes(build_request(canary, metric).SerializeToString())


def encode_json(canary: Canary, metric: MetricAs = MetricAs.GAUGE) -> bytes:
    """The request of `canary` as OTLP's JSON: hex ids, enums as integers, lowerCamelCase names.

    Integers of 64 bits are decimal strings, as in every JSON form of protobuf.
    Rule: docs/specification.md, "JSON Protobuf Encoding".
    """
    written = json_format.MessageToDict(build_request(canary, metric), use_integers_for_enums=True)
    return json.dumps(_with_ids(written, _hex_of_base64), separators=(",", ":")).encode()


def parse_json_request(signal: Signal, body: bytes) -> ExportRequest:
    """An export request from OTLP's JSON. Raises NotOtlpError."""
    request = _REQUESTS[signal]()
    try:
        plain = _with_ids(json.loads(body), _base64_of_hex)
        if not isinstance(plain, dict):
            raise ValueError("no object")  # noqa: TRY004  told as every other mistake here
        json_format.ParseDict(plain, request, ignore_unknown_fields=True)
    except _NOT_JSON as exc:
        raise NotOtlpError(f"not an OTLP {signal} request in JSON: {exc}") from exc
    return request


def parse_request(signal: Signal, body: bytes) -> ExportRequest:
    """An export request from its bytes. Raises NotOtlpError."""
    request = _REQUESTS[signal]()
    try:
        request.ParseFromString(body)
    except DecodeError as exc:
        raise NotOtlpError(f"not an OTLP {signal} request: {exc}") from exc
    return request


def parse_reply(signal: Signal, body: bytes) -> ExportReply:
    """The answer to an export request; no bytes are a valid, empty answer. Raises NotOtlpError."""
    try:
        return _REPLIES[signal](body)
    except DecodeError as exc:
        raise NotOtlpError(f"not an OTLP {signal} answer: {exc}") from exc


def parse_json_reply(signal: Signal, body: bytes) -> ExportReply:
    """The answer to an export request in JSON, an object at least. Raises NotOtlpError.

    Fields that are not known are passed over: the specification tells receivers to expect them.
    """
    answer = _ANSWERS[signal]()
    if not body.lstrip().startswith(b"{"):
        raise NotOtlpError(f"not an OTLP {signal} answer in JSON: no object")
    try:
        json_format.Parse(body, answer, ignore_unknown_fields=True)
    except _NOT_JSON as exc:
        raise NotOtlpError(f"not an OTLP {signal} answer in JSON: {exc}") from exc
    return parse_reply(signal, answer.SerializeToString())


def build_reply(signal: Signal, rejected: int = 0, message: str = "") -> bytes:
    """Bytes of an answer that rejects `rejected` records."""
    if signal is Signal.LOGS:
        logs_reply = logs_service.ExportLogsServiceResponse()
        logs_reply.partial_success.rejected_log_records = rejected
        logs_reply.partial_success.error_message = message
        return bytes(logs_reply.SerializeToString())
    if signal is Signal.METRICS:
        metrics_reply = metrics_service.ExportMetricsServiceResponse()
        metrics_reply.partial_success.rejected_data_points = rejected
        metrics_reply.partial_success.error_message = message
        return bytes(metrics_reply.SerializeToString())
    trace_reply = trace_service.ExportTraceServiceResponse()
    trace_reply.partial_success.rejected_spans = rejected
    trace_reply.partial_success.error_message = message
    return bytes(trace_reply.SerializeToString())


def attributes(pairs: Mapping[str, str]) -> list[KeyValue]:
    """String attributes in OTLP's form."""
    return [KeyValue(key=k, value=AnyValue(string_value=v)) for k, v in pairs.items()]


def attribute_map(pairs: Iterable[KeyValue]) -> dict[str, str]:
    """OTLP attributes as text; values of other types in their usual spelling."""
    return {pair.key: _text(pair.value) for pair in pairs}


def _text(value: AnyValue) -> str:
    kind = value.WhichOneof("value")
    return "" if kind is None else str(getattr(value, kind))


def _resource(canary: Canary) -> Resource:
    # Only identifying attributes: anything more makes Prometheus write a `target_info` series that
    # all routes of an instance share, and concurrent batches of it are refused as out of order.
    return Resource(
        attributes=attributes(
            {
                "service.name": canary.service_name,
                "service.instance.id": canary.service_instance,
            }
        )
    )


def _logs_request(canary: Canary) -> ExportRequest:
    record = logs.LogRecord(
        time_unix_nano=canary.stamp_ns,
        observed_time_unix_nano=canary.stamp_ns,
        severity_number=logs.SeverityNumber.ValueType(canary.severity_number),
        severity_text=canary.severity_text,
        body=AnyValue(string_value=canary.body),
        attributes=attributes(canary.attributes),
        trace_id=canary.trace_id,
        span_id=canary.span_id,
    )
    scope = logs.ScopeLogs(scope=_SCOPE, log_records=[record])
    resource = logs.ResourceLogs(resource=_resource(canary), scope_logs=[scope])
    return logs_service.ExportLogsServiceRequest(resource_logs=[resource])


def _metrics_request(canary: Canary, written_as: MetricAs) -> ExportRequest:
    exemplar = metrics.Exemplar(
        time_unix_nano=canary.stamp_ns,
        as_double=canary.value,
        trace_id=canary.trace_id,
        span_id=canary.span_id,
        filtered_attributes=attributes({"canary.id": canary.canary_id}),
    )
    point = metrics.NumberDataPoint(
        time_unix_nano=canary.stamp_ns,
        as_double=canary.value,
        attributes=attributes(canary.attributes),
        exemplars=[exemplar],
    )
    metric = metrics.Metric(
        name=METRIC_NAME, description="Sequence number of the newest canary of a route."
    )
    if written_as is MetricAs.COUNTER:
        metric.sum.is_monotonic = True
        metric.sum.aggregation_temporality = metrics.AGGREGATION_TEMPORALITY_CUMULATIVE
        metric.sum.data_points.append(point)
    else:
        metric.gauge.data_points.append(point)
    scope = metrics.ScopeMetrics(scope=_SCOPE, metrics=[metric])
    resource = metrics.ResourceMetrics(resource=_resource(canary), scope_metrics=[scope])
    return metrics_service.ExportMetricsServiceRequest(resource_metrics=[resource])


def _trace_request(canary: Canary) -> ExportRequest:
    span = trace.Span(
        trace_id=canary.trace_id,
        span_id=canary.span_id,
        name=canary.span_name,
        kind=trace.Span.SpanKind.Value(f"SPAN_KIND_{canary.span_kind.upper()}"),
        status=trace.Status(
            code=trace.Status.StatusCode.Value(f"STATUS_CODE_{canary.span_status.upper()}")
        ),
        start_time_unix_nano=canary.stamp_ns,
        end_time_unix_nano=canary.stamp_ns + canary.span_duration_ns,
        attributes=attributes(canary.attributes),
    )
    scope = trace.ScopeSpans(scope=_SCOPE, spans=[span])
    resource = trace.ResourceSpans(resource=_resource(canary), scope_spans=[scope])
    return trace_service.ExportTraceServiceRequest(resource_spans=[resource])


def _logs_reply(body: bytes) -> ExportReply:
    part = logs_service.ExportLogsServiceResponse.FromString(body).partial_success
    return ExportReply(part.rejected_log_records, part.error_message)


def _metrics_reply(body: bytes) -> ExportReply:
    part = metrics_service.ExportMetricsServiceResponse.FromString(body).partial_success
    return ExportReply(part.rejected_data_points, part.error_message)


def _trace_reply(body: bytes) -> ExportReply:
    part = trace_service.ExportTraceServiceResponse.FromString(body).partial_success
    return ExportReply(part.rejected_spans, part.error_message)


def _with_ids(value: object, change: Callable[[str], str]) -> object:
    """The same document with every id in its other form. Raises ValueError for one that is none."""
    if isinstance(value, list):
        return [_with_ids(one, change) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        key: change(str(one)) if key in _IDS else _with_ids(one, change)
        for key, one in value.items()
    }


def _hex_of_base64(text: str) -> str:
    return base64.b64decode(text).hex()


def _base64_of_hex(text: str) -> str:
    return base64.b64encode(binascii.unhexlify(text)).decode()


# What reading hostile JSON raises: not the message; not JSON or not text; nested without end.
_NOT_JSON = (json_format.ParseError, ValueError, RecursionError)
_ANSWERS: Mapping[Signal, Callable[[], Any]] = {  # protobuf's classes have no common type
    Signal.LOGS: logs_service.ExportLogsServiceResponse,
    Signal.METRICS: metrics_service.ExportMetricsServiceResponse,
    Signal.TRACES: trace_service.ExportTraceServiceResponse,
}
_REPLIES = {
    Signal.LOGS: _logs_reply,
    Signal.METRICS: _metrics_reply,
    Signal.TRACES: _trace_reply,
}
