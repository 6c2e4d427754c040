"""`/metrics`: the text of one scrape, drawn from the ReadModel when it is asked for.

Written without a client library: its objects cost 16 KiB a check, and its rendering of 5,000 checks
holds the interpreter for a second that probes wait for.
Rule: https://prometheus.io/docs/instrumenting/exposition_formats/ (text format 0.0.4).
"""

from collections.abc import Callable, Iterator
from math import isfinite

from core.verdict import Verdict
from scheduler.export.catalogue import METRICS, MetricSpec, fact_specs
from scheduler.export.points import Internals, fact_points, points
from scheduler.readmodel import Board, ReadModel

_CHECK = ("check",)
_SUCCESS = MetricSpec(
    "probe_success", "gauge", "1 = ok or degraded, 0 = fail, absent = blind.", _CHECK
)


def exposition(model: ReadModel, internals: Callable[[], Internals]) -> Callable[[], bytes]:
    """A function that yields the text of one scrape: it reads `model` and `internals` once."""
    facts = fact_specs()

    def text() -> bytes:
        board = model.board()
        families = {spec.name: _Family(spec) for spec in METRICS}
        for point in points(board, internals()):
            families[point.name].add(point.labels, point.value)
        # blackbox_exporter's probe_success and names, for rules and boards written for it.
        families[_SUCCESS.name] = _success(board)
        for fact, point in fact_points(board, facts):
            for name in filter(None, (point.name, _plain_alias(fact.alias))):
                if name not in families:
                    families[name] = _Family(MetricSpec(name, "gauge", fact.help, _CHECK))
                families[name].add(point.labels, point.value)
        return "".join(line for family in families.values() for line in family.lines).encode()

    return text


class _Family:
    """The lines of one metric."""

    def __init__(self, spec: MetricSpec) -> None:
        self._name, self._keys = spec.name, spec.labels
        told = spec.help.replace("\\", "\\\\").replace("\n", "\\n")
        self.lines = [f"# HELP {spec.name} {told}\n# TYPE {spec.name} {spec.type}\n"]

    def add(self, labels: tuple[str, ...], value: float) -> None:
        """One sample; `labels` in the order of the family's. Raises ValueError for other many."""
        shown = ",".join(_labels(self._keys, labels))
        self.lines.append(f"{self._name}{{{shown}}} {_number(value)}\n")


def _labels(keys: tuple[str, ...], values: tuple[str, ...]) -> Iterator[str]:
    for key, value in zip(keys, values, strict=True):
        if "\\" in value or '"' in value or "\n" in value:
            value = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")  # noqa: PLW2901  escaped, else as it is
        yield f'{key}="{value}"'


def _number(value: float) -> str:
    """As Go reads it: NaN, +Inf, -Inf, else the shortest text that is exactly this float."""
    if isfinite(value):
        return repr(float(value))
    return "NaN" if value != value else "+Inf" if value > 0 else "-Inf"  # noqa: PLR0124  NaN


def _plain_alias(alias: str) -> str:
    # An alias with labels of its own (blackbox's phase="…") is not a plain gauge name.
    return "" if "{" in alias else alias


def _success(board: Board) -> _Family:
    """1 = ok or degraded, 0 = fail, absent when blind."""
    family = _Family(_SUCCESS)
    for check in board.checks:
        if check.verdict is not Verdict.BLIND:
            family.add((check.name,), float(check.verdict is not Verdict.FAIL))
    return family
