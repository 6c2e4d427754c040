"""prometheus: metrics, found by the sample's own timestamp in a constant series per route.

Read from the HTTP API of Prometheus 3 (prometheus.io/docs, "HTTP API") and tried against 3.14.
A plain instant query answers with the time of evaluation and the last value of up to 5 min ago:
neither proves a sample, so both access paths ask for samples at their own times.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import ClassVar, cast

from core.options import Options
from core.reason import Reason
from selfcheck.backends.http import (
    Json,
    ReadError,
    ReadSession,
    items,
    member,
    number,
    strings,
    text,
)
from selfcheck.backends.http_store import HttpStore, HttpStoreOptions
from selfcheck.backends.protocol import (
    AccessPath,
    Declaration,
    Dedupe,
    Question,
    WriteRule,
)
from selfcheck.backends.sightings import Record, restored, sent_names
from selfcheck.canary.model import Signal
from selfcheck.otlp import METRIC_NAME

_METRICS = frozenset({Signal.METRICS})
BY_ID = AccessPath("by_id", 1.0, batched=True, signals=_METRICS)
SEARCH = AccessPath("search", 1.0, batched=True, signals=_METRICS)
# Prometheus refuses range queries of more than 11,000 points a series.
POINTS_PER_QUERY = 10_000
_MS = 1_000_000
# An instant selector sees 5 min back: subquery steps below that miss no sample.
_LOOKBACK_S = 240


class PrometheusOptions(HttpStoreOptions):
    """What may be written under a backend of kind `prometheus`."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample of one series, at its own time."""

    stamp_ns: int
    value: float
    labels: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class PrometheusBackend(HttpStore):
    """Reads canaries and the newest samples of sources from Prometheus."""

    options_model: ClassVar[type[Options]] = PrometheusOptions
    declaration: ClassVar[Declaration] = Declaration(
        signals=_METRICS,
        paths=(BY_ID, SEARCH),
        precision_ns=_MS,
        dedupe=Dedupe.COLLAPSES,
        dedupe_note="same series, time and value become one sample; another value is refused",
        row_limit=POINTS_PER_QUERY,
        absent='200 with "result": []',
        source="prometheus.io/docs HTTP API, 2026-11",
        proved=("Prometheus 3.14",),
    )

    options: PrometheusOptions
    stored_names: dict[tuple[str, str], str] = field(default_factory=dict)

    @classmethod
    def write_rules(cls, options: Options) -> Mapping[str, WriteRule]:
        """Needs --web.enable-otlp-receiver; answers 200, no body, no content type."""
        chosen = cast("PrometheusOptions", options)
        paths = {Signal.METRICS: "/api/v1/otlp/v1/metrics"}
        taken = frozenset({int(HTTPStatus.OK)})
        return {"otlp_http": WriteRule(chosen.url, paths, taken, empty_body=True)}

    async def records(
        self, session: ReadSession, question: Question, path: AccessPath
    ) -> Sequence[Record]:
        """Samples of the route's series at the times of the canaries in question."""
        ids = {c.stamp_ns // _MS * _MS: c.canary_id for c in question.canaries}
        samples = await self._samples(session, question, path)
        names = sent_names(question.canaries)
        return [
            Record(ids[s.stamp_ns], s.stamp_ns, None, s.value, restored(dict(s.labels), names))
            for s in samples
            if s.stamp_ns in ids
        ]

    async def newest_ns(self, session: ReadSession, selector: str, window_s: float) -> int | None:
        """Of the newest sample of the series `selector`."""
        step_s = min(max(1, int(window_s) // 1000), _LOOKBACK_S)
        older = f"max_over_time(timestamp({selector})[{max(1, int(window_s * 1000))}ms:{step_s}s])"
        expression = f"max(timestamp({selector}) or {older})"
        now_s = self.clock.utc().timestamp()
        answer = await session.get(
            "/api/v1/query", {"query": expression, "time": f"{now_s + 1:.3f}"}
        )
        values = [number(items(member(s, "value"))[1]) for s in _result(answer, "vector")]
        # Selectors look back 5 min from each step: what is older than the window is left out.
        inside = [value for value in values if value > now_s - window_s]
        return max((round(value * 1000) * _MS for value in inside), default=None)

    async def _samples(
        self, session: ReadSession, question: Question, path: AccessPath
    ) -> Sequence[Sample]:
        name = await self._stored_name(session, question)
        if name is None:
            return ()
        selector = _selector(question, name)
        if path.name == BY_ID.name:
            return await _range_vector(session, selector, question)
        return await _step_by_step(session, selector, question)

    async def _stored_name(self, session: ReadSession, question: Question) -> str | None:
        """The metric's name in this store, found once per series; None while it has none.

        OTLP receivers may add suffixes or translate characters, by version and by option.
        """
        key = (question.route, question.canaries[0].service_instance)
        if key not in self.stored_names:
            answer = await session.get(
                "/api/v1/label/__name__/values", {"match[]": _selector(question, None)}
            )
            names = [text(name) for name in items(_data(answer))]
            found = sorted(name for name in names if METRIC_NAME in name.replace(".", "_"))
            if not found:
                return None
            self.stored_names[key] = found[0]
        return self.stored_names[key]


async def _range_vector(
    session: ReadSession, selector: str, question: Question
) -> Sequence[Sample]:
    """Raw samples by a range vector: its window excludes its left end (Prometheus 3)."""
    end_s = math.ceil(question.end_ns / 1e9) + 1
    width_s = end_s - question.start_ns // 10**9 + 1
    answer = await session.get(
        "/api/v1/query", {"query": f"{selector}[{width_s}s]", "time": str(end_s)}
    )
    return _samples(_result(answer, "matrix"))


async def _step_by_step(
    session: ReadSession, selector: str, question: Question
) -> Sequence[Sample]:
    """Samples by a range query over windows of 1 ms at each whole second: canary stamps are whole.

    A window holds a sample only when the sample's time is the step's own.
    """
    found: list[Sample] = []
    start_s, last_s = question.start_ns // 10**9, math.ceil(question.end_ns / 1e9)
    while start_s <= last_s:
        end_s = min(start_s + POINTS_PER_QUERY - 1, last_s)
        query = {"start": str(start_s), "end": str(end_s), "step": "1"}
        answer = await session.get(
            "/api/v1/query_range", {"query": f"max_over_time({selector}[1ms])", **query}
        )
        found += _samples(_result(answer, "matrix"))
        start_s = end_s + 1
    return found


def _selector(question: Question, name: str | None) -> str:
    sent = question.canaries[0].attributes
    labels = {"coalmine_instance": sent["coalmine.instance"], "coalmine_route": question.route}
    matchers = [f"{label}={json.dumps(value)}" for label, value in labels.items()]
    if name is not None:
        matchers.insert(0, f"__name__={json.dumps(name)}")
    return "{" + ",".join(matchers) + "}"


def _data(answer: Json) -> Json:
    """`data` of a complete answer: one with warnings may be partial. Raises ReadError."""
    if member(answer, "status") != "success":
        raise ReadError(Reason.READBACK, "the answer says that it is no success")
    if items(cast("Mapping[str, Json]", answer).get("warnings") or []):
        raise ReadError(Reason.READBACK, "answered with warnings: may be partial")
    return member(answer, "data")


def _result(answer: Json, kind: str) -> Sequence[Json]:
    data = _data(answer)
    if member(data, "resultType") != kind:
        raise ReadError(Reason.BACKEND_PROTOCOL, f"the result is no {kind}")
    return items(member(data, "result"))


def _samples(series: Sequence[Json]) -> list[Sample]:
    found = []
    for one in series:
        labels = tuple(sorted(strings(member(one, "metric")).items()))
        for value in items(member(one, "values")):
            pair = items(value)
            if len(pair) != 2:
                raise ReadError(Reason.BACKEND_PROTOCOL, "a sample that is no pair")
            stamp_ns = round(number(pair[0]) * 1000) * _MS
            found.append(Sample(stamp_ns, number(pair[1]), labels))
    return found
