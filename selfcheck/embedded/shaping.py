"""Changing export requests in flight: leaving records out, altering them, stamping the hop."""

from collections.abc import Callable
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from selfcheck.otlp import HOP_PREFIX, ExportRequest, attributes

# Log records, number data points and spans have no common base in the generated code.
Item = Any


def keep(request: ExportRequest, wanted: Callable[[Item], bool]) -> int:
    """Leave in `request` only the records that are `wanted`; the number of those left."""
    left = 0
    for group in _groups(request):
        kept = [item for item in group if wanted(item)]
        del group[:]
        group.extend(kept)
        left += len(kept)
    return left


def count(request: ExportRequest) -> int:
    """Log records, data points or spans in `request`."""
    return sum(len(group) for group in _groups(request))


def stamp(request: ExportRequest, hop: str) -> None:
    """Add the hop stamp to every record."""
    mark = attributes({f"{HOP_PREFIX}{hop}": "seen"})
    for group in _groups(request):
        for item in group:
            item.attributes.extend(mark)


def alter(item: Item) -> None:
    """Change the content of one record by the least that counts as altered."""
    if hasattr(item, "body"):
        item.body.string_value = f"{item.body.string_value[:-1]}~"
    elif hasattr(item, "as_double"):
        item.as_double += 0.5
    else:
        for pair in item.attributes:
            if pair.key == "coalmine.seq":
                pair.value.string_value += "0"


def each(request: ExportRequest, change: Callable[[Item], None]) -> None:
    """Apply `change` to every record."""
    for group in _groups(request):
        for item in group:
            change(item)


def _groups(request: ExportRequest) -> list[Any]:  # repeated fields have no public type
    if isinstance(request, ExportLogsServiceRequest):
        return [scope.log_records for res in request.resource_logs for scope in res.scope_logs]
    if isinstance(request, ExportMetricsServiceRequest):
        return [
            kind.data_points
            for res in request.resource_metrics
            for scope in res.scope_metrics
            for metric in scope.metrics
            for kind in (metric.gauge, metric.sum)
            if len(kind.data_points)
        ]
    return [scope.spans for res in request.resource_spans for scope in res.scope_spans]
