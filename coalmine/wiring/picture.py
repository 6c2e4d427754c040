"""From live values to the rows of the ReadModel. Pure."""

from collections.abc import Mapping, Sequence

from coalmine.config.model import SourceOptions
from coalmine.wiring.paging import source_check, source_every_s
from core.clock import Clock, age_s
from core.verdict import Verdict, fresh, freshness_limit_s
from scheduler.latest import Latest
from scheduler.readmodel import (
    BalanceRow,
    HopCell,
    PathRow,
    RecheckRow,
    RouteRow,
    SourceRow,
    VolumeRow,
)
from selfcheck.canary.model import Outcome, Sent
from selfcheck.canary.recheck.model import ACCOUNTED, RecheckAccount
from selfcheck.canary.route import PathStatus, RouteStatus
from selfcheck.canary.volume import Volume
from selfcheck.hops.balance import HopBalance
from selfcheck.hops.evidence import HopState
from selfcheck.hops.finding import Confidence, Finding

SOURCE_DEADLINE_S = 12.0


def route_row(
    status: RouteStatus,
    title: str,
    finding: Finding | None,
    rechecks: Sequence[RecheckAccount] = (),
    volume: Volume | None = None,
) -> RouteRow:
    """A route for screens, API and metrics."""
    account = status.account
    outcomes = {
        outcome.value: (account.by_outcome.get(outcome, 0) if account else 0) for outcome in Outcome
    }
    return RouteRow(
        name=status.spec.name,
        signal=status.spec.signal.value,
        title=title,
        verdict=status.verdict,
        reason=status.reason.value,
        detail=status.detail,
        hops=hop_cells(status, finding),
        sent=account.sent if account else 0,
        outcomes=outcomes,
        balanced=account.balanced if account else False,
        duplicates=status.duplicates,
        delay_p50_s=status.delay_p50_s,
        delay_p99_s=status.delay_p99_s,
        deadline_s=status.deadline_s,
        finding=finding.sentence() if finding else "",
        evidence=(*status.clocks, *(finding.evidence if finding else ())),
        age_s=None,
        strip=(),
        paths=tuple(map(_path_row, status.paths)),
        rechecks=tuple(map(_recheck_row, rechecks)),
        volume=None if volume is None else _volume_row(status.spec.backend, volume),
    )


def _volume_row(backend: str, volume: Volume) -> VolumeRow:
    today, ever = volume.today, volume.ever
    return VolumeRow(backend, today.bytes_sent, today.reads, ever.bytes_sent, ever.reads)


def _path_row(path: PathStatus) -> PathRow:
    return PathRow(
        path.name, path.verdict, path.reason.value, path.ok, path.lost, path.blind,
        path.delay_p50_s, path.delay_p99_s, path.since,
    )  # fmt: skip


def _recheck_row(account: RecheckAccount) -> RecheckRow:
    states = {state.value: account.by_state.get(state, 0) for state in ACCOUNTED}
    return RecheckRow(account.age, account.due, states, account.balanced)


def hop_cells(status: RouteStatus, finding: Finding | None) -> tuple[HopCell, ...]:
    """One cell per hop: before the located hop all is well, after it nothing is known."""
    cells = []
    beyond = False
    for hop in status.spec.hops:
        verdict, share = Verdict.OK, None
        located = finding is not None and finding.hop == hop
        if located:
            verdict = status.verdict
            share = status.losses / len(status.rows) if status.rows else None
        elif (
            beyond
            or status.verdict is Verdict.BLIND
            or (status.verdict is not Verdict.OK and _unplaced(finding))
        ):
            verdict = Verdict.BLIND
        beyond = beyond or located
        cells.append(HopCell(hop, verdict, _delay(hop, status), share, ""))
    return tuple(cells)


def _unplaced(finding: Finding | None) -> bool:
    return finding is None or not finding.hop


def _delay(hop: str, status: RouteStatus) -> float | None:
    if hop == "read":
        return status.delay_p50_s
    if hop == "send":
        acks = [
            row.receipt.elapsed_s
            for row in status.rows
            if row.receipt is not None and row.receipt.sent is Sent.ACCEPTED
        ]
        return max(acks) if acks else None
    return None


def balance_rows(states: Mapping[str, HopState]) -> tuple[BalanceRow, ...]:
    """The hop balance; rows of signals that no counter mentions are left out."""
    return tuple(
        _balance_row(balance, state)
        for state in states.values()
        for balance in state.balances.values()
        if balance.unread or balance.came_in or balance.went_out
    )


def _balance_row(balance: HopBalance, state: HopState) -> BalanceRow:
    told = balance.unread or balance.evidence
    return BalanceRow(
        hop=balance.hop,
        signal=balance.signal.value,
        came_in=balance.came_in,
        went_out=balance.went_out,
        stored=balance.stored,
        intended=balance.intended,
        dropped=balance.dropped,
        loss=balance.loss if balance.lossy or balance.loss is None else 0,
        evidence=told[0] if told else ("own counters" if state.reachable else "not reachable"),
        age_s=balance.seconds,
    )


def finding_facts(finding: Finding) -> dict[str, str | float]:
    """A finding as the facts that paging reads: hop, sentence, confidence, evidence."""
    facts: dict[str, str | float] = {"finding": finding.sentence()}
    if finding.hop:
        facts["hop"] = finding.hop
    if finding.confidence is not Confidence.NONE:
        facts["confidence"] = finding.confidence.value
    for number, line in enumerate(finding.evidence[:5], 1):
        facts[f"evidence_{number}"] = line
    if finding.missing:
        facts["missing"] = "; ".join(finding.missing[:3])
    if finding.time_to_loss_s is not None:
        facts["time_to_loss_s"] = finding.time_to_loss_s
    return facts


def source_row(source: SourceOptions, latest: Latest | None, clock: Clock) -> SourceRow:
    """An expected source; what was said of it too long ago is `blind`."""
    if latest is None:
        return SourceRow(source.name, source.backend, Verdict.BLIND, "starting", "no result yet",
                         None)  # fmt: skip
    envelope = latest.envelope
    age, _ = age_s(envelope.ended, clock)
    limit = freshness_limit_s(source_every_s(source.quiet_after), SOURCE_DEADLINE_S)
    newest = envelope.facts.get("newest_age_s")
    detail = envelope.detail
    if envelope.verdict is Verdict.FAIL:
        detail = f"{source_check(source.name)}: {detail}"
    return SourceRow(
        name=source.name,
        backend=source.backend,
        verdict=fresh(envelope.verdict, age, limit),
        reason=envelope.reason.value,
        detail=detail,
        newest_age_s=float(newest) + age if isinstance(newest, int | float) else None,
    )
