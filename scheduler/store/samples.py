"""History: runs, vitals, hop windows, meter hours. It may be shed, and decides nothing."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import col, select

from core.clock import Clock, Instant
from core.errors import StoreError
from core.reason import Reason
from core.result import RunEnvelope, Trust
from core.verdict import Verdict
from scheduler.store import samples_steps
from scheduler.store.packs import HOUR, hour_of, strip_of
from scheduler.store.reader import Reader
from scheduler.store.retention import Retention, prune_once
from scheduler.store.samples_tables import (
    HopWindowRow,
    LatestRunRow,
    MeterHourRow,
    RunPackRow,
    RunRow,
    VitalRow,
)
from scheduler.store.writer import Writer
from selfcheck.canary.model import Signal
from selfcheck.cost.model import Point, Usage


@dataclass(frozen=True, slots=True)
class Vital:
    """The last sign of life of one part of the service."""

    part: str
    at: Instant
    verdict: Verdict
    detail: str


@dataclass(frozen=True, slots=True)
class HopWindow:
    """In and out of one hop over `seconds` up to `ended`; None = could not be read, never 0."""

    hop: str
    signal: Signal
    ended: datetime
    seconds: float
    came_in: int | None
    went_out: int | None
    stored: int | None
    intended: int | None
    dropped: int | None


class SamplesStore:
    """Appends never block and never raise; what finds no room, or fails, is counted."""

    def __init__(self, reader: Reader, writer: Writer | None, clock: Clock) -> None:
        """Without `writer` it only reads."""
        self._reader, self._writer, self._clock = reader, writer, clock
        self._verdicts: dict[tuple[str, str], Verdict] = {}
        self.dropped_total = 0
        self.last_error = ""

    def append(self, envelope: RunEnvelope) -> None:
        """Keep one run: always in its hour's pack, as a row when it changes or is not `ok`."""
        key = (envelope.check, envelope.location)
        changed = self._verdicts.get(key) is not envelope.verdict
        self._verdicts[key] = envelope.verdict
        row = changed or envelope.verdict is not Verdict.OK
        self._offer(samples_steps.append_runs, (envelope, row))

    def vital(self, vital: Vital) -> None:
        """Replace the last sign of life of a part."""
        self._offer(samples_steps.put_vitals, vital)

    def hop_window(self, window: HopWindow) -> None:
        """Keep one window of a hop; the same window again replaces it."""
        self._offer(samples_steps.put_windows, window)

    def meter(self, hour: datetime, usage: Usage) -> None:
        """Keep the usage of one hour; the same hour, signal, point and source is replaced."""
        self._offer(samples_steps.put_meters, (hour_of(hour), usage))

    async def flush(self) -> None:
        """Return once everything appended so far is written. Raises StoreError."""
        if self._writer:
            await self._writer.do(samples_steps.nothing, None)

    def latest(self, check: str, location: str = "local") -> RunEnvelope | None:
        """The newest run of a check; None when none is kept."""
        wanted = select(LatestRunRow).where(
            col(LatestRunRow.name) == check, col(LatestRunRow.location) == location
        )
        row = self._reader.ask(lambda session: session.exec(wanted).first())
        return envelope_of(row) if row else None

    def latest_all(self) -> Sequence[RunEnvelope]:
        """The newest run of every check and location, by name."""
        wanted = select(LatestRunRow).order_by(LatestRunRow.name, LatestRunRow.location)
        return self._reader.ask(lambda session: [envelope_of(row) for row in session.exec(wanted)])

    def runs(self, check: str, limit: int) -> Sequence[RunEnvelope]:
        """Runs kept as rows (changes and all that was not `ok`), newest first."""
        wanted = (
            select(RunRow)
            .where(col(RunRow.name) == check)
            .order_by(col(RunRow.scheduled_at).desc(), col(RunRow.attempt).desc())
            .limit(limit)
        )
        return self._reader.ask(lambda session: [envelope_of(row) for row in session.exec(wanted)])

    def strip(self, check: str, cells: int, cell_s: float) -> tuple[Verdict | None, ...]:
        """Worst verdict per cell up to now, oldest first; None where nothing ran."""
        end = self._clock.utc()
        since = hour_of(end - timedelta(seconds=cells * cell_s))
        wanted = select(RunPackRow).where(
            col(RunPackRow.name) == check, col(RunPackRow.hour).between(since, end + HOUR)
        )
        rows = self._reader.ask(lambda session: session.exec(wanted).all())
        packs: dict[datetime, bytes] = {}
        for row in rows:
            packs[row.hour] = packs.get(row.hour, b"") + row.points
        return strip_of(packs, end, cells, cell_s)

    def counts(self, check: str, since: datetime) -> Mapping[Verdict, int]:
        """Runs per verdict in the hours from that of `since` on; `blind` is no failure."""
        wanted = select(RunPackRow).where(
            col(RunPackRow.name) == check, col(RunPackRow.hour) >= hour_of(since)
        )
        rows = self._reader.ask(lambda session: session.exec(wanted).all())
        return {
            Verdict.OK: sum(row.n_ok for row in rows),
            Verdict.DEGRADED: sum(row.n_degraded for row in rows),
            Verdict.FAIL: sum(row.n_fail for row in rows),
            Verdict.BLIND: sum(row.n_blind for row in rows),
        }

    def vitals(self) -> Sequence[Vital]:
        """Every part's last sign of life, by name."""
        wanted = select(VitalRow).order_by(VitalRow.part)
        rows = self._reader.ask(lambda session: session.exec(wanted).all())
        return [Vital(row.part, row.at, Verdict(row.verdict), row.detail) for row in rows]

    def hop_windows(self, since: datetime) -> Sequence[HopWindow]:
        """Windows that ended after `since`, oldest first."""
        wanted = select(HopWindowRow).where(col(HopWindowRow.ended) > since)
        ordered = wanted.order_by(col(HopWindowRow.ended))
        rows = self._reader.ask(lambda session: session.exec(ordered).all())
        return [HopWindow(**{**row.model_dump(), "signal": Signal(row.signal)}) for row in rows]

    def meters(self, since: datetime) -> Sequence[tuple[datetime, Usage]]:
        """Usage by hour from `since` on, oldest first. Figures of different points never add."""
        wanted = select(MeterHourRow).where(col(MeterHourRow.hour) >= since)
        ordered = wanted.order_by(col(MeterHourRow.hour))
        rows = self._reader.ask(lambda session: session.exec(ordered).all())
        return [(row.hour, _usage(row)) for row in rows]

    async def prune(self, retention: Retention) -> int:
        """Delete one batch of what is too old or too much; how many rows, 0 when done.

        Each batch is a transaction of its own, so that it can be killed at any point.
        """
        if self._writer is None:
            raise StoreError("this store was opened for reading")
        return await self._writer.do(prune_once, (retention, self._clock.utc()))

    def close(self) -> None:
        """Write what waits, then end the threads."""
        if self._writer:
            self._writer.close()
        self._reader.close()

    def _offer(self, step: Any, item: Any) -> None:
        # Any: the step's own signature ties them (samples_steps).
        if self._writer is None:
            raise StoreError("this store was opened for reading")
        job = self._writer.offer(step, item)
        if job is None:
            self.dropped_total += 1
        else:
            job.add_done_callback(self._count_failure)

    def _count_failure(self, job: Any) -> None:
        # Any: a future of whatever the step answers.
        error = job.exception()
        if error is not None:
            self.dropped_total += 1
            self.last_error = str(error)


def envelope_of(row: RunRow | LatestRunRow) -> RunEnvelope:
    """The domain's value of a row."""
    return RunEnvelope(
        check=row.name,
        kind=row.kind,
        generation=row.generation,
        epoch=row.epoch,
        scheduled_at=row.scheduled_at,
        started=row.started,
        ended=row.ended,
        verdict=Verdict(row.verdict),
        reason=Reason(row.reason),
        detail=row.detail,
        facts=json.loads(row.facts),
        trust=Trust(row.late_s, row.queue_s, row.lag_s),
        attempt=row.attempt,
        location=row.location,
        worker=row.worker,
        v=row.v,
    )


def _usage(row: MeterHourRow) -> Usage:
    point = Point(row.point)
    return Usage(Signal(row.signal), point, row.items, row.body_bytes, row.seconds, row.source)
