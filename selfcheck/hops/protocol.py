"""The seam of a hop reader, and the values of the hop balance."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Self

from core.clock import Instant
from core.kinds import FactSpec, Parts, Registry
from core.options import Options
from core.reason import Reason
from selfcheck.canary.model import Signal


class Direction(StrEnum):
    """What a counter of a hop counts."""

    IN = "in"
    REFUSED = "refused"
    OUT = "out"
    DROPPED = "dropped"
    INTENDED = "intended"
    STORED = "stored"
    CAPACITY = "capacity"
    BYTES_IN = "bytes_in"


@dataclass(frozen=True, slots=True)
class Meter:
    """One counter; component is `receiver`, `processor`, `exporter`, `queue` or `store`.

    component_id: the component's own name; of a store's drops their reason.
    """

    component: str
    component_id: str
    direction: Direction
    signal: Signal


@dataclass(frozen=True, slots=True)
class HopCounters:
    """Counters of one hop instance at one moment. A series that is missing is absent, never 0.

    reachable: False = the metrics endpoint refused the connection or never answered.
    unread: inputs that should be there and could not be read; not empty → the hop is `blind`.
    """

    hop: str
    at: Instant
    reachable: bool
    reason: Reason
    detail: str
    started_s: float | None
    meters: Mapping[Meter, float]
    unread: tuple[str, ...]


class HopReader(ABC):
    """Reads one hop's own counters."""

    options_model: ClassVar[type[Options]]
    reasons: ClassVar[frozenset[Reason]] = frozenset()
    facts: ClassVar[tuple[FactSpec, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()
    # Whether it reads a store: such a hop bears the name of its backend.
    at_store: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def build(cls, options: Options, parts: Parts, hop: str) -> Self:
        """A reader of the hop named `hop`."""

    @abstractmethod
    async def read(self, deadline_s: float) -> HopCounters:
        """The counters now; trouble is a value with `unread` filled."""

    async def close(self) -> None:
        """Release what `build` took."""


HOP_READERS = Registry[HopReader](
    "hop",
    {
        "otelcol": "selfcheck.hops.otelcol:OtelcolReader",
        "loki": "selfcheck.hops.stores:LokiReader",
        "prometheus": "selfcheck.hops.stores:PrometheusReader",
        "cortex": "selfcheck.hops.stores:CortexReader",
        "victoriametrics": "selfcheck.hops.stores:VictoriametricsReader",
    },
)
