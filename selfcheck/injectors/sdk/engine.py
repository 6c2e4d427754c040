"""The real SDK as an application has it: a provider, a batch processor, an official exporter.

Nothing global is set, nothing is registered for the exit of the process, and nothing is taken from
its environment: resource, sampler, limits, delays and views are all given.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from math import inf

from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk._logs import LoggerProvider, LogRecordLimits, ReadableLogRecord
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    LogRecordExporter,
    LogRecordExportResult,
)
from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.metrics.view import DropAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from core.errors import CoalmineError
from selfcheck import otlp
from selfcheck.canary.model import Canary, Signal
from selfcheck.injectors.sdk.ears import Ears
from selfcheck.injectors.sdk.exporters import grpc_exporter, http_exporter
from selfcheck.injectors.sdk.target import Target

_SCOPE = "coalmine.canary"
_SDK_SCOPE = "opentelemetry-sdk"
# The SDK's defaults (1.45.2), as an application has them that sets none.
_QUEUE, _BATCH, _SPAN_DELAY_MS, _LOG_DELAY_MS = 2048, 512, 5000.0, 1000.0
_FLUSH_MS = 30_000


class Pipeline(ABC):
    """One provider of one signal. Blocking, except for `take`."""

    @abstractmethod
    def take(self, canary: Canary) -> None:
        """Hand a canary over, as an application does its records: nothing is waited for."""

    @abstractmethod
    def flush(self) -> None:
        """Have it exported. What this returns or raises is no evidence of anything."""

    @abstractmethod
    def shutdown(self) -> None:
        """End its threads; what is queued is dropped."""


class _Ids(IdGenerator):
    """The ids of the canary that is taken now."""

    def __init__(self) -> None:
        self.canary: Canary | None = None

    def generate_span_id(self) -> int:
        """The canary's span id."""
        return int.from_bytes(self._now().span_id, "big")

    def generate_trace_id(self) -> int:
        """The canary's trace id."""
        return int.from_bytes(self._now().trace_id, "big")

    def _now(self) -> Canary:
        if self.canary is None:
            raise CoalmineError("sdk: a span that no canary asked for")
        return self.canary


class _Tracers(TracerProvider):
    """Not switched off by OTEL_SDK_DISABLED, which is meant for applications."""

    def __init__(self, resource: Resource, ids: _Ids) -> None:
        unset = SpanLimits.UNSET
        super().__init__(
            sampler=ALWAYS_ON,
            resource=resource,
            shutdown_on_exit=False,
            id_generator=ids,
            span_limits=SpanLimits(unset, unset, unset, unset, unset, unset, unset, unset),
            meter_provider=NoOpMeterProvider(),
        )
        self._disabled = False


class _Loggers(LoggerProvider):
    """As `_Tracers`."""

    def __init__(self, resource: Resource) -> None:
        unset = LogRecordLimits.UNSET
        super().__init__(
            resource=resource,
            shutdown_on_exit=False,
            meter_provider=NoOpMeterProvider(),
            log_record_limits=LogRecordLimits(unset, unset, unset, unset),
        )
        self._disabled = False


class _Meters(MeterProvider):
    """As `_Tracers`; the SDK's metrics about itself would be series of the canary's service."""

    def __init__(
        self, reader: PeriodicExportingMetricReader, resource: Resource, keys: frozenset[str]
    ) -> None:
        super().__init__(
            metric_readers=[reader],
            resource=resource,
            exemplar_filter=AlwaysOnExemplarFilter(),
            shutdown_on_exit=False,
            views=[
                View(meter_name=_SDK_SCOPE, aggregation=DropAggregation()),
                # What is no label of the series becomes an attribute of the exemplar alone.
                View(instrument_name=otlp.METRIC_NAME, attribute_keys=set(keys)),
            ],
        )
        self._disabled = False


class _Spans(SpanExporter):
    """The official exporter; every thread that works for it is heard."""

    def __init__(self, inner: SpanExporter, ears: Ears) -> None:
        self._inner, self._ears = inner, ears

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """As the wrapped exporter."""
        self._ears.claim()
        return self._inner.export(spans)

    def shutdown(self) -> None:
        """As the wrapped exporter."""
        self._inner.shutdown()


class _Records(LogRecordExporter):
    """As `_Spans`."""

    def __init__(self, inner: LogRecordExporter, ears: Ears) -> None:
        self._inner, self._ears = inner, ears

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """As the wrapped exporter."""
        self._ears.claim()
        return self._inner.export(batch)

    def shutdown(self) -> None:
        """As the wrapped exporter."""
        self._inner.shutdown()  # type: ignore[no-untyped-call]  # the SDK's own gap

    def force_flush(self, timeout_millis: int = _FLUSH_MS) -> bool:
        """As the wrapped exporter."""
        return self._inner.force_flush(timeout_millis)


class _Points(MetricExporter):
    """As `_Spans`; temporality and aggregation are the SDK's own defaults."""

    def __init__(self, inner: MetricExporter, ears: Ears) -> None:
        super().__init__()
        self._inner, self._ears = inner, ears

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = _FLUSH_MS, **kwargs: object
    ) -> MetricExportResult:
        """As the wrapped exporter."""
        self._ears.claim()
        return self._inner.export(metrics_data, timeout_millis, **kwargs)

    def force_flush(self, timeout_millis: float = _FLUSH_MS) -> bool:
        """As the wrapped exporter."""
        return self._inner.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = _FLUSH_MS, **kwargs: object) -> None:
        """As the wrapped exporter."""
        self._inner.shutdown(timeout_millis, **kwargs)


class _SpanPipeline(Pipeline):
    def __init__(self, exporter: SpanExporter, canary: Canary, ears: Ears) -> None:
        self._exporter, self._ids = _Spans(exporter, ears), _Ids()
        self._provider = _Tracers(_resource(canary), self._ids)
        self._provider.add_span_processor(
            BatchSpanProcessor(
                self._exporter,
                _QUEUE,
                _SPAN_DELAY_MS,
                _BATCH,
                _FLUSH_MS,
                meter_provider=NoOpMeterProvider(),
            )
        )
        self._tracer = self._provider.get_tracer(_SCOPE)

    def take(self, canary: Canary) -> None:
        self._ids.canary = canary
        span = self._tracer.start_span(
            canary.span_name,
            context=trace.set_span_in_context(trace.INVALID_SPAN),
            kind=trace.SpanKind[canary.span_kind.upper()],
            attributes=dict(canary.attributes),
            start_time=canary.stamp_ns,
        )
        span.set_status(trace.StatusCode[canary.span_status.upper()])
        span.end(canary.stamp_ns + canary.span_duration_ns)

    def flush(self) -> None:
        self._provider.force_flush(_FLUSH_MS)

    def shutdown(self) -> None:
        self._exporter.shutdown()
        self._provider.shutdown()


class _LogPipeline(Pipeline):
    def __init__(self, exporter: LogRecordExporter, canary: Canary, ears: Ears) -> None:
        self._exporter = _Records(exporter, ears)
        self._provider = _Loggers(_resource(canary))
        self._provider.add_log_record_processor(
            BatchLogRecordProcessor(
                self._exporter,
                _LOG_DELAY_MS,
                _BATCH,
                _FLUSH_MS,
                _QUEUE,
                meter_provider=NoOpMeterProvider(),
            )
        )
        self._logger = self._provider.get_logger(_SCOPE)

    def take(self, canary: Canary) -> None:
        self._logger.emit(
            LogRecord(
                timestamp=canary.stamp_ns,
                observed_timestamp=canary.stamp_ns,
                context=trace.set_span_in_context(_span_of(canary)),
                severity_number=SeverityNumber(canary.severity_number),
                severity_text=canary.severity_text,
                body=canary.body,
                attributes=dict(canary.attributes),
            )
        )

    def flush(self) -> None:
        self._provider.force_flush(_FLUSH_MS)

    def shutdown(self) -> None:
        self._exporter.shutdown()
        self._provider.shutdown()


class _MetricPipeline(Pipeline):
    def __init__(self, exporter: MetricExporter, canary: Canary, ears: Ears) -> None:
        # No collection of its own: it would send an old value again under a new stamp.
        reader = PeriodicExportingMetricReader(_Points(exporter, ears), inf, _FLUSH_MS)
        self._provider = _Meters(reader, _resource(canary), frozenset(canary.attributes))
        self._gauge = self._provider.get_meter(_SCOPE).create_gauge(otlp.METRIC_NAME)

    def take(self, canary: Canary) -> None:
        self._gauge.set(
            canary.value,
            {**canary.attributes, "canary.id": canary.canary_id},
            trace.set_span_in_context(_span_of(canary)),
        )

    def flush(self) -> None:
        self._provider.force_flush(_FLUSH_MS)

    def shutdown(self) -> None:
        self._provider.shutdown()


def _resource(canary: Canary) -> Resource:
    # As in `selfcheck.otlp`; `Resource.create` would add the SDK's own and the environment's.
    return Resource(
        {"service.name": canary.service_name, "service.instance.id": canary.service_instance}
    )


def _span_of(canary: Canary) -> trace.Span:
    return trace.NonRecordingSpan(
        trace.SpanContext(
            int.from_bytes(canary.trace_id, "big"),
            int.from_bytes(canary.span_id, "big"),
            is_remote=False,
            trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
        )
    )


_PIPELINES: dict[Signal, Callable[..., Pipeline]] = {
    Signal.LOGS: _LogPipeline,
    Signal.METRICS: _MetricPipeline,
    Signal.TRACES: _SpanPipeline,
}


def made(protocol: str, target: Target, canary: Canary, ears: Ears) -> Pipeline:
    """The SDK for the service and the signal of `canary`; blocks, and starts its threads.

    Raises OSError for a certificate that cannot be read.
    """
    ears.claim()
    exporter = grpc_exporter if protocol == "grpc" else http_exporter
    return _PIPELINES[canary.signal](exporter(canary.signal, target), canary, ears)
