"""The seam of a backend: questions, readings, and the declaration of what a store can do."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
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
    cached: the store may answer from a cache. counts_only: it tells how many records there are,
    not their stamps. Both kinds are asked to judge the path itself; they are never evidence for or
    against a canary.
    shows: fields of its records (`canary.fields`) that it tells whenever it shows one.
    """

    name: str
    floor_s: float
    batched: bool
    signals: frozenset[Signal]
    cached: bool = False
    counts_only: bool = False
    shows: frozenset[str] = frozenset()

    @property
    def evidence(self) -> bool:
        """Whether what this path shows, or does not show, decides over a canary."""
        return not (self.cached or self.counts_only)


@dataclass(frozen=True, slots=True)
class WriteRule:
    """How a store takes what one kind of injector sends (`inject: {kind: …, to: backend}`)."""

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
    proved: the servers that the contract suite runs this adapter against, with their versions;
    fake: it speaks to none, only to a fake of the documented API.
    impossible: what this store makes impossible to observe, by name, each with its reason.
    hot_window_s: age from which reads come from long-term storage; None = there is no other side.
    """

    signals: frozenset[Signal]
    paths: tuple[AccessPath, ...]
    precision_ns: int
    dedupe: Dedupe
    dedupe_note: str
    row_limit: int
    absent: str
    source: str
    proved: tuple[str, ...]
    fake: bool = False
    impossible: Mapping[str, str] = field(default_factory=dict)
    hot_window_s: float | None = None

    def paths_for(self, signal: Signal) -> tuple[AccessPath, ...]:
        """Access paths for `signal` whose answers are evidence, cheapest first."""
        return tuple(p for p in self.paths if signal in p.signals and p.evidence)

    def judged_only(self, signal: Signal) -> tuple[AccessPath, ...]:
        """Access paths for `signal` that are watched for their own sake."""
        return tuple(p for p in self.paths if signal in p.signals and not p.evidence)


@dataclass(frozen=True, slots=True)
class Question:
    """Which canaries of one route to look for, and the interval of their stamps (Unix ns).

    stamped: whether the stored records carry the stamps of their canaries. Where somebody else
    stamps them (a scraper, an SDK), a sample is known by its value, and the interval ends now.
    """

    signal: Signal
    route: str
    canaries: tuple[Canary, ...]
    start_ns: int
    end_ns: int
    stamped: bool = True


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


@dataclass(frozen=True, slots=True)
class Linked:
    """What one end of a link leads to; complete=False means that it could not be read.

    found: trace ids as 32 hex digits, or canary ids, as the question was.
    """

    complete: bool
    found: tuple[str, ...]
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
    def write_rules(cls, options: Options) -> Mapping[str, WriteRule]:
        """How to write to this very store, by kind of injector; those left out it does not take."""

    @abstractmethod
    async def read(self, question: Question, path: AccessPath, deadline_s: float) -> Reading:
        """Look for the canaries of `question`. Arrival is the id in the payload, never a status."""

    @property
    def skew_s(self) -> float | None:
        """Seconds that the store's clock is at least ahead of ours; negative: behind.

        None: not known. For people only: it decides over no canary.
        """
        return None

    async def close(self) -> None:
        """Release what `build` took."""


class SourceReader(Protocol):
    """A backend that can say how new a source's newest record is."""

    async def newest(self, selector: str, window_s: float, deadline_s: float) -> Newest:
        """Newest record matching `selector` (the store's own query language) in the window."""
        ...


class LinkReader(Protocol):
    """A backend of logs or metrics that shows which trace a record of it belongs to."""

    async def trace_ids(self, canary: Canary, deadline_s: float) -> Linked:
        """Trace ids that the stored record of `canary` leads to, as a user would follow it."""
        ...


class TraceReader(Protocol):
    """A backend of traces that can be opened at a trace id."""

    async def canaries_in(self, trace_id: str, deadline_s: float) -> Linked:
        """Canary ids of the spans in one trace; none for a trace that is not there."""
        ...


BACKENDS = Registry[Backend](
    "backend",
    {
        "embedded": "selfcheck.backends.embedded:EmbeddedBackend",
        "loki": "selfcheck.backends.loki:LokiBackend",
        "prometheus": "selfcheck.backends.prometheus:PrometheusBackend",
        "cortex": "selfcheck.backends.cortex:CortexBackend",
        "mimir": "selfcheck.backends.cortex:MimirBackend",
        "victoriametrics": "selfcheck.backends.victoriametrics:VictoriaMetricsBackend",
        "thanos": "selfcheck.backends.thanos:ThanosBackend",
        "jaeger": "selfcheck.backends.jaeger:JaegerBackend",
        "zipkin": "selfcheck.backends.zipkin:ZipkinBackend",
        "clickhouse": "selfcheck.backends.clickhouse:ClickhouseBackend",
        "s3": "selfcheck.backends.s3:S3Backend",
        "cloudwatch_logs": "selfcheck.backends.cloudwatch_logs:CloudwatchLogsBackend",
        "xray": "selfcheck.backends.xray:XrayBackend",
        "tempo": "selfcheck.backends.tempo:TempoBackend",
    },
)
