"""Panels in one style: one function per kind of panel; colours are those of the terminal."""

from grafana_foundation_sdk.builders import stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders.common import ReduceDataOptions
from grafana_foundation_sdk.builders.dashboard import ThresholdsConfig
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models.common import TableCellHeight
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = DataSourceRef(type_val="prometheus", uid="${source}")
VERDICT_COLOURS = {"ok": "blue", "degraded": "orange", "blind": "purple", "fail": "red"}


def verdict_query(metric: str, label: str) -> str:
    """0 = ok, 1 = degraded, 2 = blind, 3 = fail, per `label`; nothing where nothing is known."""
    parts = [f'{n} * sum by ({label}) ({metric}{{verdict="{v}"}})'
             for n, v in enumerate(VERDICT_COLOURS) if n]  # fmt: skip
    return " + ".join(parts)


def query(expr: str, legend: str, *, instant: bool = False) -> Dataquery:
    """One query against the chosen Prometheus."""
    built = Dataquery().expr(expr).legend_format(legend).datasource(SOURCE)
    return built.instant().format(PromQueryFormat.TABLE) if instant else built.range()


def timeline(title: str, description: str, expr: str, legend: str) -> statetimeline.Panel:
    """Verdicts over time, never averaged; gaps stay gaps; `blind` has a colour of its own."""
    options = {
        str(n): ValueMappingResult(text=verdict, color=colour, index=n)
        for n, (verdict, colour) in enumerate(VERDICT_COLOURS.items())
    }
    return (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit("none")
        .span_nulls(False)
        .mappings([ValueMap(options=options)])
        .with_target(query(expr, legend))
        .height(8)
        .span(24)
    )


def lines(
    title: str, description: str, unit: str, expr: str, legend: str, *more: tuple[str, str]
) -> timeseries.Panel:
    """Lines on one axis that starts at zero; gaps stay gaps. more: further (query, legend)."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .span_nulls(False)
        .with_target(query(expr, legend))
        .height(8)
        .span(12)
    )
    for further, name in more:
        panel.with_target(query(further, name))
    return panel


def figure(
    title: str, description: str, unit: str, expr: str, warn: float | None = None
) -> stat.Panel:
    """One number; blue below `warn`, red from it on."""
    steps = [Threshold(value=None, color="blue")]
    if warn is not None:
        steps.append(Threshold(value=warn, color="red"))
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
        .with_target(query(expr, ""))
        .height(4)
        .span(4)
    )


def rows(title: str, description: str, expr: str, *more: str) -> table.Panel:
    """A table of the present labels and values; a query each."""
    panel = (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit("short")
        .cell_height(TableCellHeight.SM)
        .with_target(query(expr, "", instant=True))
        .height(8)
        .span(12)
    )
    for further in more:
        panel.with_target(query(further, "", instant=True))
    return panel
