"""The seam of a backend: questions, readings, and the declaration of what a store can do."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Protocol, Self

from core.clock import Instant
from core.kinds import FactSpec, Parts, Registry
from core.options import Options
from core.reason import Reason
from selfcheck.canary.model import Canary, Sighting, Signal


class Dedupe(StrEnum):
    """What a store does with two records of one id."""

    KEEPS = "keeps"
    COLLAPSES = "collapses"
    NOT_KNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class AccessPath:
    """One way to ask. `floor_s`: the delay that a healthy store imposes on this path.

    batched: one read can answer for all pending canaries of a route.
    signals: the signals this path exists for.
    """

    name: str
    floor_s: float
    batched: bool
    signals: frozenset[Signal]


@dataclass(frozen=True, slots=True)
class WriteRule:
    """How a store takes OTLP/HTTP when written to directly (`inject: {to: backend}`)."""

    url: str
    paths: Mapping[Signal, str]
    accepted_status: frozenset[int]
    empty_body: bool
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Declaration:
    """What an adapter says of its store: shown to users, held against it by the contract suite.

    precision_ns: the store's timestamps are multiples of this.
    absent: how "not found" looks, for the docs. source: pages and versions this was read from.
    """

    signals: frozenset[Signal]
    paths: tuple[AccessPath, ...]
    precision_ns: int
    dedupe: Dedupe
    dedupe_note: str
    row_limit: int
    absent: str
    source: str

    def paths_for(self, signal: Signal) -> tuple[AccessPath, ...]:
        """Access paths for `signal`, cheapest first."""
        return tuple(path for path in self.paths if signal in path.signals)


@dataclass(frozen=True, slots=True)
class Question:
    """Which canaries of one route to look for, and the interval of their stamps (Unix ns)."""

    signal: Signal
    route: str
    canaries: tuple[Canary, ...]
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class Reading:
    """An answer. Complete = success, parsed, paged to its end, nothing truncated or partial."""

    complete: bool
    sightings: tuple[Sighting, ...]
    reason: Reason
    detail: str
    retry_after_s: float | None
    asked: Instant
    elapsed_s: float
    body_bytes: int

    @classmethod
    def full(
        cls, sightings: tuple[Sighting, ...], asked: Instant, elapsed_s: float, body_bytes: int
    ) -> "Reading":
        """A complete read that began at `asked`."""
        return cls(True, sightings, Reason.OK, "", None, asked, elapsed_s, body_bytes)

    @classmethod
    def broken(
        cls,
        reason: Reason,
        detail: str,
        asked: Instant,
        elapsed_s: float,
        retry_after_s: float | None = None,
    ) -> "Reading":
        """A read error: it can only ever yield `unknown`."""
        return cls(False, (), reason, detail, retry_after_s, asked, elapsed_s, 0)


@dataclass(frozen=True, slots=True)
class Newest:
    """Newest record of a source: complete=False means that it could not be read.

    stamp_ns None with complete=True: there is no record in the window that was asked for.
    """

    complete: bool
    stamp_ns: int | None
    reason: Reason
    detail: str


class Backend(ABC):
    """A telemetry store that can be read."""

    options_model: ClassVar[type[Options]]
    reasons: ClassVar[frozenset[Reason]]
    facts: ClassVar[tuple[FactSpec, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()
    declaration: ClassVar[Declaration]

    @classmethod
    @abstractmethod
    def build(cls, options: Options, parts: Parts) -> Self:
        """An instance for `options`."""

    @classmethod
    @abstractmethod
    def write_rule(cls, options: Options) -> WriteRule | None:
        """How to write to this very store; None when it takes no OTLP/HTTP."""

    @abstractmethod
    async def read(self, question: Question, path: AccessPath, deadline_s: float) -> Reading:
        """Look for the canaries of `question`. Arrival is the id in the payload, never a status."""

    async def close(self) -> None:
        """Release what `build` took."""


class SourceReader(Protocol):
    """A backend that can say how new a source's newest record is."""

    async def newest(self, selector: str, window_s: float, deadline_s: float) -> Newest:
        """Newest record matching `selector` (the store's own query language) in the window."""
        ...


BACKENDS = Registry[Backend](
    "backend",
    {
        "embedded": "selfcheck.backends.embedded:EmbeddedBackend",
        "loki": "selfcheck.backends.loki:LokiBackend",
        "prometheus": "selfcheck.backends.prometheus:PrometheusBackend",
        "jaeger": "selfcheck.backends.jaeger:JaegerBackend",
    },
)
