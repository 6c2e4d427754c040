"""From paging's values to the rows of the ReadModel: open incidents, and what was told to whom."""

from collections.abc import Callable, Sequence

from core.clock import Clock, Instant, age_s
from core.verdict import Verdict
from paging.model import Answer, Incident, Severity
from paging.roster import display_name
from paging.store import Action, OutboxRow
from scheduler.latest import Latest
from scheduler.readmodel import ActionRequest, IncidentRow, LogRow

LOG_ROWS = 50
_VERDICT_OF = {"blind": Verdict.BLIND, "degraded": Verdict.DEGRADED}
_ANSWER_VERDICT = {
    Answer.ACCEPTED: Verdict.OK,
    Answer.RETRY: Verdict.DEGRADED,
    Answer.REFUSED: Verdict.FAIL,
}


def incident_rows(
    incidents: Sequence[Incident],
    outbox: Sequence[OutboxRow],
    latest: Callable[[str], Latest | None],
    namespace: str,
    clock: Clock,
) -> tuple[IncidentRow, ...]:
    """Open incidents: critical first, then the oldest; muted ones are listed like the others."""
    members: dict[str, list[str]] = {}
    for one in incidents:
        if one.group and one.group != one.fingerprint:
            members.setdefault(one.group, []).append(one.subject)
    ordered = sorted(
        incidents, key=lambda one: (one.severity is not Severity.CRITICAL, one.since.utc)
    )
    return tuple(
        _row(one, tuple(members.get(one.fingerprint, ())), outbox, latest, namespace, clock)
        for one in ordered
    )


def _row(
    one: Incident,
    members: tuple[str, ...],
    outbox: Sequence[OutboxRow],
    latest: Callable[[str], Latest | None],
    namespace: str,
    clock: Clock,
) -> IncidentRow:
    key = one.dedup_key(namespace)
    seen = latest(one.subject)
    age = None if seen is None else age_s(seen.envelope.ended, clock)[0]
    return IncidentRow(
        key=key,
        fingerprint=one.fingerprint,
        episode=one.episode,
        rule=one.rule,
        subject=one.subject,
        severity=one.severity.value,
        state=one.state.value,
        verdict=_VERDICT_OF.get(one.rule, Verdict.FAIL),
        title=one.title,
        summary=one.summary,
        hop=one.hop,
        evidence=one.evidence,
        since=one.since.utc,
        acked_by=one.acked_by,
        acked_until=one.acked_until,
        muted_by=one.muted_by,
        muted_until=None,
        members=members,
        pages=tuple(_told(row) for row in outbox if row.key.dedup_key == key),
        strip=seen.strip if seen else (),
        seen_age_s=age,
    )


def _told(row: OutboxRow) -> str:
    answer = row.answer.value if row.answer else "waiting"
    return (
        f"{display_name(row.key.receiver)} {row.key.action.value}: {answer} {row.detail}".rstrip()
    )


def log_rows(
    outbox: Sequence[OutboxRow], actions: Sequence[Action], folded: frozenset[str]
) -> tuple[LogRow, ...]:
    """What was told, acked and muted, newest first. `folded`: actions that are in force."""
    rows = [
        LogRow(
            at=row.created.utc,
            kind="page",
            who=display_name(row.key.receiver),
            what=f"{row.page.incident.title}: {row.key.action.value}",
            answer=f"{row.answer.value if row.answer else 'waiting'} {row.detail}".rstrip(),
            verdict=_ANSWER_VERDICT.get(row.answer) if row.answer else None,
        )
        for row in outbox
    ]
    rows += [
        LogRow(
            at=one.at.utc,
            kind=one.kind,
            who=one.author,
            what=f"{one.subject} {one.reason}".rstrip(),
            answer="in force" if one.action_id in folded else "stored",
            verdict=Verdict.OK if one.action_id in folded else None,
            who_action=one.action_id if one.action_id in folded else "",
        )
        for one in actions
    ]
    return tuple(sorted(rows, key=lambda row: row.at, reverse=True)[:LOG_ROWS])


def action_of(request: ActionRequest, now: Instant) -> Action:
    """A request as it is appended to the state store."""
    return Action(
        request.action_id, request.kind, request.subject, request.author, request.reason,
        request.until, now,
    )  # fmt: skip
