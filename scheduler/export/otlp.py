"""OTLP out: metrics from the ReadModel, a log record per finding, sampled spans.

The SDK is for our own telemetry only. Its queues are bounded, nothing waits for it, its word that
something was exported is no evidence of arrival (open-telemetry/opentelemetry-python#4568, #4803):
verdicts and pages never depend on it.
"""

import logging
import random
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode

from core.clock import Clock
from core.result import RunEnvelope
from core.verdict import Verdict
from scheduler.export.catalogue import METRICS, MetricSpec
from scheduler.export.points import Internals, Point, points
from scheduler.readmodel import ReadModel, VitalLine

_QUEUE = 2048
_SEVERITY = {
    Verdict.OK: SeverityNumber.INFO,
    Verdict.DEGRADED: SeverityNumber.WARN,
    Verdict.BLIND: SeverityNumber.WARN,
    Verdict.FAIL: SeverityNumber.ERROR,
}
log = logging.getLogger("coalmine.export")


@dataclass(frozen=True, slots=True)
class OtlpSettings:
    """Where our own telemetry goes; `ok_share` is the share of `ok` runs that become spans."""

    url: str
    headers: Mapping[str, str]
    every_s: float
    ok_share: float


class _CountedMetricExporter(MetricExporter):
    """Remembers when an export last succeeded: the only use made of the SDK's word."""

    def __init__(self, inner: OTLPMetricExporter, clock: Clock) -> None:
        super().__init__()
        self._inner, self._clock = inner, clock
        self.succeeded_at = clock.monotonic()
        self.failures = 0

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: object
    ) -> MetricExportResult:
        """Hand over, and keep what came of it."""
        result = self._inner.export(metrics_data, timeout_millis, **kwargs)
        if result is MetricExportResult.SUCCESS:
            self.succeeded_at = self._clock.monotonic()
        else:
            self.failures += 1
        return result

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """As the wrapped exporter."""
        return self._inner.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: object) -> None:
        """As the wrapped exporter."""
        self._inner.shutdown(timeout_millis, **kwargs)


class OtlpExport:
    """One long-lived provider per signal and destination."""

    def __init__(
        self,
        settings: OtlpSettings,
        model: ReadModel,
        internals: Callable[[], Internals],
        clock: Clock,
        rng: random.Random,
        namespace: str,
    ) -> None:
        """Starts exporting at once; nothing is global."""
        self._settings, self._clock, self._rng = settings, clock, rng
        self._model, self._internals = model, internals
        self._cache: tuple[float, dict[str, list[Point]]] = (-1.0, {})
        self._lock = threading.Lock()
        self._last: dict[str, Verdict] = {}
        resource = Resource.create({"service.name": "coalmine", "service.namespace": namespace})
        self._metrics = self._meter_provider(resource)
        self._logs = LoggerProvider(resource=resource, shutdown_on_exit=False)
        self._logs.add_log_record_processor(
            BatchLogRecordProcessor(
                OTLPLogExporter(self._url("logs"), headers=dict(settings.headers), timeout=10),
                max_queue_size=_QUEUE,
            )
        )
        self._spans = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._spans.add_span_processor(
            BatchSpanProcessor(
                OTLPSpanExporter(self._url("traces"), headers=dict(settings.headers), timeout=10),
                max_queue_size=_QUEUE,
            )
        )
        self._tracer = self._spans.get_tracer("coalmine")
        self._logger = self._logs.get_logger("coalmine")

    def publish(self, envelope: RunEnvelope) -> None:
        """A span for every run that is not ok and a share of the rest; a log for each change."""
        changed = self._last.get(envelope.check) is not envelope.verdict
        self._last[envelope.check] = envelope.verdict
        bad = envelope.verdict is not Verdict.OK
        if changed or bad:
            self._emit_log(envelope)
        if bad or self._rng.random() < self._settings.ok_share:
            self._emit_span(envelope)

    def vital(self) -> VitalLine:
        """Whether exports succeed; age counts from the last success."""
        age = self._clock.monotonic() - self._exporter.succeeded_at
        well = age < 3 * self._settings.every_s
        verdict = Verdict.OK if well else Verdict.DEGRADED
        detail = "" if well else f"otlp not exported for {age:.0f}s"
        return VitalLine("export", verdict, age, detail)

    def stop(self, limit_s: float) -> None:
        """Flush in threads of our own: the SDK's time-outs are not kept."""
        stops = (self._metrics.shutdown, self._logs.shutdown, self._spans.shutdown)
        threads = [threading.Thread(target=stop, daemon=True) for stop in stops]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(limit_s / len(threads))
            if thread.is_alive():
                log.warning("export_not_flushed limit_s=%s", limit_s)

    def _url(self, signal: str) -> str:
        return f"{self._settings.url.rstrip('/')}/v1/{signal}"

    def _meter_provider(self, resource: Resource) -> MeterProvider:
        inner = OTLPMetricExporter(
            self._url("metrics"), headers=dict(self._settings.headers), timeout=10
        )
        self._exporter = _CountedMetricExporter(inner, self._clock)
        reader = PeriodicExportingMetricReader(
            self._exporter, export_interval_millis=self._settings.every_s * 1000
        )
        provider = MeterProvider(metric_readers=[reader], resource=resource, shutdown_on_exit=False)
        meter = provider.get_meter("coalmine")
        for spec in METRICS:
            name = spec.name.removesuffix("_total")
            create = (
                meter.create_observable_counter
                if spec.type == "counter"
                else meter.create_observable_gauge
            )
            create(name, callbacks=[self._observe(spec)], description=spec.help)
        return provider

    def _observe(self, spec: MetricSpec) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def callback(_: CallbackOptions) -> Iterable[Observation]:
            for point in self._points().get(spec.name, ()):
                yield Observation(point.value, dict(zip(spec.labels, point.labels, strict=True)))

        return callback

    def _points(self) -> dict[str, list[Point]]:
        """One board per collection, though every family has a callback of its own."""
        with self._lock:
            now = self._clock.monotonic()
            if now - self._cache[0] > 1.0:
                grouped: dict[str, list[Point]] = {}
                for point in points(self._model.board(), self._internals()):
                    grouped.setdefault(point.name, []).append(point)
                self._cache = (now, grouped)
            return self._cache[1]

    def _emit_log(self, envelope: RunEnvelope) -> None:
        at = int(envelope.ended.utc.timestamp() * 1e9)
        self._logger.emit(
            LogRecord(
                timestamp=at,
                observed_timestamp=at,
                severity_number=_SEVERITY[envelope.verdict],
                severity_text=envelope.verdict.value,
                body=f"{envelope.check}: {envelope.verdict.value} {envelope.detail}".rstrip(),
                attributes=_attributes(envelope),
                event_name="coalmine.result",
            )
        )

    def _emit_span(self, envelope: RunEnvelope) -> None:
        end = int(envelope.ended.utc.timestamp() * 1e9)
        lasted = int((envelope.ended.boot_s - envelope.started.boot_s) * 1e9)
        span = self._tracer.start_span(
            f"{envelope.kind} {envelope.check}",
            kind=SpanKind.CLIENT,
            start_time=end - max(0, lasted),
            attributes=_attributes(envelope),
        )
        if envelope.verdict is Verdict.FAIL:
            span.set_status(StatusCode.ERROR, envelope.detail)
        span.end(end)


def _attributes(envelope: RunEnvelope) -> dict[str, str | float]:
    return {
        "coalmine.check": envelope.check,
        "coalmine.kind": envelope.kind,
        "coalmine.verdict": envelope.verdict.value,
        "coalmine.reason": envelope.reason.value,
        "coalmine.location": envelope.location,
        "coalmine.late_s": envelope.trust.late_s,
    }
