"""Joins what canaries say with what hops count: scrapes, hop states, findings."""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from core.clock import Clock
from core.reason import Reason
from core.verdict import Verdict
from selfcheck.canary.model import LedgerRow, Outcome, Sent
from selfcheck.canary.route import RouteStatus
from selfcheck.canary.window import is_loss, silent
from selfcheck.hops.evidence import HopState, Inputs, RouteEvidence, hop_state
from selfcheck.hops.finding import Finding
from selfcheck.hops.increase import Window
from selfcheck.hops.localise import localise
from selfcheck.hops.policy import explain_drops
from selfcheck.hops.protocol import HopCounters, HopReader

_KEPT_SCRAPES = 120
_READ_S = 5.0
# How old the evidence of the other routes may be when one of them is located.
_FRESH_S = 0.2
_NO_CONNECTION = frozenset({Reason.REFUSED, Reason.UNREACHABLE, Reason.DNS})
_PASSED = frozenset({Outcome.OK, Outcome.LATE})


class Pipeline:
    """The hops of one plan. Lives in the probing loop."""

    def __init__(
        self,
        readers: Mapping[str, HopReader],
        every_s: float,
        clock: Clock,
        heard: Callable[[HopCounters, HopCounters], None],
    ) -> None:
        """heard: called with each pair of consecutive scrapes of a hop (for metering)."""
        self._readers, self._clock, self._heard = readers, clock, heard
        self.every_s = every_s
        self._named: dict[str, Finding] = {}
        self._evidence: dict[str, RouteEvidence] = {}
        # When the first canary missed in a trouble was sent, by route, until the route is ok.
        self._missed_from: dict[str, float] = {}
        self._looked_s = -math.inf
        self._states: Mapping[str, HopState] | None = None
        self._scrapes: dict[str, deque[HopCounters]] = {
            hop: deque(maxlen=_KEPT_SCRAPES) for hop in readers
        }

    def inherit(self, other: "Pipeline") -> None:
        """Take over the scrapes of hops that both plans have."""
        for hop, scrapes in self._scrapes.items():
            scrapes.extend(other.scrapes(hop))
        self._states = None

    def scrapes(self, hop: str) -> tuple[HopCounters, ...]:
        """What was read of a hop, oldest first."""
        return tuple(self._scrapes.get(hop, ()))

    async def scrape(self, hop: str) -> float:
        """Read one hop; returns the seconds until it wants to be read again."""
        counters = await self._readers[hop].read(min(_READ_S, 2 * self.every_s))
        scrapes = self._scrapes[hop]
        if scrapes:
            self._heard(scrapes[-1], counters)
        scrapes.append(counters)
        self._states = None
        return self.every_s

    async def refresh(self, hops: Sequence[str]) -> None:
        """Read the named hops now: a fault that just showed must be explained by what is so now."""
        await asyncio.gather(*(self.scrape(hop) for hop in hops if hop in self._readers))

    def newest(self, hop: str) -> HopCounters | None:
        """The last scrape of a hop; None when it was never read."""
        scrapes = self._scrapes.get(hop)
        return scrapes[-1] if scrapes else None

    def states(self) -> Mapping[str, HopState]:
        """Every hop that has a reader, over the last scrapes."""
        if self._states is None:
            span = max(60.0, 12 * self.every_s)
            self._states = {
                hop: hop_state(hop, Window.of(tuple(scrapes), span))
                for hop, scrapes in self._scrapes.items()
            }
        return self._states

    def findings(self, routes: Sequence[RouteStatus]) -> Mapping[str, Finding]:
        """One finding per route that loses or is blind, by route."""
        if not [one for one in routes if one.verdict is not Verdict.OK]:
            # Who has lost nothing need not be compared with the others.
            self._evidence, self._looked_s, self._named = {}, -math.inf, {}
            self._missed_from.clear()
            return self._named
        self._look(routes)
        found = {finding.route: finding for finding in localise(self._inputs())}
        # While a route recovers, its canaries no longer tell where they were lost: the place that
        # was found in the same trouble stays.
        self._named = {route: self._kept(finding) for route, finding in found.items()}
        return self._named

    def finding(
        self, status: RouteStatus, routes: Callable[[], Sequence[RouteStatus]]
    ) -> Mapping[str, Finding]:
        """As `findings`, of one route alone; `routes` are asked for when theirs is old.

        What 200 routes tell in one moment would otherwise be localised 200 times over.
        """
        name = status.spec.name
        if self._clock.monotonic() - self._looked_s > _FRESH_S:
            self._look(routes())
        self._evidence[name] = self._dated(status)
        found = {one.route: self._kept(one) for one in localise(self._inputs(), name)}
        others = {route: one for route, one in self._named.items() if route != name}
        self._named = others | found
        return self._named

    def _look(self, routes: Sequence[RouteStatus]) -> None:
        self._evidence = {one.spec.name: self._dated(one) for one in routes}
        self._looked_s = self._clock.monotonic()

    def _dated(self, status: RouteStatus) -> RouteEvidence:
        """The evidence of a route, its trouble dated from the first canary that was missed."""
        told, name = evidence(status), status.spec.name
        known = self._missed_from.pop(name, None)
        given = (told.missed_from, known if told.verdict is not Verdict.OK else None)
        since = min((at for at in given if at is not None), default=None)
        if since is None:
            return told
        self._missed_from[name] = since
        return replace(told, missed_from=since)

    def _inputs(self) -> Inputs:
        return Inputs(tuple(self._evidence.values()), self.states(), None)

    def _kept(self, finding: Finding) -> Finding:
        before = self._named.get(finding.route)
        return before if before is not None and before.hop and not finding.hop else finding

    def intent(self, status: RouteStatus, row: LedgerRow) -> str:
        """Evidence that a hop of the route dropped `row` on purpose; "" when there is none."""
        signal, states = status.spec.signal, self.states()
        balances = [
            states[hop].balances[signal]
            for hop in status.spec.hops
            if hop in states and signal in states[hop].balances
        ]
        others = [one for one in status.rows if one.canary.key != row.canary.key]
        lost = replace(row, outcome=Outcome.LOST)
        if row.canary.key not in explain_drops([lost, *others], balances):
            return ""
        moved = [
            f"{balance.hop}: {component} dropped {count} on purpose"
            for balance in balances
            for component, count in balance.intended_by.items()
        ]
        return "; ".join(moved)

    async def close(self) -> None:
        """Close the readers."""
        for reader in self._readers.values():
            await reader.close()


def evidence(status: RouteStatus) -> RouteEvidence:
    """What the newest judged canaries of a route say, as localisation takes it."""
    rows = status.rows
    declared = status.spec.expect_drop is not None
    stamped: dict[str, int] = {}
    for row in rows:
        for hop in row.hop_stamps:
            stamped[hop] = stamped.get(hop, 0) + 1
    return RouteEvidence(
        name=status.spec.name,
        signal=status.spec.signal,
        hops=status.spec.hops,
        verdict=status.verdict,
        reason=status.reason,
        lost=sum(row.outcome in {Outcome.LOST, Outcome.ALTERED} for row in rows),
        of=len(rows),
        ok_of=sum(row.outcome in _PASSED for row in rows),
        rejected=sum(row.outcome is Outcome.REJECTED for row in rows),
        refused_connection=any(_no_connection(row) for row in rows),
        maybe_silent=sum(silent(row) for row in rows),
        read_broken=_read_broken(status),
        never_seen=not status.ever_seen,
        policy_dropped=0 if declared else sum(r.outcome is Outcome.POLICY_DROP for r in rows),
        drop_declared=declared,
        stamped=stamped,
        by=status.spec.by,
        passed_at=tuple(_sent_at(row) for row in rows if row.outcome in _PASSED),
        missed_from=min((_sent_at(row) for row in rows if _missed(row, declared)), default=None),
    )


def _sent_at(row: LedgerRow) -> float:
    return row.canary.stamp_ns / 1e9


def _missed(row: LedgerRow, declared: bool) -> bool:
    dropped = row.outcome is Outcome.POLICY_DROP and not declared
    return dropped or is_loss(row)


def _no_connection(row: LedgerRow) -> bool:
    receipt = row.receipt
    return (
        receipt is not None and receipt.sent is Sent.REJECTED and receipt.reason in _NO_CONNECTION
    )


def _read_broken(status: RouteStatus) -> Reason | None:
    if status.verdict is Verdict.BLIND and status.reason in {
        Reason.READBACK,
        Reason.AUTH,
        Reason.BACKEND_PROTOCOL,
        Reason.THROTTLED,
    }:
        return status.reason
    # A cache that answers hides no dead store behind it.
    proving = [path for path in status.paths if path.evidence]
    tried = [path for path in proving if path.ok or path.lost or path.blind]
    blind = bool(tried) and not [path for path in tried if path.verdict is not Verdict.BLIND]
    return Reason.READBACK if blind else None
