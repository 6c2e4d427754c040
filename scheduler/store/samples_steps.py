"""What the writer of `samples` does: each step takes all waiting items of its kind at once."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select
from sqlmodel import col

from core.result import RunEnvelope
from core.verdict import Verdict
from scheduler.store.database import upsert
from scheduler.store.packs import Point, hour_of, merge, point_of, sums
from scheduler.store.samples_tables import (
    HopWindowRow,
    LatestRunRow,
    MeterHourRow,
    RunPackRow,
    RunRow,
    VitalRow,
)
from selfcheck.cost.model import Usage

if TYPE_CHECKING:
    from scheduler.store.samples import HopWindow, Vital

Done = Sequence[None]
_PackKey = tuple[str, str, datetime]


def append_runs(connection: Connection, items: Sequence[tuple[RunEnvelope, bool]]) -> Done:
    """Pack all runs, keep rows of those marked so, and the latest of each check."""
    points: dict[_PackKey, list[Point]] = defaultdict(list)
    latest: dict[tuple[str, str], RunEnvelope] = {}
    for run, _ in items:
        took_s = run.ended.boot_s - run.started.boot_s
        point = point_of(run.scheduled_at, run.attempt, run.verdict, took_s)
        points[run.check, run.location, hour_of(run.scheduled_at)].append(point)
        latest[run.check, run.location] = run
    known = _known_packs(connection, points)
    packs = [_pack(key, merge(known.get(key, b""), new)) for key, new in points.items()]
    upsert(connection, RunPackRow, packs)
    upsert(connection, RunRow, [_columns(run) for run, as_row in items if as_row])
    upsert(connection, LatestRunRow, [_columns(run) for run in latest.values()])
    return [None] * len(items)


def put_vitals(connection: Connection, vitals: "Sequence[Vital]") -> Done:
    """Replace vitals."""
    rows = [
        {"part": one.part, "at": one.at, "verdict": one.verdict.value, "detail": one.detail}
        for one in vitals
    ]
    upsert(connection, VitalRow, rows)
    return [None] * len(vitals)


def put_windows(connection: Connection, windows: "Sequence[HopWindow]") -> Done:
    """Keep hop windows."""
    rows = [
        {
            "hop": one.hop,
            "signal": one.signal.value,
            "ended": one.ended,
            "seconds": one.seconds,
            "came_in": one.came_in,
            "went_out": one.went_out,
            "stored": one.stored,
            "intended": one.intended,
            "dropped": one.dropped,
        }
        for one in windows
    ]
    upsert(connection, HopWindowRow, rows)
    return [None] * len(windows)


def put_meters(connection: Connection, meters: Sequence[tuple[datetime, Usage]]) -> Done:
    """Keep meter hours."""
    rows = [
        {
            "hour": hour,
            "signal": usage.signal.value,
            "point": usage.point.value,
            "source": usage.source,
            "items": usage.items,
            "body_bytes": usage.body_bytes,
            "seconds": usage.seconds,
        }
        for hour, usage in meters
    ]
    upsert(connection, MeterHourRow, rows)
    return [None] * len(meters)


def nothing(connection: Connection, items: Sequence[None]) -> Done:
    """Write nothing: whoever waits for it knows that all before it is written."""
    del connection
    return items


def _known_packs(connection: Connection, wanted: Iterable[_PackKey]) -> dict[_PackKey, bytes]:
    """What is packed already of the wanted keys, and perhaps of others, in one question."""
    names, locations, hours = (set(values) for values in zip(*wanted, strict=True))
    known = select(RunPackRow.name, RunPackRow.location, RunPackRow.hour, RunPackRow.points).where(  # type: ignore[call-overload]  # columns, to SQLAlchemy
        col(RunPackRow.name).in_(names),
        col(RunPackRow.location).in_(locations),
        col(RunPackRow.hour).in_(hours),
    )
    return {(name, location, hour): points for name, location, hour, points in
            connection.execute(known)}  # fmt: skip


def _pack(key: _PackKey, packed: bytes) -> dict[str, Any]:
    # Any: as the columns are.
    name, location, hour = key
    total = sums(packed)
    return {
        "name": name,
        "location": location,
        "hour": hour,
        "n_ok": total.counts[Verdict.OK],
        "n_degraded": total.counts[Verdict.DEGRADED],
        "n_fail": total.counts[Verdict.FAIL],
        "n_blind": total.counts[Verdict.BLIND],
        "min_s": total.min_s,
        "max_s": total.max_s,
        "sum_s": total.sum_s,
        "points": packed,
    }


def _columns(run: RunEnvelope) -> dict[str, Any]:
    # Any: as the columns are.
    return {
        "name": run.check,
        "location": run.location,
        "scheduled_at": run.scheduled_at,
        "attempt": run.attempt,
        "kind": run.kind,
        "generation": run.generation,
        "epoch": run.epoch,
        "worker": run.worker,
        "started": run.started,
        "ended": run.ended,
        "verdict": run.verdict.value,
        "reason": run.reason.value,
        "detail": run.detail,
        "facts": json.dumps(dict(run.facts)),
        "late_s": run.trust.late_s,
        "queue_s": run.trust.queue_s,
        "lag_s": run.trust.lag_s,
        "v": run.v,
    }
