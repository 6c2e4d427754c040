"""`/metrics`: one custom collector, drawn from the ReadModel at scrape time."""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from core.kinds import FactSpec
from core.verdict import Verdict
from scheduler.export.catalogue import METRICS, MetricSpec, fact_specs
from scheduler.export.points import Internals, fact_points, points
from scheduler.readmodel import Board, ReadModel


class BoardCollector(Collector):
    """Every family of the catalogue at 0 series or more, then the probes' facts and aliases."""

    def __init__(self, model: ReadModel, internals: Callable[[], Internals]) -> None:
        """`model` and `internals` are read once per scrape."""
        self._model, self._internals = model, internals
        self._facts = fact_specs()

    def collect(self) -> Iterable[Metric]:
        """The families of one scrape."""
        board = self._model.board()
        families = {spec.name: _family(spec) for spec in METRICS}
        for point in points(board, self._internals()):
            families[point.name].add_metric(point.labels, point.value)
        yield from families.values()
        yield from _facts(board, self._facts)
        yield _probe_success(board)


def _family(spec: MetricSpec) -> CounterMetricFamily | GaugeMetricFamily:
    kind = CounterMetricFamily if spec.type == "counter" else GaugeMetricFamily
    return kind(spec.name.removesuffix("_total"), spec.help, labels=spec.labels)


def _facts(board: Board, specs: tuple[FactSpec, ...]) -> Iterable[Metric]:
    families: dict[str, GaugeMetricFamily] = {}
    for spec, point in fact_points(board, specs):
        for name in filter(None, (point.name, _plain_alias(spec.alias))):
            if name not in families:
                families[name] = GaugeMetricFamily(name, spec.help, labels=("check",))
            families[name].add_metric(point.labels, point.value)
    return families.values()


def _plain_alias(alias: str) -> str:
    # An alias with labels of its own (blackbox's phase="…") is not a plain gauge name.
    return "" if "{" in alias else alias


def _probe_success(board: Board) -> GaugeMetricFamily:
    """blackbox_exporter's probe_success: 1 = ok or degraded, 0 = fail, absent when blind."""
    family = GaugeMetricFamily(
        "probe_success", "1 = ok or degraded, 0 = fail, absent = blind.", labels=("check",)
    )
    for check in board.checks:
        if check.verdict is not Verdict.BLIND:
            family.add_metric((check.name,), float(check.verdict is not Verdict.FAIL))
    return family


def exposition(model: ReadModel, internals: Callable[[], Internals]) -> Callable[[], bytes]:
    """A function that yields the text of one scrape."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(BoardCollector(model, internals))
    return lambda: generate_latest(registry)
