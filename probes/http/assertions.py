"""Does an answer hold what is expected of it? Pure; regular expressions run in linear time."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import re2
from jsonpath_ng.parser import parse

from core.outbound.protocol import Response
from core.reason import Reason
from core.text import safe_text
from core.verdict import Verdict, rank
from probes.http.options import Expect, JsonExpect, StatusRule


@dataclass(frozen=True, slots=True)
class Broken:
    """One condition that does not hold."""

    verdict: Verdict
    reason: Reason
    detail: str


class Assertions:
    """Conditions compiled once, judged per answer."""

    def __init__(self, expected: Sequence[Expect]) -> None:
        """`expected` has been validated, so that everything in it compiles."""
        self._conditions = tuple(_Condition(item) for item in expected)

    def judge(self, response: Response) -> Broken | None:
        """The worst condition that does not hold; None when all do."""
        found = [broken for item in self._conditions for broken in item.broken(response)]
        return max(found, key=lambda broken: rank(broken.verdict), default=None)


class _Condition:
    def __init__(self, expect: Expect) -> None:
        self._expect = expect
        self._verdict = Verdict(expect.severity)
        self._pattern = re2.compile(expect.body_matches) if expect.body_matches else None
        self._paths = [(item, parse(item.path)) for item in expect.json_values]

    def broken(self, response: Response) -> Iterator[Broken]:
        expect, verdict = self._expect, self._verdict
        if expect.status is not None and not _status_in(response.status, expect.status):
            yield Broken(verdict, Reason.STATUS, f"status {response.status}")
        for detail in (*self._headers(response), *self._body(response), *self._json(response)):
            yield Broken(verdict, Reason.ASSERTION, safe_text(detail, 200))

    def _headers(self, response: Response) -> Iterator[str]:
        for name, wanted in self._expect.header.items():
            value = response.header(name)
            if value is None:
                yield f"header {name} is absent"
            elif wanted not in value:
                yield f"header {name} lacks {wanted!r}"

    def _body(self, response: Response) -> Iterator[str]:
        wanted = self._expect.body_contains
        if wanted is not None and wanted.encode() not in response.body:
            yield f"body lacks {wanted!r}"
        if self._pattern is not None:
            text = response.body.decode(errors="replace")
            if self._pattern.search(text) is None:
                yield f"body does not match {self._expect.body_matches!r}"

    def _json(self, response: Response) -> Iterator[str]:
        if not self._paths:
            return
        try:
            document = json.loads(response.body)
        except (ValueError, RecursionError) as exc:
            yield f"body is no JSON: {exc}"
            return
        for item, path in self._paths:
            problem = _json_problem(item, [match.value for match in path.find(document)])
            if problem:
                yield f"{item.path} {problem}"


def _status_in(status: int, rule: StatusRule | tuple[StatusRule, ...]) -> bool:
    rules = rule if isinstance(rule, tuple) else (rule,)
    return any(item in {status, str(status), f"{status // 100}xx"} for item in rules)


def _json_problem(item: JsonExpect, values: Sequence[Any]) -> str:  # any JSON value
    if item.count is not None:
        return "" if len(values) == item.count else f"matches {len(values)} values"
    if not values:
        return "is absent"
    value = values[0]
    # In Python True == 1; in JSON they differ.
    if item.equals is not None and (
        value != item.equals or isinstance(value, bool) != isinstance(item.equals, bool)
    ):
        return f"is {value!r}, not {item.equals!r}"
    if item.contains and not (isinstance(value, str) and item.contains in value):
        return f"lacks {item.contains!r}"
    return _number_problem(item, value)


def _number_problem(item: JsonExpect, value: object) -> str:
    if item.above is None and item.below is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "is no number"
    if item.above is not None and not value > item.above:
        return f"is {value}, not above {item.above:g}"
    if item.below is not None and not value < item.below:
        return f"is {value}, not below {item.below:g}"
    return ""
