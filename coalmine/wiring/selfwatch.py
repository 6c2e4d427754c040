"""Coalmine watches itself: vital signs, the proof behind a heartbeat, the last-resort watchdog."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from coalmine.config.parsed import Config
from coalmine.wiring.paging import CONFIG_CHECK, ENGINE_CHECK, SELF_EVERY_S
from core.clock import Clock, instant
from core.errors import StoreError, StoreTakenError
from core.reason import Reason
from core.result import Result, RunEnvelope, Trust
from core.verdict import Verdict, freshness_limit_s
from paging.heartbeats import Proof
from scheduler.engine.watchdog import Watchdog
from scheduler.readmodel import VitalLine
from scheduler.store import Stores
from scheduler.store.samples import Vital

log = logging.getLogger("coalmine")

LOOP_STALE_S = 5.0
STORE_STALE_S = 35.0
# Longer than the longest pause between two tries of what is broken.
BROKEN_FOR_S = 90.0
_RESULT_STALE_S = 120.0
_RUN_S = 60.0


@dataclass(frozen=True, slots=True)
class Signs:
    """Where signs of life are read; each may be called from any thread.

    beats: of the probing loop; paging_tick: boot seconds of the last paging turn.
    newest_result: boot seconds of the newest result, None before the first one;
    result_limit_s: the age at which it proves nothing any more.
    export: the vital of OTLP export, None when there is none. troubles: paging's own.
    die: ends the service, because of an error that no retry mends.
    """

    beats: Callable[[], int]
    paging_tick: Callable[[], float]
    newest_result: Callable[[], float | None]
    result_limit_s: Callable[[], float]
    export: Callable[[], VitalLine | None]
    troubles: Callable[[], tuple[str, ...]]
    die: Callable[[str, Exception], None]


class SelfWatch:
    """Self-alerts as ordinary results, vitals for screens, proof for heartbeats."""

    def __init__(
        self, clock: Clock, stores: Stores, signs: Signs, publish: Callable[[RunEnvelope], None]
    ) -> None:
        """Nothing is proven yet."""
        self._clock, self._stores, self._signs, self._publish = clock, stores, signs, publish
        self._watchdog = Watchdog((signs.beats, lambda: int(signs.paging_tick() * 1000)))
        self._beat_at, self._beats_seen = clock.monotonic(), -1
        self._store_ok_at = clock.monotonic()
        self._store_error = ""
        self._weighed_at, self._crowded, self._given_up = clock.monotonic(), "", 0
        self._broken: dict[str, tuple[float, str]] = {}
        self.config_problems: tuple[str, ...] = ()
        self._generation = 1

    def broken(self, what: str, exc: Exception) -> None:
        """The engine's self-alert: something of ours raised."""
        log.error("broken what=%s error=%s: %s", what, type(exc).__name__, exc)
        self._broken[what] = (self._clock.monotonic(), f"{type(exc).__name__}: {exc}")

    async def watchdog(self) -> float:
        """A step: re-arm the watchdog while both loops tick."""
        self._note_beat()
        return await self._watchdog.step()

    async def step(self) -> float:
        """A step: beat in the store, publish our own checks, keep vitals."""
        try:
            await self._stores.beat()
            self._store_ok_at, self._store_error = self._clock.monotonic(), ""
            await self._weigh()
        except StoreTakenError as exc:
            self._signs.die("store", exc)
        except StoreError as exc:
            self._store_error = str(exc)
        self._publish(self._envelope(ENGINE_CHECK, self._engine_result()))
        self._publish(self._envelope(CONFIG_CHECK, self._config_result()))
        now = instant(self._clock)
        for vital in self.vitals():
            self._stores.samples.vital(Vital(vital.part, now, vital.verdict, vital.detail))
        return SELF_EVERY_S

    async def _weigh(self) -> None:
        """Say so when the ledger is full: canaries are then given up, or not sent. StoreError."""
        ledger = self._stores.ledger
        used, most = (await ledger.room()).used_bytes, ledger.caps.max_bytes
        lost, self._given_up = ledger.given_up_total - self._given_up, ledger.given_up_total
        told = [f"{lost} canaries under way were given up"] if lost else []
        told += [f"{used} of {most} bytes are used"] if used >= most else []
        self._weighed_at, self._crowded = self._clock.monotonic(), "; ".join(told)

    def _ledger_line(self, now_s: float) -> VitalLine:
        age_s = now_s - self._weighed_at
        if self._crowded:
            return VitalLine("ledger", Verdict.BLIND, age_s, self._crowded)
        return _line("ledger", age_s, STORE_STALE_S, "not weighed")

    def vitals(self) -> tuple[VitalLine, ...]:
        """One line a part; safe from any thread."""
        self._note_beat()
        now = self._clock.monotonic()
        lines = [
            _line("scheduler", now - self._beat_at, LOOP_STALE_S, "no tick"),
            _line("paging", now - self._signs.paging_tick(), LOOP_STALE_S, "no tick"),
            _line("database", now - self._store_ok_at, STORE_STALE_S, self._store_error),
            self._ledger_line(now),
        ]
        export = self._signs.export()
        return (*lines, export) if export else tuple(lines)

    def ready(self) -> bool:
        """Whether both loops tick and the stores are open."""
        return all(line.verdict is Verdict.OK for line in self.vitals() if line.part != "export")

    async def proof(self) -> Proof:
        """One full round of work: both loops, a result, a durable write and read, the outbox."""
        missing = [one.detail for one in self.vitals()
                   if one.verdict is not Verdict.OK and one.part != "export"]  # fmt: skip
        newest = self._signs.newest_result()
        if newest is None or self._clock.monotonic() - newest > self._signs.result_limit_s():
            missing.append("no probe or canary has had a result lately")
        try:
            holder = await self._read_back()
        except StoreError as exc:
            holder = f"the store cannot be read: {exc}"
        if holder:
            missing.append(holder)
        missing += self._signs.troubles()
        return Proof(tuple(missing))

    def stop(self) -> None:
        """Disarm the watchdog, at an orderly end."""
        self._watchdog.stop()

    async def _read_back(self) -> str:
        row = self._stores.ledger.holder()
        return "" if row is not None else "the heartbeat row cannot be read back"

    def _note_beat(self) -> None:
        beats = self._signs.beats()
        if beats != self._beats_seen:
            self._beats_seen, self._beat_at = beats, self._clock.monotonic()

    def _engine_result(self) -> Result:
        now = self._clock.monotonic()
        recent = {
            what: text for what, (at, text) in self._broken.items() if now - at < BROKEN_FOR_S
        }
        self._broken = {what: self._broken[what] for what in recent}
        if not recent:
            return Result.ok({})
        told = "; ".join(f"{what}: {text}" for what, text in sorted(recent.items())[:5])
        return Result.degraded(Reason.INTERNAL, f"{len(recent)} parts of ours raised: {told}")

    def _config_result(self) -> Result:
        if not self.config_problems:
            return Result.ok({})
        told = f"the changed config is refused, the old one is live: {self.config_problems[0]}"
        return Result.fail(Reason.RECONFIGURED, told, _counted(self.config_problems))

    def _envelope(self, check: str, result: Result) -> RunEnvelope:
        now = instant(self._clock)
        return RunEnvelope(
            check=check, kind="self", generation=self._generation, epoch=0, scheduled_at=now.utc,
            started=now, ended=now, verdict=result.verdict, reason=result.reason,
            detail=result.detail, facts=result.facts, trust=Trust(0.0, 0.0, 0.0),
        )  # fmt: skip


def result_limit_s(config: Config) -> float:
    """Age of the newest result at which nothing seems to run: two minutes, or the plan's pace."""
    paces = [one.every_s for one in config.checks if one.every_s]
    paces += [one.every_s for one in config.routes]
    return max(_RESULT_STALE_S, freshness_limit_s(min(paces, default=86_400.0), _RUN_S))


def _counted(problems: tuple[str, ...]) -> Mapping[str, int]:
    return {"problems": len(problems)}


def _line(part: str, age: float, limit_s: float, why: str) -> VitalLine:
    if age <= limit_s:
        return VitalLine(part, Verdict.OK, age, "")
    return VitalLine(part, Verdict.FAIL, age, f"{part}: {why or 'no sign of life'} for {age:.0f}s")
