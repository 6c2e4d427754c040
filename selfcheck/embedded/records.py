"""What the built-in store keeps: one record per log line, data point or span, bounded in number."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from selfcheck.canary.fields import kind_of, status_of, type_field
from selfcheck.canary.model import Signal
from selfcheck.otlp import ExportRequest, attribute_map

MAX_RECORDS = 50_000


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """One record. `visible_s`: boot seconds from which reads see it."""

    signal: Signal
    service: str
    instance: str
    route: str
    canary_id: str
    stamp_ns: int
    trace_id: str
    body: str | None
    value: float | None
    attributes: dict[str, str]
    fields: dict[str, str]
    visible_s: float


@dataclass(slots=True)
class RecordStore:
    """The newest `capacity` records of each signal, in order of arrival; older ones fall out."""

    capacity: int = MAX_RECORDS
    _records: dict[Signal, deque[tuple[int, StoredRecord]]] = field(default_factory=dict)
    _arrivals: int = 0

    def add(self, record: StoredRecord) -> None:
        """Keep `record`."""
        kept = self._records.setdefault(record.signal, deque(maxlen=self.capacity))
        self._arrivals += 1
        kept.append((self._arrivals, record))

    def scan(self, signal: Signal, now_s: float) -> Iterator[tuple[int, StoredRecord]]:
        """Visible records with their arrival number, oldest arrival first."""
        for arrival, record in self._records.get(signal, ()):
            if record.visible_s <= now_s:
                yield arrival, record

    def count(self, signal: Signal) -> int:
        """Records kept of `signal`."""
        return len(self._records.get(signal, ()))


def records_of(request: ExportRequest, visible_s: float) -> Iterator[StoredRecord]:
    """The records of an export request, in its order."""
    if isinstance(request, ExportLogsServiceRequest):
        yield from _log_records(request, visible_s)
    elif isinstance(request, ExportMetricsServiceRequest):
        yield from _points(request, visible_s)
    else:
        yield from _spans(request, visible_s)


def _log_records(request: ExportLogsServiceRequest, visible_s: float) -> Iterator[StoredRecord]:
    for resource in request.resource_logs:
        owner = attribute_map(resource.resource.attributes)
        for scope in resource.scope_logs:
            for log in scope.log_records:
                own = attribute_map(log.attributes)
                yield _record(
                    Signal.LOGS, owner, own, visible_s, log.time_unix_nano, log.trace_id,
                    body=log.body.string_value, fields=_log_fields(log),
                )  # fmt: skip


def _points(request: ExportMetricsServiceRequest, visible_s: float) -> Iterator[StoredRecord]:
    for resource in request.resource_metrics:
        owner = attribute_map(resource.resource.attributes)
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in (*metric.gauge.data_points, *metric.sum.data_points):
                    example = point.exemplars[0] if point.exemplars else None
                    own = attribute_map(point.attributes)
                    marks = attribute_map(example.filtered_attributes) if example else {}
                    trace_id = example.trace_id if example else b""
                    value = float(getattr(point, point.WhichOneof("value") or "as_double"))
                    yield _record(
                        Signal.METRICS, owner, own, visible_s, point.time_unix_nano, trace_id,
                        value=value, canary_id=marks.get("canary.id", ""),
                    )  # fmt: skip


def _spans(request: ExportTraceServiceRequest, visible_s: float) -> Iterator[StoredRecord]:
    for resource in request.resource_spans:
        owner = attribute_map(resource.resource.attributes)
        for scope in resource.scope_spans:
            for span in scope.spans:
                own = attribute_map(span.attributes)
                yield _record(
                    Signal.TRACES, owner, own, visible_s, span.start_time_unix_nano, span.trace_id,
                    fields=_span_fields(span),
                )  # fmt: skip


def _record(
    signal: Signal,
    owner: dict[str, str],
    own: dict[str, str],
    visible_s: float,
    stamp_ns: int,
    trace_id: bytes,
    *,
    body: str | None = None,
    value: float | None = None,
    canary_id: str = "",
    fields: dict[str, str] | None = None,
) -> StoredRecord:
    return StoredRecord(
        signal,
        owner.get("service.name", ""),
        owner.get("service.instance.id", ""),
        own.get("coalmine.route", ""),
        own.get("canary.id", canary_id),
        stamp_ns,
        trace_id.hex(),
        body,
        value,
        own,
        fields or {},
        visible_s,
    )


def _log_fields(log: LogRecord) -> dict[str, str]:
    return {
        "trace_id": log.trace_id.hex(),
        "span_id": log.span_id.hex(),
        "severity_text": log.severity_text,
        "severity_number": str(log.severity_number),
        **_types(log.attributes),
    }


def _span_fields(span: Span) -> dict[str, str]:
    return {
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
        "parent_span_id": span.parent_span_id.hex(),
        "span_name": span.name,
        "span_kind": kind_of(span.kind),
        "span_status": status_of(span.status.code),
        "span_duration_ns": str(span.end_time_unix_nano - span.start_time_unix_nano),
        **_types(span.attributes),
    }


def _types(pairs: Iterable[KeyValue]) -> dict[str, str]:
    """Attributes whose value is no text, with the type that it has."""
    kinds = ((pair.key, pair.value.WhichOneof("value")) for pair in pairs)
    return {
        type_field(key): (kind or "none").removesuffix("_value")
        for key, kind in kinds
        if kind != "string_value"
    }
