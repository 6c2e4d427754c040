"""What the state's writer does: each step takes all waiting items of its kind at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, or_, select, update
from sqlmodel import col

from paging.model import Incident
from paging.outbox import FINISHED
from paging.store import Action, Change, OutboxKey, OutboxRow
from scheduler.store.database import upsert
from scheduler.store.documents import read_incident, write_incident, write_page
from scheduler.store.state_tables import (
    ActionRow,
    ConfigRevisionRow,
    DeliveryRow,
    FoldedRow,
    IncidentEventRow,
    IncidentRow,
    RuleStateRow,
)

Done = Sequence[None]
_FINISHED = tuple(answer.value for answer in FINISHED)


@dataclass(frozen=True, slots=True)
class Lease:
    """A wish to send the row of `key` until `until`, made at `now` by `epoch`."""

    key: OutboxKey
    epoch: int
    until: datetime
    now: datetime


def commit(connection: Connection, changes: Sequence[Change]) -> Done:
    """Events, projection, outbox, rule states and folded marks."""
    for change in changes:
        events = [
            {
                "fingerprint": incident.fingerprint,
                "episode": incident.episode,
                "event": change.event,
                "document": write_incident(incident),
            }
            for incident in change.incidents
        ]
        if events:
            connection.execute(insert(IncidentEventRow), events)
        upsert(connection, IncidentRow, [_projection(one) for one in change.incidents])
        upsert(connection, DeliveryRow, [_delivery(row) for row in change.outbox], ignore=True)
        states = [{"key": key, "content": text} for key, text in change.rule_states.items()]
        upsert(connection, RuleStateRow, states)
        folded = [{"action_id": action_id} for action_id in change.folded_actions]
        upsert(connection, FoldedRow, folded, ignore=True)
    return [None] * len(changes)


def lease(connection: Connection, wishes: Sequence[Lease]) -> list[bool]:
    """Compare and set: at most one epoch holds a row, and a later one wins once it lapsed."""
    answers = []
    for wish in wishes:
        free = or_(
            col(DeliveryRow.lease_until).is_(None),
            col(DeliveryRow.lease_until) <= wish.now,
            col(DeliveryRow.lease_epoch) == wish.epoch,
        )
        taken = (
            update(DeliveryRow)
            .where(_may_change(wish.key, wish.epoch), free)
            .values(lease_epoch=wish.epoch, lease_until=wish.until)
        )
        answers.append(connection.execute(taken).rowcount == 1)
    return answers


def record(connection: Connection, rows: Sequence[OutboxRow]) -> list[bool]:
    """Keep answers, unless a later epoch has the row or it is finished."""
    answers = []
    for row in rows:
        values = _delivery(row)
        kept = update(DeliveryRow).where(_may_change(row.key, row.lease_epoch)).values(values)
        known = select(DeliveryRow.seq).where(_is(row.key))  # type: ignore[call-overload]  # a column
        recorded = connection.execute(kept).rowcount == 1
        if not recorded and connection.execute(known).first() is None:
            connection.execute(insert(DeliveryRow), values)
            recorded = True
        answers.append(recorded)
    return answers


def append_actions(connection: Connection, actions: Sequence[Action]) -> Done:
    """Append, once per action id."""
    rows = [
        {
            "action_id": action.action_id,
            "kind": action.kind,
            "subject": action.subject,
            "author": action.author,
            "reason": action.reason,
            "until": action.until,
            "at": action.at,
        }
        for action in actions
    ]
    upsert(connection, ActionRow, rows, ignore=True)
    return [None] * len(actions)


def keep_config(connection: Connection, rows: Sequence[dict[str, Any]]) -> Done:
    """Remember config revisions; the values are of the types of the columns."""
    upsert(connection, ConfigRevisionRow, list(rows))
    return [None] * len(rows)


def rebuild(connection: Connection, orders: Sequence[None]) -> list[int]:
    """Derive the projection anew: the newest event of each episode."""
    newest: dict[tuple[str, int], Incident] = {}
    events = select(IncidentEventRow.document).order_by(col(IncidentEventRow.n))  # type: ignore[call-overload]  # a column
    for (document,) in connection.execute(events):
        incident = read_incident(document)
        newest[incident.fingerprint, incident.episode] = incident
    connection.execute(delete(IncidentRow))
    upsert(connection, IncidentRow, [_projection(incident) for incident in newest.values()])
    return [len(newest)] * len(orders)


def _is(key: OutboxKey) -> ColumnElement[bool]:
    return and_(
        col(DeliveryRow.dedup_key) == key.dedup_key,
        col(DeliveryRow.receiver) == key.receiver,
        col(DeliveryRow.target) == key.target,
        col(DeliveryRow.action) == key.action.value,
        col(DeliveryRow.seq) == key.seq,
    )


def _may_change(key: OutboxKey, epoch: int) -> ColumnElement[bool]:
    return and_(
        _is(key),
        col(DeliveryRow.answer).not_in(_FINISHED),
        col(DeliveryRow.lease_epoch) <= epoch,
    )


def _projection(incident: Incident) -> dict[str, Any]:
    # Any: as the columns are.
    return {
        "fingerprint": incident.fingerprint,
        "episode": incident.episode,
        "state": incident.state.value,
        "changed": incident.changed.utc,
        "document": write_incident(incident),
    }


def _delivery(row: OutboxRow) -> dict[str, Any]:
    # Any: as the columns are.
    return {
        "dedup_key": row.key.dedup_key,
        "receiver": row.key.receiver,
        "target": row.key.target,
        "action": row.key.action.value,
        "seq": row.key.seq,
        "page": write_page(row.page),
        "fallback": row.fallback,
        "fallback_of": row.fallback_of,
        "due": row.due,
        "created": row.created,
        "created_utc": row.created.utc,
        "tries": row.tries,
        "answer": row.answer.value if row.answer else "",
        "detail": row.detail,
        "thread": row.thread,
        "lease_epoch": row.lease_epoch,
        "lease_until": row.lease_until,
    }
