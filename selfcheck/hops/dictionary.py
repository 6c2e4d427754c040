"""What the Collector's own metric names mean: data, read against recorded scrapes in the tests.

Names are compared without `_total`, without unit suffixes and with underscores for dots, as they
differ between versions and readers. Sources: the Collector's internal telemetry page
(opentelemetry.io, "Internal telemetry"), the metadata.yaml of the components named here, and a
scrape of version 0.159.0. A name that is not here is not guessed at.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from selfcheck.canary.model import Signal
from selfcheck.hops.protocol import Direction

PREFIX = "otelcol_"
UPTIME = "process_uptime"
START_TIME = "process_start_time"
HTTP_SERVER = "http_server_request_body_size"

_NOUNS = {
    "spans": Signal.TRACES,
    "metric_points": Signal.METRICS,
    "log_records": Signal.LOGS,
}
_FILTERED = {"spans": Signal.TRACES, "datapoints": Signal.METRICS, "logs": Signal.LOGS}
_SAMPLED = {"traces": Signal.TRACES, "logs": Signal.LOGS}

SIGNAL_LABELS = ("otel_signal", "otelcol_signal", "data_type", "http_route")
SIGNAL_VALUES = {text: signal for signal in Signal for text in (signal.value, f"/v1/{signal}")}

# Samplers that decide on whole traces: their counters are no number of spans.
COUNTS_TRACES = frozenset({"tail_sampling"})


@dataclass(frozen=True, slots=True)
class Entry:
    """The meaning of one metric name.

    id_label: the label with the component's id; "" = the name alone says it, then `fixed_id`.
    signal: None = a label says it, or else the other series of the same component do.
    where: labels, and the values one of which each must have for the series to count.
    """

    component: str
    direction: Direction
    signal: Signal | None
    id_label: str = ""
    fixed_id: str = ""
    where: tuple[tuple[str, tuple[str, ...]], ...] = ()


def _per_noun(
    pattern: str, component: str, direction: Direction, label: str = ""
) -> dict[str, Entry]:
    return {
        pattern.format(noun): Entry(component, direction, signal, label or component)
        for noun, signal in _NOUNS.items()
    }


_DROPPED_SAMPLE = (("sampled", ("false",)),)

ENTRIES: Mapping[str, Entry] = {
    **_per_noun("receiver_accepted_{}", "receiver", Direction.IN),
    **_per_noun("receiver_refused_{}", "receiver", Direction.REFUSED),
    **_per_noun("exporter_sent_{}", "exporter", Direction.OUT),
    **_per_noun("exporter_send_failed_{}", "exporter", Direction.DROPPED),
    # Told apart from send_failed: with no batch processor before the queue, the same items are
    # refused at the receiver and never came in.
    **_per_noun("exporter_enqueue_failed_{}", "queue", Direction.DROPPED, "exporter"),
    **_per_noun("processor_memory_limiter_refused_{}", "processor", Direction.REFUSED, "processor"),
    "exporter_queue_size": Entry("exporter", Direction.STORED, None, "exporter"),
    "exporter_queue_capacity": Entry("exporter", Direction.CAPACITY, None, "exporter"),
    "processor_incoming_items": Entry("processor", Direction.IN, None, "processor"),
    "processor_outgoing_items": Entry("processor", Direction.OUT, None, "processor"),
    **{
        f"processor_filter_{noun}_filtered": Entry(
            "processor", Direction.INTENDED, signal, "filter"
        )
        for noun, signal in _FILTERED.items()
    },
    **{
        f"processor_probabilistic_sampler_count_{noun}_sampled": Entry(
            "processor",
            Direction.INTENDED,
            signal,
            fixed_id="probabilistic_sampler",
            where=_DROPPED_SAMPLE,
        )
        for noun, signal in _SAMPLED.items()
    },
    "processor_tail_sampling_global_count_traces_sampled": Entry(
        "processor",
        Direction.INTENDED,
        Signal.TRACES,
        fixed_id="tail_sampling",
        where=_DROPPED_SAMPLE,
    ),
    # As received, so it may be compressed; at level detailed only. "" = no status is told.
    "http_server_request_body_size_sum": Entry(
        "receiver",
        Direction.BYTES_IN,
        None,
        fixed_id="http",
        where=(("http_response_status_code", ("200", "")),),
    ),
    # Uncompressed protobuf, at level detailed only, and without a signal of its own.
    "exporter_enqueue_size_bytes_sum": Entry("exporter", Direction.BYTES_IN, None, "exporter"),
}

_SUFFIXES = re.compile(r"(?:__(?:spans|records|datapoints|items|batches)_)?(?:_ratio)?(?:_total)*$")


def canonical(name: str) -> str:
    """The dictionary's form of a metric name, without the `otelcol_` prefix."""
    plain = _SUFFIXES.sub("", name.replace(".", "_")).removeprefix(PREFIX)
    return plain.removesuffix("_seconds")
