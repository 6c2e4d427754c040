"""victoriametrics: metrics, by the export of raw samples and by its dialect of PromQL.

Read from docs.victoriametrics.com ("Single-node version", "Cluster version", "MetricsQL"), 2026-11,
and from the source of 1.150.0. What is new is shown once it is flushed, some seconds later. Range
queries repeat the newest values up to the end of the range and hold back those of the last 30 s:
they prove no sample, so that they are judged only as the path that dashboards take.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, ClassVar, cast

from pydantic import Field

from core.clock import Instant, instant
from core.options import Options
from core.reason import Reason
from selfcheck.backends.http import (
    Json,
    Query,
    ReadError,
    ReadSession,
    integer,
    items,
    member,
    parse_lines,
    strings,
)
from selfcheck.backends.http_store import HttpStoreOptions
from selfcheck.backends.promql import METRICS, PromqlStore
from selfcheck.backends.promql_answer import (
    MS,
    SHOWS,
    SLACK_S,
    SPAN_S,
    Sample,
    Window,
    paired,
    value_of,
)
from selfcheck.backends.protocol import AccessPath, Declaration, Dedupe, WriteRule
from selfcheck.canary.model import Signal

BY_ID = AccessPath("by_id", 10.0, batched=True, signals=METRICS)
SEARCH = AccessPath("search", 10.0, batched=True, signals=METRICS)
AGGREGATE = AccessPath("aggregate", 10.0, batched=False, signals=METRICS, counts_only=True)
# `-search.latencyOffset` is 30 s by default.
CACHED = AccessPath("search_cached", 40.0, batched=True, signals=METRICS, cached=True)
_FLAGS_KNOWN_S = 600.0
_DEDUP_FLAG = "-dedup.minScrapeInterval"


class VictoriaMetricsOptions(HttpStoreOptions):
    """What may be written under a backend of kind `victoriametrics`."""

    write_url: Annotated[
        str,
        Field(
            pattern=r"^(https?://.+)?$",
            description="Base URL to write to, in a cluster `http://vminsert:8480/insert/0`; "
            "empty: `url`.",
        ),
    ] = ""


@dataclass(slots=True)
class Flags:
    """What the server was started with, as far as it says so; asked again every 10 min."""

    dedupe: Dedupe = Dedupe.NOT_KNOWN
    asked: Instant | None = None


@dataclass(frozen=True, slots=True)
class VictoriaMetricsBackend(PromqlStore):
    """Reads canaries and the newest samples of sources from VictoriaMetrics."""

    options_model: ClassVar[type[Options]] = VictoriaMetricsOptions
    declaration: ClassVar[Declaration] = Declaration(
        signals=METRICS,
        paths=(BY_ID, SEARCH, AGGREGATE, CACHED),
        precision_ns=MS,
        dedupe=Dedupe.KEEPS,
        dedupe_note=f"every sample is kept, unless {_DEDUP_FLAG} is set: then one proves nothing",
        row_limit=SPAN_S,
        absent="export: 200 without a body; queries: 200 with an empty result",
        source="docs.victoriametrics.com, 2026-11; VictoriaMetrics 1.150.0",
        proved=("VictoriaMetrics 1.150.0",),
        impossible={
            "exemplar links": "exemplars are not stored",
            "wrong tenant": "the tenant is part of the URL",
            "too old": "200 or 204, and dropped without a word: it ends as lost",
        },
    )

    options: VictoriaMetricsOptions
    flags: Flags = field(default_factory=Flags)

    @classmethod
    def write_rules(cls, options: Options) -> Mapping[str, WriteRule]:
        """OTLP in protobuf only, 200; remote write 204; neither with a body."""
        chosen = cast("VictoriaMetricsOptions", options)
        url, tenant = chosen.write_url or chosen.url, chosen.tenant_headers()
        ok, none = frozenset({int(HTTPStatus.OK)}), frozenset({int(HTTPStatus.NO_CONTENT)})
        otlp = {Signal.METRICS: "/opentelemetry/v1/metrics"}
        remote = {Signal.METRICS: "/prometheus/api/v1/write"}
        return {
            "otlp_http": WriteRule(url, otlp, ok, True, tenant),
            "remote_write": WriteRule(url, remote, none, True, tenant),
        }

    def parameters(self, *, cached: bool) -> Query:
        """Uncached reads see all there is: no rounding of times, no offset, no missing node."""
        whole = {"deny_partial_response": "1"}
        return whole if cached else {**whole, "nocache": "1", "latency_offset": "1ms"}

    async def samples(
        self, session: ReadSession, path: AccessPath, window: Window
    ) -> Sequence[Sample]:
        """By id exported; by search as a range vector; from the cache as dashboards see it."""
        if path.name == BY_ID.name:
            return await self._exported(session, window)
        if path.cached:
            return await self._charted(session, window)
        return await self.raw(session, window)

    async def kept(self, session: ReadSession, path: AccessPath) -> Dedupe:
        """Whether it keeps doubled samples: only where it says how it was started."""
        if path.cached:
            return Dedupe.NOT_KNOWN
        now = instant(self.clock)
        asked = self.flags.asked
        if asked is None or now.boot_s - asked.boot_s > _FLAGS_KNOWN_S:
            self.flags.dedupe, self.flags.asked = await _dedupe(session), now
        return self.flags.dedupe

    def newest_query(self, selector: str, window_s: float) -> str:
        """The time of the newest raw sample."""
        return f"max(tlast_over_time({selector}[{max(1, int(window_s * 1000) + 1000)}ms]))"

    async def _exported(self, session: ReadSession, window: Window) -> Sequence[Sample]:
        """Raw samples as JSON lines, one a series; no line for no sample."""
        query = {
            "match[]": window.selector,
            "start": str(window.start_s - SLACK_S),
            "end": str(window.end_s + SLACK_S),
            **self.parameters(cached=False),
        }
        answer = await session.ask("GET", f"{self.api}/export", query)
        return [sample for line in parse_lines(answer.body) for sample in _series(line)]

    async def _charted(self, session: ReadSession, window: Window) -> Sequence[Sample]:
        """The last sample of each second with its time: values repeated by the server show up.

        No slack: from a range that ends in the future the server holds nothing back.
        """
        last, time = (f"{name}({window.selector}[1s])" for name in _LAST_AND_TIME)
        query = f'union({last}, label_set({time}, "{SHOWS}", "time"))'
        return paired(await self.steps(session, query, window, cached=True, slack_s=0))


_LAST_AND_TIME = ("last_over_time", "tlast_over_time")


def _series(line: Json) -> list[Sample]:
    labels = tuple(sorted(strings(member(line, "metric")).items()))
    values, times = items(member(line, "values")), items(member(line, "timestamps"))
    if len(values) != len(times):
        raise ReadError(Reason.BACKEND_PROTOCOL, "values and timestamps of different numbers")
    return [
        Sample(integer(time) * MS, shown, labels)
        for value, time in zip(values, times, strict=True)
        if (shown := value_of(value)) is not None
    ]


async def _dedupe(session: ReadSession) -> Dedupe:
    """`/flags` names the flags that are set; a cluster, or a proxy, need not show it."""
    try:
        answer = await session.ask("GET", "/flags")
    except ReadError:
        return Dedupe.NOT_KNOWN
    lines = answer.body.decode(errors="replace").splitlines()
    if not any(line.startswith("-") for line in lines):
        return Dedupe.NOT_KNOWN
    said = [line for line in lines if line.startswith(_DEDUP_FLAG)]
    return Dedupe.COLLAPSES if said else Dedupe.KEEPS
