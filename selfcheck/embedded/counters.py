"""Counters of the built-in hops, shown in the names of the OpenTelemetry Collector.

Names as the Collector's own Prometheus reader writes them, without `_total`
(opentelemetry.io/docs/collector/internal-telemetry).
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from core.clock import Clock
from selfcheck.canary.model import Signal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
ITEMS = {Signal.LOGS: "log_records", Signal.METRICS: "metric_points", Signal.TRACES: "spans"}
FILTERED = {Signal.LOGS: "logs", Signal.METRICS: "datapoints", Signal.TRACES: "spans"}

Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Counters:
    """Counters by name and labels, and gauges that are asked when the page is made."""

    clock: Clock
    _values: dict[tuple[str, Labels], float] = field(default_factory=lambda: defaultdict(float))
    _gauges: dict[tuple[str, Labels], Callable[[], float]] = field(default_factory=dict)
    _started_s: float = field(init=False)

    def __post_init__(self) -> None:
        """Uptime counts from here."""
        self._started_s = self.clock.monotonic()

    def add(self, name: str, count: float, **labels: str) -> None:
        """Count `count` more, 0 makes the series appear."""
        self._values[name, tuple(sorted(labels.items()))] += count

    def watch(self, name: str, value: Callable[[], float], **labels: str) -> None:
        """Show a gauge that is read at each scrape."""
        self._gauges[name, tuple(sorted(labels.items()))] = value

    def text(self) -> str:
        """The page in the Prometheus text format."""
        lines: list[str] = []
        lines += _family("counter", self._values)
        lines += _family("gauge", {key: read() for key, read in self._gauges.items()})
        uptime_s = self.clock.monotonic() - self._started_s
        lines += _family("counter", {("otelcol_process_uptime", ()): uptime_s})
        return "\n".join(lines) + "\n"

    # The words of the Collector's components.

    def received(self, signal: Signal, items: int, body_bytes: int) -> None:
        """Records that the receiver took, with the size of their request."""
        self.add(
            f"otelcol_receiver_accepted_{ITEMS[signal]}", items, receiver="otlp", transport="http"
        )
        route = f"/v1/{signal}"
        self.add("http_server_request_body_size_sum", body_bytes, http_route=route)
        self.add("http_server_request_body_size_count", 1, http_route=route)

    def refused(self, signal: Signal, items: int) -> None:
        """Records that the receiver sent back."""
        self.add(
            f"otelcol_receiver_refused_{ITEMS[signal]}", items, receiver="otlp", transport="http"
        )

    def processed(self, signal: Signal, items: int, kept: int) -> None:
        """Records through the filter: what it removed is removed by intent."""
        labels = {"processor": "filter", "otel_signal": str(signal)}
        self.add("otelcol_processor_incoming_items", items, **labels)
        self.add("otelcol_processor_outgoing_items", kept, **labels)
        name = f"otelcol_processor_filter_{FILTERED[signal]}_filtered"
        self.add(name, items - kept, filter="filter")

    def exported(self, signal: Signal, exporter: str, items: int) -> None:
        """Records that were passed on, or stored."""
        self.add(f"otelcol_exporter_sent_{ITEMS[signal]}", items, exporter=exporter)

    def export_failed(self, signal: Signal, exporter: str, items: int) -> None:
        """Records given up after an answer that must not be retried."""
        self.add(f"otelcol_exporter_send_failed_{ITEMS[signal]}", items, exporter=exporter)


def _family(kind: str, values: dict[tuple[str, Labels], float]) -> Iterator[str]:
    seen = ""
    for (name, labels), value in sorted(values.items()):
        if name != seen:
            yield f"# TYPE {name} {kind}"
            seen = name
        inside = ",".join(f'{key}="{_escape(text)}"' for key, text in labels)
        yield f"{name}{{{inside}}} {value:.17g}" if inside else f"{name} {value:.17g}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
