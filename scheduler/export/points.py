"""A board as metric points: one pure function behind `/metrics` and OTLP metrics alike.

A figure that is not known yields no point: missing is not zero.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from core.kinds import FactSpec
from core.verdict import Verdict
from scheduler.readmodel import Board, CheckRow, CostRow, RouteRow


@dataclass(frozen=True, slots=True)
class Point:
    """One sample of a family of the catalogue; labels in the catalogue's order."""

    name: str
    labels: tuple[str, ...]
    value: float


@dataclass(frozen=True, slots=True)
class Internals:
    """Coalmine's own counters, read beside the board; `attempts` is keyed by receiver, answer."""

    reload_ok: bool
    results_dropped: int
    samples_shed: int
    leaked_tasks: int
    pages_unaccepted: int
    outbox_oldest_age_s: float
    page_dwell_s: float | None
    attempts: Mapping[tuple[str, str], int]
    loop_lag_s: Mapping[str, float]


def points(board: Board, internals: Internals) -> Iterator[Point]:
    """Every point of the static catalogue."""
    yield Point("coalmine_up", (), 1)
    yield Point("coalmine_config_generation", (), board.generation)
    yield Point("coalmine_checks", (), len(board.checks))
    yield Point("coalmine_routes", (), len(board.routes))
    for check in board.checks:
        yield from _check(check)
    for route in board.routes:
        yield from _route(route)
    yield from _pipeline(board)
    for severity in ("critical", "warning"):
        count = sum(row.severity == severity for row in board.incidents)
        yield Point("coalmine_incidents_open", (severity,), count)
    for cost in board.costs:
        yield from _own_cost(cost) if cost.own else _cost(cost)
    yield from _internals(internals)


def fact_points(board: Board, specs: tuple[FactSpec, ...]) -> Iterator[tuple[FactSpec, Point]]:
    """Numeric facts of probes as `coalmine_probe_<fact>{check}`; fresh checks only."""
    by_name = {spec.name: spec for spec in specs}
    for check in board.checks:
        if check.was is not None:
            continue
        for name, value in check.facts.items():
            spec = by_name.get(name)
            if spec is not None and isinstance(value, int | float):
                yield spec, Point(f"coalmine_probe_{name}", (check.name,), float(value))


def _check(row: CheckRow) -> Iterator[Point]:
    who = (row.name, row.kind)
    for verdict in Verdict:
        labels = (*who, verdict.value)
        yield Point("coalmine_check_verdict", labels, float(verdict is row.verdict))
    for state, count in row.account.items():
        yield Point("coalmine_check_runs", (*who, state), count)
    last_ok = row.facts.get("last_ok_utc_s", 0.0)
    yield Point("coalmine_check_last_ok_timestamp_seconds", who, float(last_ok))
    if row.age_s is None:
        return
    yield Point("coalmine_check_age_seconds", who, row.age_s)
    if row.last_s is not None:
        yield Point("coalmine_check_duration_seconds", who, row.last_s)
    yield Point("coalmine_check_late_seconds", who, float(row.facts["late_s"]))
    yield Point("coalmine_check_loop_lag_seconds", who, float(row.facts["lag_s"]))


def _route(row: RouteRow) -> Iterator[Point]:
    who = (row.name, row.signal)
    yield Point("coalmine_canary_sent_total", who, row.sent)
    if row.volume is not None:
        by = (*who, row.volume.backend)
        yield Point("coalmine_canary_bytes_total", by, row.volume.bytes_ever)
        yield Point("coalmine_canary_reads_total", by, row.volume.reads_ever)
    for outcome, count in row.outcomes.items():
        yield Point("coalmine_canary_state", (*who, outcome), count)
    yield Point("coalmine_canary_identity_ok", who, float(row.balanced))
    for again in row.rechecks:
        yield Point("coalmine_recheck_due_total", (*who, again.age), again.due)
        for state, count in again.states.items():
            yield Point("coalmine_recheck_state", (*who, again.age, state), count)
        yield Point("coalmine_recheck_identity_ok", (*who, again.age), float(again.balanced))
    yield Point("coalmine_canary_deadline_seconds", who, row.deadline_s)
    for quantile, value in (("0.5", row.delay_p50_s), ("0.99", row.delay_p99_s)):
        if value is not None:
            yield Point("coalmine_canary_delay_seconds", (*who, quantile), value)


def _pipeline(board: Board) -> Iterator[Point]:
    for row in board.balance:
        figures = {"in": row.came_in, "out": row.went_out, "stored": row.stored,
                   "intended": row.intended, "dropped": row.dropped, "loss": row.loss}  # fmt: skip
        for direction, value in figures.items():
            if value is not None:
                yield Point("coalmine_hop_items", (row.hop, row.signal, direction), value)
    for source in board.sources:
        for verdict in Verdict:
            labels = (source.name, verdict.value)
            yield Point("coalmine_source_verdict", labels, float(verdict is source.verdict))
        if source.newest_age_s is not None:
            yield Point("coalmine_source_newest_age_seconds", (source.name,), source.newest_age_s)
    for vital in board.vitals:
        yield Point("coalmine_vital_ok", (vital.part,), float(vital.verdict is Verdict.OK))
        yield Point("coalmine_vital_age_seconds", (vital.part,), vital.age_s)


def _cost(row: CostRow) -> Iterator[Point]:
    if row.hour is None and row.likely is None:
        yield Point("coalmine_cost_unpriced", (row.signal, row.meter, row.book), 1)
        return
    who = (row.signal, row.meter, row.book, row.currency, row.grade)
    figures = {"coalmine_cost_hour": row.hour, "coalmine_cost_month_to_date": row.to_date,
               "coalmine_cost_per_gb": row.per_gb}  # fmt: skip
    for name, text in figures.items():
        if text is not None:
            yield Point(name, who, float(text))
    for quantile, text in (("0.1", row.low), ("0.5", row.likely), ("0.9", row.high)):
        if text is not None:
            yield Point("coalmine_cost_month_forecast", (*who, quantile), float(text))


def _own_cost(row: CostRow) -> Iterator[Point]:
    who = (row.own, row.signal, row.book)
    if row.hour is None and row.likely is None:
        yield Point("coalmine_canary_cost_unpriced", who, 1)
        return
    figures = {"coalmine_canary_cost_hour": row.hour,
               "coalmine_canary_cost_month_to_date": row.to_date}  # fmt: skip
    for name, text in figures.items():
        if text is not None:
            yield Point(name, (*who, row.currency, row.grade), float(text))


def _internals(own: Internals) -> Iterator[Point]:
    yield Point("coalmine_config_reload_ok", (), float(own.reload_ok))
    yield Point("coalmine_results_dropped_total", (), own.results_dropped)
    yield Point("coalmine_samples_shed_total", (), own.samples_shed)
    yield Point("coalmine_engine_leaked_tasks", (), own.leaked_tasks)
    yield Point("coalmine_pages_unaccepted", (), own.pages_unaccepted)
    yield Point("coalmine_outbox_oldest_age_seconds", (), own.outbox_oldest_age_s)
    if own.page_dwell_s is not None:
        yield Point("coalmine_page_dwell_seconds", (), own.page_dwell_s)
    for (receiver, answer), count in own.attempts.items():
        yield Point("coalmine_page_attempts_total", (receiver, answer), count)
    for loop, lag in own.loop_lag_s.items():
        yield Point("coalmine_loop_lag_seconds", (loop,), lag)
