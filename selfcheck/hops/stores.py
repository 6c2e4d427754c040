"""loki, prometheus, cortex, victoriametrics: what a store counts of what it took and discarded.

A store that answers yes and discards leaves no other trace than these counters. Such a hop bears
the name of its backend, the last hop of each route that is read there. One process is read: of a
store in several processes, the one that counts discards (a distributor, an insert node).
Names: the stores' own pages and sources of the versions recorded in the tests. A name or a tenant
that is not here is not guessed at.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Self

from prometheus_client.parser import text_string_to_metric_families
from pydantic import Field

from core.clock import Clock
from core.errors import CoalmineError
from core.kinds import Parts
from core.options import Options
from core.outbound.protocol import Outbound
from core.text import safe_text
from selfcheck.canary.model import Signal
from selfcheck.hops.page import PageReader, Scrape
from selfcheck.hops.protocol import Direction, Meter

_START_TIME = "process_start_time_seconds"
_RECEIVED = "received"
_REASON_CHARACTERS = 64


@dataclass(frozen=True, slots=True)
class StoreNames:
    """What one kind of store calls its counters.

    page: what some metric name begins with on every page of it.
    received: items offered, before limits where the store counts them there.
    discarded: reason by counter; "" = its label `reason` says it.
    intended: reasons, or counters without that label, by which a rule that an operator wrote names
        what shall not come in. All others are limits: they guard the store and are loss.
    tenant_label: "" = the counters do not tell tenants apart.
    """

    page: str
    signal: Signal
    received: str
    discarded: Mapping[str, str]
    intended: frozenset[str] = field(default_factory=frozenset)
    tenant_label: str = ""

    @property
    def lines(self) -> tuple[str, ...]:
        """Beginnings of the lines that are read."""
        return (_START_TIME, self.received, *self.discarded)


LOKI = StoreNames(
    page="loki_",
    signal=Signal.LOGS,
    received="loki_distributor_lines_received_total",
    discarded={"loki_discarded_samples_total": ""},
    intended=frozenset({"blocked_ingestion", "blocked_ingestion_policy"}),
    tenant_label="tenant",
)
# Refusals of a whole request (too far in the future, by OTLP) are in none of these.
PROMETHEUS = StoreNames(
    page="prometheus_tsdb_head_",
    signal=Signal.METRICS,
    received="prometheus_tsdb_head_samples_appended_total",
    discarded={
        "prometheus_tsdb_out_of_order_samples_total": "out_of_order",
        "prometheus_tsdb_out_of_bound_samples_total": "out_of_bound",
        "prometheus_tsdb_too_old_samples_total": "too_old",
        "prometheus_api_remote_write_invalid_labels_samples_total": "invalid_labels",
    },
)
# cortex_distributor_deduped_samples_total is left out: half of all samples of a healthy pair of
# replicas, and never a canary, which carries no replica label.
CORTEX = StoreNames(
    page="cortex_",
    signal=Signal.METRICS,
    received="cortex_distributor_samples_in_total",
    discarded={"cortex_discarded_samples_total": ""},
    intended=frozenset({"relabel_configuration", "user_label_removal_configuration"}),
    tenant_label="user",
)
VICTORIAMETRICS = StoreNames(
    page="vm_",
    signal=Signal.METRICS,
    received="vm_rows_inserted_total",
    discarded={"vm_rows_ignored_total": "", "vm_relabel_metrics_dropped_total": "relabel"},
    intended=frozenset({"relabel"}),
)


class StoreOptions(Options):
    """What may be written under the kind of a store whose counters do not tell tenants apart."""

    metrics: Annotated[str, Field(description="URL of the store's own metrics.")]


class TenantOptions(StoreOptions):
    """What may be written under the kind of a store that counts by tenant."""

    tenant: Annotated[
        str,
        Field(
            description="Tenant whose counters are read; empty = all of them together, and then no"
            " drop is taken as meant, as it may be another tenant's."
        ),
    ] = ""


class StoreReader(PageReader):
    """Reads the counters of one store by the table of its kind."""

    names: ClassVar[StoreNames]
    at_store: ClassVar[bool] = True

    def __init__(self, hop: str, options: StoreOptions, outbound: Outbound, clock: Clock) -> None:
        """`hop` is the backend's name."""
        super().__init__(hop, options.metrics, outbound, clock)
        self._tenant = options.tenant if isinstance(options, TenantOptions) else ""

    @classmethod
    def build(cls, options: Options, parts: Parts, hop: str) -> Self:
        """A reader over the loop's own HTTP client."""
        if not isinstance(options, StoreOptions):
            raise CoalmineError(f"hop {hop}: expected StoreOptions")
        return cls(hop, options, parts.outbound, parts.clock)

    def parse(self, text: str) -> Scrape:
        """What came in and what was discarded by reason. Raises ValueError for no such text."""
        return parse(text, self.names, self._tenant)


class LokiReader(StoreReader):
    """Loki's distributor and ingester."""

    names, options_model = LOKI, TenantOptions


class PrometheusReader(StoreReader):
    """A Prometheus server."""

    names, options_model = PROMETHEUS, StoreOptions


class CortexReader(StoreReader):
    """Cortex or Mimir."""

    names, options_model = CORTEX, TenantOptions


class VictoriametricsReader(StoreReader):
    """VictoriaMetrics."""

    names, options_model = VICTORIAMETRICS, StoreOptions


@dataclass(frozen=True, slots=True)
class _Series:
    name: str
    labels: Mapping[str, str]
    value: float


def parse(text: str, names: StoreNames, tenant: str = "") -> Scrape:
    """The meters of a store's metrics text, of one tenant or "" of all.

    Raises ValueError when it is no Prometheus text.
    """
    meters: dict[Meter, float] = {}
    bad: list[str] = []
    start_s = None
    for one in _series(text, names):
        if not math.isfinite(one.value) or one.value < 0:
            bad.append(f"series {one.name} says {one.value}")
        elif one.name == _START_TIME:
            start_s = one.value
        elif not tenant or one.labels.get(names.tenant_label) == tenant:
            meter = _meter(one, names, tenant)
            meters[meter] = meters.get(meter, 0.0) + one.value
    if not any(line.startswith(names.page) for line in text.splitlines()):
        bad.append(f"no {names.page} series: is this the store's own metrics page?")
    return Scrape(meters, None, start_s, tuple(bad))


def _series(text: str, names: StoreNames) -> Iterator[_Series]:
    # A page has thousands of lines; a dozen are read.
    known = {_START_TIME, names.received, *names.discarded}
    lines = (line for line in text.splitlines() if line.startswith(names.lines))
    for family in text_string_to_metric_families("\n".join(lines) + "\n"):
        for sample in family.samples:
            if sample.name in known:
                yield _Series(sample.name, sample.labels, sample.value)


def _meter(one: _Series, names: StoreNames, tenant: str) -> Meter:
    if one.name == names.received:
        return Meter("store", _RECEIVED, Direction.IN, names.signal)
    said = names.discarded[one.name] or one.labels.get("reason", "")
    # Cortex and Mimir write the same reason with dashes or with underscores.
    reason = safe_text(said, _REASON_CHARACTERS).replace("-", "_") or "no reason"
    ours = bool(tenant) or not names.tenant_label
    direction = Direction.INTENDED if reason in names.intended and ours else Direction.DROPPED
    return Meter("store", reason, direction, names.signal)
