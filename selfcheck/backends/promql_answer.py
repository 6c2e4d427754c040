"""Answers of PromQL stores, and what of them is a canary. Pure.

Source: prometheus.io/docs, "HTTP API", 2026-11: samples are pairs of Unix seconds and a number in
quotes, at most in milliseconds; `warnings` may mean that a part of the store did not answer.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from core.reason import Reason
from selfcheck.backends.http import Json, ReadError, items, member, number, strings
from selfcheck.backends.protocol import Question
from selfcheck.backends.sightings import Record, restored, sent_names
from selfcheck.canary.model import Canary
from selfcheck.otlp import METRIC_NAME

MS = 1_000_000
# Prometheus refuses range queries of more than 11,000 points a series.
SPAN_S = 10_000
# Frontends may cut times to whole minutes: more is asked for on both sides than is looked for.
SLACK_S = 60
INSTANCE, ROUTE = "coalmine.instance", "coalmine.route"
# The label that tells the times of samples from their values, where one query asks for both.
SHOWS = "coalmine_shows"
_TRACE_LABELS = ("trace_id", "traceID", "traceId")
_ID_LABELS = ("canary.id", "canary_id")
_INFINITE: Mapping[str, float] = {
    f"{sign}{word}": float(f"{sign}inf") for sign in ("", "+", "-") for word in ("Inf", "Infinity")
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample of one series, at its own time."""

    stamp_ns: int
    value: float
    labels: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Spelling:
    """How a store spells the series of a route: its name, and whether labels keep their dots."""

    name: str
    dotted: bool

    def selector(self, question: Question) -> str:
        """PromQL that selects the series of the route in question."""
        labels = {"__name__": self.name, **_route_labels(question, dotted=self.dotted)}
        return "{" + ",".join(f"{_label(name)}={_text(v)}" for name, v in labels.items()) + "}"


@dataclass(frozen=True, slots=True)
class Window:
    """A part of what is asked for: whole seconds, both ends included, of one selector.

    stamped: the samples looked for lie on whole seconds.
    """

    selector: str
    start_s: int
    end_s: int
    stamped: bool


def probes(question: Question) -> tuple[str, str]:
    """Selectors that match the series of the route however it is spelt, and others of its name.

    The usual spelling is asked for by the labels alone. Labels with dots cannot be written in the
    PromQL of Prometheus 2, so that the second one selects by name what lacks the usual labels.
    """
    usual = _route_labels(question, dotted=False)
    name = METRIC_NAME.replace("_", "[_.]")
    matchers = ",".join(f"{label}={_text(value)}" for label, value in usual.items())
    missing = ROUTE.replace(".", "_")
    return "{" + matchers + "}", f'{{__name__=~".*{name}.*",{missing}=""}}'


def spellings(series: Iterable[Json], question: Question) -> tuple[Spelling, ...]:
    """Spellings under which `series` hold the canaries of the route, in order of their names.

    A name with a colon is that of a recording rule: its samples are copies of older ones.
    """
    found = set()
    for labels in map(strings, series):
        name = labels.get("__name__", "")
        if METRIC_NAME not in name.replace(".", "_") or ":" in name:
            continue
        for dotted in (False, True):
            if _route_labels(question, dotted=dotted).items() <= labels.items():
                found.add(Spelling(name, dotted))
    return tuple(sorted(found, key=lambda one: (one.name, one.dotted)))


def windows(question: Question, selector: str) -> Iterator[Window]:
    """The parts to ask for, oldest first, each of at most `SPAN_S` seconds.

    Stamped samples are where their canaries say; the others lie anywhere in the interval.
    """
    if question.stamped:
        spans = _spans(sorted({canary.stamp_ns // 10**9 for canary in question.canaries}))
    else:
        first, last = question.start_ns // 10**9, math.ceil(question.end_ns / 1e9)
        starts = range(first, last + 1, SPAN_S)
        spans = ((start, min(start + SPAN_S - 1, last)) for start in starts)
    return (Window(selector, start, end, question.stamped) for start, end in spans)


def records_of(samples: Iterable[Sample], question: Question) -> list[Record]:
    """The samples that are canaries in question, each known by its own stamp.

    Those that somebody else stamps are known by their values: of a value that was scraped again
    and again the first sample is the record.
    """
    names = sent_names(question.canaries)
    known = _by_stamp if question.stamped else _by_value
    return [
        Record(canary_id, one.stamp_ns, None, one.value, restored(dict(one.labels), names))
        for canary_id, one in known(samples, question)
    ]


def data_of(answer: Json) -> Json:
    """`data` of a complete answer: one with warnings may be partial. Raises ReadError."""
    if member(answer, "status") != "success":
        raise ReadError(Reason.READBACK, "the answer says that it is no success")
    told = cast("Mapping[str, Json]", answer)
    if items(told.get("warnings") or []):
        raise ReadError(Reason.READBACK, "answered with warnings: may be partial")
    if told.get("isPartial"):
        raise ReadError(Reason.READBACK, "the answer says that it is partial")
    return member(answer, "data")


def result_of(data: Json, kind: str) -> Sequence[Json]:
    """Elements of a result of type `kind`. Raises ReadError for another one."""
    if member(data, "resultType") != kind:
        raise ReadError(Reason.BACKEND_PROTOCOL, f"the result is no {kind}")
    return items(member(data, "result"))


def samples_of(series: Iterable[Json]) -> list[Sample]:
    """Samples of a matrix, series by series. Raises ReadError."""
    found = []
    for one in series:
        labels = tuple(sorted(strings(member(one, "metric")).items()))
        for value in items(member(one, "values")):
            pair = items(value)
            if len(pair) != 2:
                raise ReadError(Reason.BACKEND_PROTOCOL, "a sample that is no pair")
            if (shown := value_of(pair[1])) is not None:
                found.append(Sample(round(number(pair[0]) * 1000) * MS, shown, labels))
    return found


def value_of(written: Json) -> float | None:
    """A sample's value, infinite ones among them; None for what is no number. Raises ReadError.

    The end of a scraped series is marked by a value that is no number, and some stores show it.
    """
    if written is None or written == "NaN":
        return None
    infinite = _INFINITE.get(written) if isinstance(written, str) else None
    return number(written) if infinite is None else infinite


def paired(samples: Sequence[Sample]) -> list[Sample]:
    """Values at their own times, from steps that show both: each sample once.

    Of each series there is a twin with `SHOWS`, whose values are times in seconds. A value whose
    time is not shown is left out.
    """
    times: dict[tuple[int, frozenset[tuple[str, str]]], float] = {}
    values = []
    for one in samples:
        labels = dict(one.labels)
        if labels.pop(SHOWS, None) is None:
            values.append(one)
        else:
            times[one.stamp_ns, _nameless(labels)] = one.value
    known = ((one, times.get((one.stamp_ns, _nameless(dict(one.labels))))) for one in values)
    found = (
        Sample(round(time_s * 1000) * MS, one.value, one.labels)
        for one, time_s in known
        if time_s is not None and math.isfinite(time_s)
    )
    return list(dict.fromkeys(found))


def exemplar_traces(series: Iterable[Json], canary: Canary) -> list[str]:
    """Trace ids of the exemplars that belong to the sample of `canary`, as 32 hex digits.

    An exemplar belongs to it that bears its id; one without any id, by its time and value.
    """
    found = []
    for one in series:
        for exemplar in items(member(one, "exemplars")):
            labels = strings(member(exemplar, "labels"))
            ids = [labels[name] for name in _ID_LABELS if name in labels]
            time_ns = round(number(member(exemplar, "timestamp")) * 1000) * MS
            value = number(member(exemplar, "value"))
            same = (time_ns, value) == (canary.stamp_ns // MS * MS, canary.value)
            if (ids and canary.canary_id in ids) or (not ids and same):
                found += [labels[name] for name in _TRACE_LABELS if name in labels]
    return found


def _spans(stamps_s: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last of the ascending `stamps_s`, split where a span would grow too long."""
    start = last = stamps_s[0]
    for stamp in stamps_s:
        if stamp - start >= SPAN_S:
            yield start, last
            start = stamp
        last = stamp
    yield start, last


def _by_stamp(samples: Iterable[Sample], question: Question) -> Iterator[tuple[str, Sample]]:
    ids = {c.stamp_ns // MS * MS: c.canary_id for c in question.canaries}
    return ((ids[one.stamp_ns], one) for one in samples if one.stamp_ns in ids)


def _by_value(samples: Iterable[Sample], question: Question) -> Iterator[tuple[str, Sample]]:
    wanted = {canary.value: canary for canary in question.canaries}
    seen = set()
    for one in sorted(samples, key=lambda sample: sample.stamp_ns):
        canary = wanted.get(one.value)
        # Older than the canary it cannot be: epochs do not repeat.
        if canary and one.stamp_ns >= canary.stamp_ns and (one.value, one.labels) not in seen:
            seen.add((one.value, one.labels))
            yield canary.canary_id, one


def _route_labels(question: Question, *, dotted: bool) -> dict[str, str]:
    sent = {INSTANCE: question.canaries[0].attributes[INSTANCE], ROUTE: question.route}
    return sent if dotted else {name.replace(".", "_"): value for name, value in sent.items()}


def _label(name: str) -> str:
    return _text(name) if "." in name else name


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _nameless(labels: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset((name, value) for name, value in labels.items() if name != "__name__")
