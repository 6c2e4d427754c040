"""The ReadModel of a service that does not answer: drawn from what its stores last kept.

Every verdict is aged as in the live one, so what a dead service left behind soon reads `blind`.
What the files do not hold (the account of runs, the hop balance, money) is absent, never zero.
"""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from core.clock import Clock, age_s, instant
from core.reason import Reason
from core.result import Fact, RunEnvelope
from core.verdict import Verdict, fresh, rank
from paging.model import IncidentState
from scheduler.latest import STRIP_CELL_S, STRIP_CELLS, Latest
from scheduler.life import Life, life_of
from scheduler.live import PlanItem, check_row, troubles
from scheduler.readmodel import (
    ActionRequest,
    Board,
    HopCell,
    ReadModel,
    RouteRow,
    SourceRow,
    TroubleLine,
    VitalLine,
)
from scheduler.store import SamplesStore, Stores
from scheduler.store.samples import Vital
from scheduler.told import LOG_ROWS, action_of, incident_rows, log_rows
from selfcheck.canary.deadline import percentile
from selfcheck.canary.model import Account, Outcome

# Three of the ten-second rounds in which a service keeps its vitals.
VITAL_STALE_S = 30.0
_INCIDENTS = 500
_DELAYS = 1000
_RUNS = 200
_SCHEDULER = "scheduler"


@dataclass(frozen=True, slots=True)
class OfflineRoute:
    """A route as configured: its hops in the order of the flow, ends included.

    limit_s: its freshness limit for a given deadline, both in seconds.
    """

    name: str
    signal: str
    title: str
    hops: tuple[str, ...]
    limit_s: Callable[[float], float]


@dataclass(frozen=True, slots=True)
class OfflineParts:
    """Where the offline ReadModel looks; `stores` are open for reading.

    sources: the rows of expected sources, from the newest result of each check.
    served: whether a service runs on these stores; None when only its vitals can tell.
    """

    namespace: str
    clock: Clock
    stores: Stores
    plan: Sequence[PlanItem]
    routes: Sequence[OfflineRoute]
    sources: Callable[[Callable[[str], Latest | None]], tuple[SourceRow, ...]]
    served: Callable[[], bool | None]


@dataclass(frozen=True, slots=True)
class _Sent:
    """What the ledger knows of the routes."""

    accounts: Mapping[str, Account]
    delays_s: Mapping[str, Sequence[float]]


class OfflineReadModel(ReadModel):
    """Answers from the stores' files. To be asked from a thread that runs no event loop."""

    source = "files"

    def __init__(self, parts: OfflineParts) -> None:
        """`parts` are read anew at every question."""
        self._parts = parts

    def board(self) -> Board:
        """The whole picture as it was kept, with its age. Raises StoreError."""
        parts = self._parts
        latest = self._latest()
        sent = asyncio.run(self._sent())
        vitals = self._vitals()
        stopped = _stopped(vitals)
        plan = [_in_force(item, parts.routes, latest, stopped=stopped) for item in parts.plan]
        limits = {item.name: item.limit_s for item in plan}
        sources = parts.sources(latest.get)
        routes = tuple(
            _route_row(one, latest.get(one.name), sent, limits[one.name], parts.clock)
            for one in parts.routes
        )
        checks = [check_row(item, latest.get(item.name), parts.clock, {}) for item in plan]
        told = parts.stores.state.deliveries(LOG_ROWS)
        actions = parts.stores.state.recent_actions(LOG_ROWS)
        firing = [
            one
            for one in parts.stores.state.incidents(_INCIDENTS)
            if one.state is IncidentState.FIRING
        ]
        return Board(
            at=parts.clock.utc(),
            namespace=parts.namespace,
            source="files",
            generation=max((one.envelope.generation for one in latest.values()), default=0),
            troubles=_troubles(routes, vitals),
            vitals=vitals,
            incidents=incident_rows(firing, told, latest.get, parts.namespace, parts.clock),
            checks=tuple(sorted(checks, key=lambda row: (-rank(row.verdict), row.name))),
            routes=routes,
            balance=(),
            sources=tuple(map(_faded, sources)) if stopped else sources,
            costs=(),
            log=log_rows(told, actions, self.done([one.action_id for one in actions])),
        )

    def act(self, request: ActionRequest) -> None:
        """Keep an action, durable on return; a service folds it in when it runs again."""
        self._parts.stores.state.append_action(action_of(request, instant(self._parts.clock)))

    def done(self, action_ids: Sequence[str]) -> frozenset[str]:
        """Which of these actions a service has folded in."""
        return self._parts.stores.state.folded(action_ids)

    def canary(self, canary_id: str) -> Life | None:
        """All that the ledger's file holds of one canary. Raises StoreError."""
        return asyncio.run(life_of(self._parts.stores.ledger, canary_id))

    def close(self) -> None:
        """Close the stores."""
        self._parts.stores.close()

    def _latest(self) -> dict[str, Latest]:
        samples = self._parts.stores.samples
        return {
            one.check: Latest(
                one,
                _last_ok_utc_s(one, samples),
                samples.strip(one.check, STRIP_CELLS, STRIP_CELL_S),
            )
            for one in samples.latest_all()
        }

    async def _sent(self) -> _Sent:
        ledger = self._parts.stores.ledger
        delays = {one.name: await ledger.delays_s(one.name, _DELAYS) for one in self._parts.routes}
        return _Sent(await ledger.accounts(), delays)

    def _vitals(self) -> tuple[VitalLine, ...]:
        kept = self._parts.stores.samples.vitals()
        served = self._parts.served()
        lines = tuple(_vital_line(one, self._parts.clock, served=served) for one in kept)
        if any(line.part == _SCHEDULER for line in lines):
            return lines
        never = VitalLine(_SCHEDULER, Verdict.FAIL, 0.0, "no tick was ever kept")
        return (*lines, never)


def _last_ok_utc_s(envelope: RunEnvelope, samples: SamplesStore) -> float:
    """0 = never. Once it is not ok, when it last turned ok: unchanged runs have no rows."""
    candidates = (envelope, *samples.runs(envelope.check, _RUNS))
    ok = [one.ended.utc.timestamp() for one in candidates if one.verdict is Verdict.OK]
    return ok[0] if ok else 0.0


def _vital_line(vital: Vital, clock: Clock, *, served: bool | None) -> VitalLine:
    age, _ = age_s(vital.at, clock)
    if vital.part == _SCHEDULER and served is False:
        text = f"not running (last tick {_told_age(age)} ago), all below is old"
        return VitalLine(vital.part, Verdict.FAIL, age, text)
    if age <= VITAL_STALE_S:
        return VitalLine(vital.part, vital.verdict, age, vital.detail)
    if vital.part == _SCHEDULER:
        text = f"no tick for {_told_age(age)}, all below is old"
        return VitalLine(vital.part, Verdict.FAIL, age, text)
    return VitalLine(vital.part, Verdict.BLIND, age, f"{vital.part}: no word for {_told_age(age)}")


def _stopped(vitals: Sequence[VitalLine]) -> list[VitalLine]:
    return [one for one in vitals if one.part == _SCHEDULER and one.verdict is not Verdict.OK]


def _in_force(
    item: PlanItem,
    routes: Sequence[OfflineRoute],
    latest: Mapping[str, Latest],
    *,
    stopped: Sequence[VitalLine],
) -> PlanItem:
    """With the freshness limit that holds now: none at all when nothing ticks.

    A route's limit follows from the deadline that its newest result told, when it told one.
    """
    if stopped:
        return replace(item, limit_s=math.nan)
    newest = latest.get(item.name)
    told = 0.0 if newest is None else float(newest.envelope.facts.get("route_deadline_s", 0.0))
    limits = [one.limit_s(told) for one in routes if one.name == item.name and told > 0]
    return replace(item, limit_s=limits[0]) if limits else item


def _faded(row: SourceRow) -> SourceRow:
    if row.verdict is Verdict.BLIND:
        return row
    return replace(
        row,
        verdict=Verdict.BLIND,
        reason=Reason.STALE.value,
        detail=f"was {row.verdict.value}: {row.detail}".removesuffix(": "),
    )


def _told_age(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f}{unit}"
    return f"{seconds:.0f}s"


def _troubles(routes: Sequence[RouteRow], vitals: Sequence[VitalLine]) -> tuple[TroubleLine, ...]:
    """One line when nothing ticks: everything else follows from that."""
    stopped = _stopped(vitals)
    return troubles((), stopped) if stopped else troubles(routes, vitals)


def _route_row(
    one: OfflineRoute, latest: Latest | None, sent: _Sent, limit_s: float, clock: Clock
) -> RouteRow:
    envelope = None if latest is None else latest.envelope
    age = None if envelope is None else age_s(envelope.ended, clock)[0]
    verdict = Verdict.BLIND
    if envelope is not None and age is not None:
        verdict = fresh(envelope.verdict, age, limit_s)
    facts: Mapping[str, Fact] = {} if envelope is None else envelope.facts
    account, delays = sent.accounts.get(one.name), sent.delays_s[one.name]
    return RouteRow(
        name=one.name,
        signal=one.signal,
        title=one.title,
        verdict=verdict,
        reason="starting" if envelope is None else envelope.reason.value,
        detail=_detail(envelope, verdict),
        hops=_hop_cells(one.hops, verdict, str(facts.get("hop", ""))),
        sent=account.sent if account else 0,
        outcomes={
            outcome.value: account.by_outcome.get(outcome, 0) if account else 0
            for outcome in Outcome
        },
        balanced=account.balanced if account else True,
        duplicates=str(facts.get("duplicates", "not_observable")),
        delay_p50_s=percentile(delays, 0.5) if delays else None,
        delay_p99_s=percentile(delays, 0.99) if delays else None,
        deadline_s=float(facts.get("route_deadline_s", 0.0)),
        finding=str(facts.get("finding", "")),
        evidence=tuple(str(v) for k, v in facts.items() if k.startswith("evidence_")),
        age_s=age,
        strip=latest.strip if latest else (),
    )


def _detail(envelope: RunEnvelope | None, verdict: Verdict) -> str:
    if envelope is None:
        return "no result yet"
    stale = verdict is not envelope.verdict
    if not stale:
        return envelope.detail
    return f"was {envelope.verdict.value}: {envelope.detail}".removesuffix(": ")


def _hop_cells(hops: Sequence[str], verdict: Verdict, located: str) -> tuple[HopCell, ...]:
    """As far as the newest result told: all well, one located hop, or nothing known."""
    known = verdict in {Verdict.FAIL, Verdict.DEGRADED} and located in hops
    cells = []
    state = Verdict.OK if known or verdict is Verdict.OK else Verdict.BLIND
    for hop in hops:
        if known and hop == located:
            cells.append(HopCell(hop, verdict, None, None, ""))
            state = Verdict.BLIND
        else:
            cells.append(HopCell(hop, state, None, None, ""))
    return tuple(cells)
