"""A small part of PromQL over samples in memory, as Prometheus 3 evaluates it.

Follows prometheus.io/docs "Querying basics", "Operators" and "Functions" (2026-11): selectors see
5 min back, ranges leave out their left end, functions over ranges drop the name unless they return
a sample as it was. Anything else is a `BadQueryError`.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

Labels = tuple[tuple[str, str], ...]
Points = list[tuple[int, float]]
Series = Mapping[Labels, Mapping[int, float]]
Vector = dict[Labels, float]
Ranges = dict[Labels, Points]

LOOKBACK_MS = 300_000
_TOKEN = re.compile(
    r"\s*(?P<text>\"(?:\\.|[^\"\\])*\")|\s*(?P<dur>\d+(?:ms|s|m|h))|\s*(?P<num>\d+(?:\.\d+)?(?:e\+?\d+)?)"
    r"|\s*(?P<word>[A-Za-z_]\w*)|\s*(?P<sign>=~|!=|==|[{}()\[\],:=>])"
)
_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}


class BadQueryError(ValueError):
    """What a server answers with 400 and `bad_data`."""


def labels_of(pairs: Mapping[str, str]) -> Labels:
    return tuple(sorted(pairs.items()))


def without_name(labels: Labels) -> Labels:
    return tuple(pair for pair in labels if pair[0] != "__name__")


@dataclass(frozen=True)
class Selector:
    """Matchers as (label, operator, value)."""

    matchers: tuple[tuple[str, str, str], ...]

    def picks(self, labels: Labels) -> bool:
        have = dict(labels)
        return all(_matches(have.get(name, ""), op, value) for name, op, value in self.matchers)

    def newest(self, series: Series, at_ms: int) -> dict[Labels, tuple[int, float]]:
        found = {}
        for labels, points in series.items():
            seen = [one for one in points.items() if at_ms - LOOKBACK_MS < one[0] <= at_ms]
            # What is no number marks the end of a series.
            if self.picks(labels) and seen and not math.isnan(max(seen)[1]):
                found[labels] = max(seen)
        return found

    def between(self, series: Series, start_ms: int, end_ms: int) -> Ranges:
        found = {}
        for labels, points in series.items():
            inside = sorted(one for one in points.items() if start_ms < one[0] <= end_ms)
            inside = [one for one in inside if not math.isnan(one[1])]
            if self.picks(labels) and inside:
                found[labels] = inside
        return found


def _matches(have: str, op: str, value: str) -> bool:
    match op:
        case "=":
            return have == value
        case "!=":
            return have != value
        case _:
            return re.fullmatch(value, have) is not None


Instant = Callable[[Series, int], Vector]
Range = Callable[[Series, int], Ranges]


class Query:
    """One parsed query: `at(series, ms)` is a vector, or ranges where `ranged`."""

    def __init__(self, text: str) -> None:
        self._tokens, self._at = _tokens(text), 0
        self.selector: Selector | None = None
        self.ranged = False
        self.at: Callable[[Series, int], Vector | Ranges] = self._expression()
        if self._peek() != "":
            raise BadQueryError(f"unexpected {self._peek()!r}")

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self, wanted: str = "") -> str:
        token = self._peek()
        if not token or (wanted and token != wanted):
            raise BadQueryError(f"expected {wanted or 'more'!r}, got {token!r}")
        self._at += 1
        return token

    def _expression(self) -> Callable:
        left = self._comparison()
        while self._peek() == "or":
            self._take()
            left = _either(left, self._comparison())
        return left

    def _comparison(self) -> Callable:
        left = self._ranged()
        if self._peek() not in {"==", ">"}:
            return left
        op, self.selector = self._take(), None
        boolean = self._peek() == "bool" and bool(self._take())
        return _compared(left, op, float(self._take()), boolean=boolean)

    def _ranged(self) -> Callable:
        inner, selector = self._atom(), self.selector
        if self._peek() != "[":
            self.ranged = False
            return inner
        self._take()
        width, step = _ms(self._take()), 0
        if self._peek() == ":":
            self._take()
            step = _ms(self._take())
        self._take("]")
        self.ranged, self.selector = True, None
        if step:
            return _subquery(inner, width, step)
        if selector is None:
            raise BadQueryError("ranges only allowed for vector selectors")
        return lambda series, ms: selector.between(series, ms - width, ms)

    def _atom(self) -> Callable:
        if self._peek() == "{":
            return self._select()
        if self._peek() == "(":
            self._take()
            inner = self._expression()
            self._take(")")
            return inner
        return self._call(self._take())

    def _select(self) -> Instant:
        matchers = []
        self._take("{")
        while self._peek() != "}":
            name = self._take()
            name = json.loads(name) if name.startswith('"') else name
            matchers.append((name, self._take(), json.loads(self._take())))
            if self._peek() == ",":
                self._take()
        self._take("}")
        selector = self.selector = Selector(tuple(matchers))
        return lambda series, ms: {k: v for k, (_, v) in selector.newest(series, ms).items()}

    def _call(self, name: str) -> Instant:
        self._take("(")
        inner, selector, ranged = self._expression(), self.selector, self.ranged
        texts = []
        while self._peek() == ",":
            self._take()
            texts.append(json.loads(self._take()))
        self._take(")")
        self.selector, self.ranged = None, False
        if name == "timestamp" and selector is not None:
            return lambda series, ms: {
                without_name(k): at / 1000 for k, (at, _) in selector.newest(series, ms).items()
            }
        if name.endswith("_over_time") and not ranged:
            raise BadQueryError(f"expected type range vector in call to {name!r}")
        return _function(name, inner, texts)


def _function(name: str, inner: Callable, texts: list[str]) -> Instant:
    match name:
        case "last_over_time":
            return lambda series, ms: {k: p[-1][1] for k, p in inner(series, ms).items()}
        case "max_over_time":
            return lambda series, ms: {
                without_name(k): max(v for _, v in p) for k, p in inner(series, ms).items()
            }
        case "count_over_time":
            return lambda series, ms: {
                without_name(k): float(len(p)) for k, p in inner(series, ms).items()
            }
        case "max":
            return lambda series, ms: _largest(inner(series, ms).values())
        case "label_replace":
            target, value, source, pattern = texts
            if source or pattern:
                raise BadQueryError("only constant labels here")
            return lambda series, ms: {
                labels_of({**dict(k), target: value}): v for k, v in inner(series, ms).items()
            }
    raise BadQueryError(f"unknown function with name {name!r}")


def _largest(values: Iterable[float]) -> Vector:
    found = list(values)
    return {(): max(found)} if found else {}


def _either(left: Instant, right: Instant) -> Instant:
    def both(series: Series, ms: int) -> Vector:
        first = left(series, ms)
        known = {without_name(labels) for labels in first}
        more = right(series, ms).items()
        return {**first, **{k: v for k, v in more if without_name(k) not in known}}

    return both


def _compared(left: Instant, op: str, value: float, *, boolean: bool) -> Instant:
    def holds(one: float) -> bool:
        return one == value if op == "==" else one > value

    def compare(series: Series, ms: int) -> Vector:
        found = left(series, ms).items()
        if boolean:
            return {without_name(k): float(holds(v)) for k, v in found}
        return {k: v for k, v in found if holds(v)}

    return compare


def _subquery(inner: Instant, width: int, step: int) -> Range:
    def at(series: Series, ms: int) -> Ranges:
        found: Ranges = {}
        first = (ms - width) // step * step + step
        for when in range(first, ms + 1, step):
            for labels, value in inner(series, when).items():
                found.setdefault(labels, []).append((when, value))
        return found

    return at


def _tokens(text: str) -> list[str]:
    found, at = [], 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if match is None:
            raise BadQueryError(f"parse error at {at}: {text[at : at + 10]!r}")
        found.append(match[0].strip())
        at = match.end()
    return found


def _ms(duration: str) -> int:
    match = re.fullmatch(r"(\d+)(ms|s|m|h)", duration)
    if match is None:
        raise BadQueryError(f"not a duration: {duration!r}")
    return int(match[1]) * _UNITS_MS[match[2]]
