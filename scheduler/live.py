"""The ReadModel of the running service: drawn from memory at the moment it is asked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from core.clock import Clock, age_s
from core.reason import Reason
from core.result import Fact
from core.verdict import Verdict, fresh, rank
from scheduler.latest import Latest, LatestTable
from scheduler.readmodel import (
    ActionRequest,
    BalanceRow,
    Board,
    CheckRow,
    CostRow,
    IncidentRow,
    LogRow,
    ReadModel,
    RouteRow,
    SourceRow,
    TroubleLine,
    VitalLine,
)

# A picture that is not painted anew for so long says nothing about the present.
PICTURE_LIMIT_S = 10.0
# A loop that stands still makes the whole screen old; any other part of ours is one blind spot.
_TROUBLE_OF = {"scheduler": "STOPPED", "paging": "STOPPED", "export": "EXPORT"}


@dataclass(frozen=True, slots=True)
class PlanItem:
    """One entry of the plan as screens list it; `limit_s` is its freshness limit."""

    name: str
    kind: str
    title: str
    limit_s: float


@dataclass(frozen=True, slots=True)
class Picture:
    """What the probing loop knows about the pipeline, swapped as a whole every second or two.

    painted_s: when, in the clock's monotonic seconds; None = never.
    """

    routes: tuple[RouteRow, ...] = ()
    balance: tuple[BalanceRow, ...] = ()
    sources: tuple[SourceRow, ...] = ()
    costs: tuple[CostRow, ...] = ()
    painted_s: float | None = None


@dataclass(frozen=True, slots=True)
class PagingPicture:
    """What the paging loop knows: open incidents, and what was told to whom."""

    incidents: tuple[IncidentRow, ...]
    log: tuple[LogRow, ...]


@dataclass(frozen=True, slots=True)
class LiveParts:
    """Where the live ReadModel looks; every callable is safe to call from the serving thread."""

    namespace: str
    clock: Clock
    generation: Callable[[], int]
    plan: Callable[[], Sequence[PlanItem]]
    latest: LatestTable
    account: Callable[[str], Mapping[str, int]]
    picture: Callable[[], Picture]
    paging: Callable[[], PagingPicture]
    vitals: Callable[[], tuple[VitalLine, ...]]
    append: Callable[[ActionRequest], None]
    done: Callable[[Sequence[str]], frozenset[str]]


class LiveReadModel(ReadModel):
    """Answers from the running instance."""

    def __init__(self, parts: LiveParts) -> None:
        """`parts` are read anew at every question."""
        self._parts = parts

    def board(self) -> Board:
        """The whole picture at this moment."""
        parts = self._parts
        picture, paging = self._picture(), parts.paging()
        checks = tuple(self._check(item) for item in parts.plan())
        return Board(
            at=parts.clock.utc(),
            namespace=parts.namespace,
            source="live",
            generation=parts.generation(),
            troubles=troubles(picture.routes, vitals := parts.vitals()),
            vitals=vitals,
            incidents=paging.incidents,
            checks=tuple(sorted(checks, key=lambda row: (-rank(row.verdict), row.name))),
            routes=tuple(self._aged(route) for route in picture.routes),
            balance=picture.balance,
            sources=picture.sources,
            costs=picture.costs,
            log=paging.log,
        )

    def act(self, request: ActionRequest) -> None:
        """Append an action; durable when this returns."""
        self._parts.append(request)

    def done(self, action_ids: Sequence[str]) -> frozenset[str]:
        """Which of these actions the paging loop has folded in."""
        return self._parts.done(action_ids)

    def _check(self, item: PlanItem) -> CheckRow:
        parts = self._parts
        return check_row(item, parts.latest.get(item.name), parts.clock, parts.account(item.name))

    def _picture(self) -> Picture:
        """The picture while it is fresh; then what it said is history, and nothing is known."""
        picture, parts = self._parts.picture(), self._parts
        if picture.painted_s is None:
            return picture
        age_s = parts.clock.monotonic() - picture.painted_s
        if fresh(Verdict.OK, age_s, PICTURE_LIMIT_S) is Verdict.OK:
            return picture
        why = f"the picture of the pipeline is {age_s:.0f} s old"
        return replace(
            picture,
            routes=tuple(_faded(one, why) for one in picture.routes),
            sources=tuple(
                replace(one, verdict=Verdict.BLIND, reason=Reason.STALE.value, detail=why,
                        newest_age_s=None)
                for one in picture.sources
            ),
            balance=(),
        )  # fmt: skip

    def _aged(self, route: RouteRow) -> RouteRow:
        latest = self._parts.latest.get(route.name)
        if latest is None:
            return route
        age, _ = age_s(latest.envelope.ended, self._parts.clock)
        return replace(route, age_s=age, strip=latest.strip)


def _faded(route: RouteRow, why: str) -> RouteRow:
    hops = tuple(replace(cell, verdict=Verdict.BLIND) for cell in route.hops)
    return replace(route, verdict=Verdict.BLIND, reason=Reason.STALE.value, detail=why, hops=hops)


def check_row(
    item: PlanItem, latest: Latest | None, clock: Clock, account: Mapping[str, int]
) -> CheckRow:
    """The row of one plan entry: its verdict only while it is fresh, else `blind`."""
    if latest is None:
        return CheckRow(
            item.name, item.kind, item.title, Verdict.BLIND, None, "starting",
            "no result yet", None, None, {}, account, (),
        )  # fmt: skip
    envelope = latest.envelope
    age, _ = age_s(envelope.ended, clock)
    verdict = fresh(envelope.verdict, age, item.limit_s)
    stale = verdict is not envelope.verdict
    facts: Mapping[str, Fact] = envelope.facts
    return CheckRow(
        name=item.name,
        kind=item.kind,
        title=item.title,
        verdict=verdict,
        was=envelope.verdict if stale else None,
        reason=envelope.reason.value,
        detail=envelope.detail,
        age_s=age,
        last_s=envelope.ended.boot_s - envelope.started.boot_s,
        facts={**facts, "late_s": envelope.trust.late_s, "lag_s": envelope.trust.lag_s,
               "queue_s": envelope.trust.queue_s, "last_ok_utc_s": latest.last_ok_utc_s},
        account=account,
        strip=latest.strip,
    )  # fmt: skip


def troubles(routes: Sequence[RouteRow], vitals: Sequence[VitalLine]) -> tuple[TroubleLine, ...]:
    """The lines of the trust bar: parts of ours that are in trouble, then what cannot be read."""
    lines = [
        TroubleLine(_TROUBLE_OF.get(vital.part, "BLIND"), vital.detail, vital.age_s, None)
        for vital in vitals
        if vital.verdict is not Verdict.OK
    ]  # fmt: skip
    lines += [
        TroubleLine("BLIND", f"{route.name}: {route.detail}", route.age_s or 0.0, None)
        for route in routes
        if route.verdict is Verdict.BLIND and route.reason != "starting"
    ]
    return tuple(lines)
