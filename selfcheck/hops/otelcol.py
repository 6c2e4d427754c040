"""otelcol: the Collector's own counters, from the Prometheus text that it serves about itself.

Also for whatever serves the same names: Jaeger 2, Grafana Alloy, the built-in gateway.
Says nothing about telemetry that the Collector's components do not count.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Self

from prometheus_client.parser import text_string_to_metric_families
from pydantic import Field

from core.clock import Clock
from core.errors import CoalmineError
from core.kinds import Parts
from core.options import Options
from core.outbound.protocol import Outbound
from selfcheck.canary.model import Signal
from selfcheck.hops import dictionary
from selfcheck.hops.dictionary import ENTRIES, Entry
from selfcheck.hops.page import PageReader, Scrape
from selfcheck.hops.protocol import Meter

_STARTS = ("otelcol", dictionary.START_TIME, dictionary.HTTP_SERVER)


class OtelcolOptions(Options):
    """What may be written under `kind: otelcol`."""

    metrics: Annotated[str, Field(description="URL of the Collector's own metrics.")]
    receivers: Annotated[
        tuple[str, ...],
        Field(description="Receivers whose items go to `exporters`; empty = all of them."),
    ] = ()
    exporters: Annotated[
        tuple[str, ...],
        Field(description="Exporters that lead on to the next hop; empty = all of them."),
    ] = ()


@dataclass(frozen=True, slots=True)
class _Series:
    name: str
    labels: Mapping[str, str]
    value: float


class OtelcolReader(PageReader):
    """Reads one Collector instance."""

    options_model: ClassVar[type[Options]] = OtelcolOptions

    def __init__(self, hop: str, options: OtelcolOptions, outbound: Outbound, clock: Clock) -> None:
        """`hop` is the name that the counters carry."""
        super().__init__(hop, options.metrics, outbound, clock)
        self._options = options

    @classmethod
    def build(cls, options: Options, parts: Parts, hop: str) -> Self:
        """A reader over the loop's own HTTP client."""
        if not isinstance(options, OtelcolOptions):
            raise CoalmineError(f"otelcol hop {hop}: expected OtelcolOptions")
        return cls(hop, options, parts.outbound, parts.clock)

    def parse(self, text: str) -> Scrape:
        """The meters of the receivers and exporters that the options name."""
        scrape = parse(text)
        kept = {meter: value for meter, value in scrape.meters.items() if self._wanted(meter)}
        return replace(scrape, meters=kept)

    def _wanted(self, meter: Meter) -> bool:
        if meter.component == "receiver":
            return not self._options.receivers or meter.component_id in self._options.receivers
        if meter.component in {"exporter", "queue"}:
            return not self._options.exporters or meter.component_id in self._options.exporters
        return True


def parse(text: str) -> Scrape:
    """The meters of a Collector's metrics text. Raises ValueError when it is none."""
    meters: dict[Meter, float] = {}
    bad: list[str] = []
    up_s = start_s = None
    series = list(_series(text))
    carried = _signals_of_components(series)
    for one in series:
        if not math.isfinite(one.value) or one.value < 0:
            bad.append(f"series {one.name} says {one.value}")
        elif one.name == dictionary.UPTIME:
            up_s = one.value
        elif one.name == dictionary.START_TIME:
            start_s = one.value
        elif one.name in ENTRIES:
            meter = _meter(one, ENTRIES[one.name], carried)
            if meter is not None:
                meters[meter] = meters.get(meter, 0.0) + one.value
    if not any(one.name != dictionary.START_TIME for one in series):
        bad.append("no otelcol_ series: is this the Collector's own metrics page?")
    return Scrape(meters, up_s, start_s, tuple(bad))


def _series(text: str) -> Iterator[_Series]:
    # Only our lines go to the parser: at level detailed nine tenths of a page are buckets.
    lines = (line for line in text.splitlines() if _ours(line))
    for family in text_string_to_metric_families("\n".join(lines) + "\n"):
        for sample in family.samples:
            labels = {key.replace(".", "_"): value for key, value in sample.labels.items()}
            yield _Series(dictionary.canonical(sample.name), labels, sample.value)


def _ours(line: str) -> bool:
    start = line.lstrip('{"')
    return start.startswith(_STARTS) and "_bucket{" not in line


def _signals_of_components(series: Iterable[_Series]) -> Mapping[tuple[str, str], set[Signal]]:
    found: dict[tuple[str, str], set[Signal]] = {}
    for one in series:
        entry = ENTRIES.get(one.name)
        signal = _signal(one, entry) if entry else None
        if entry is not None and signal is not None:
            key = (entry.component, one.labels.get(entry.id_label, ""))
            found.setdefault(key, set()).add(signal)
    return found


def _signal(one: _Series, entry: Entry) -> Signal | None:
    if entry.signal is not None:
        return entry.signal
    said = (one.labels.get(label, "") for label in dictionary.SIGNAL_LABELS)
    return next((dictionary.SIGNAL_VALUES[s] for s in said if s in dictionary.SIGNAL_VALUES), None)


def _meter(
    one: _Series, entry: Entry, carried: Mapping[tuple[str, str], set[Signal]]
) -> Meter | None:
    if any(one.labels.get(key, "") not in values for key, values in entry.where):
        return None
    component_id = one.labels.get(entry.id_label, "") if entry.id_label else entry.fixed_id
    signal = _signal(one, entry)
    if signal is None:
        # Byte histograms carry no signal: it is known only if the component has just one.
        signals = carried.get((entry.component, component_id), set())
        signal = next(iter(signals)) if len(signals) == 1 else None
    if signal is None or not component_id:
        return None
    return Meter(entry.component, component_id, entry.direction, signal)
