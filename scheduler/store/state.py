"""The controller's store: incidents, the outbox, actions and rule states."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Engine, func
from sqlmodel import Session, col, select

from core.clock import Clock
from core.errors import StoreError
from paging.model import Answer, Incident, IncidentState, PageAction
from paging.outbox import FINISHED
from paging.store import Action, Change, OutboxKey, OutboxRow, PagingStore
from scheduler.store import state_steps
from scheduler.store.database import Place, translated
from scheduler.store.documents import read_incident, read_page
from scheduler.store.reader import Reader
from scheduler.store.state_tables import (
    ActionRow,
    ConfigRevisionRow,
    DeliveryRow,
    FoldedRow,
    IncidentEventRow,
    IncidentRow,
    RuleStateRow,
)
from scheduler.store.writer import DEADLINE_S, Writer


class StateStore(PagingStore):
    """Implements PagingStore. What is not async may be called from any thread or process."""

    def __init__(
        self,
        place: Place,
        reader: Reader,
        engine: Engine,
        writer: Writer | None,
        clock: Clock,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """Without `writer` it reads and appends actions; `engine` is for those appends."""
        self._place, self._reader, self._engine = place, reader, engine
        self._writer, self._clock, self._deadline_s = writer, clock, deadline_s

    async def commit(self, change: Change) -> None:
        """All of `change` in one transaction; an outbox row that is known stays as it is."""
        await self._write(state_steps.commit, change)

    async def open_incidents(self) -> Sequence[Incident]:
        """Every incident that is firing, oldest change first."""
        firing = col(IncidentRow.state) == IncidentState.FIRING.value
        return await self._reader.get(lambda session: _incidents(session, firing))

    async def episodes(self) -> Mapping[str, int]:
        """Highest episode per fingerprint, resolved ones included."""
        wanted = select(IncidentRow.fingerprint, func.max(IncidentRow.episode)).group_by(
            IncidentRow.fingerprint
        )
        return dict(await self._reader.get(lambda session: session.exec(wanted).all()))

    async def rule_states(self) -> Mapping[str, str]:
        """JSON text of every rule's state by rule key."""
        rows = await self._reader.get(lambda session: session.exec(select(RuleStateRow)).all())
        return {row.key: row.content for row in rows}

    async def unfinished(self) -> Sequence[OutboxRow]:
        """Rows that no receiver has accepted or refused yet, oldest first."""
        finished = [answer.value for answer in FINISHED]
        wanted = (
            select(DeliveryRow)
            .where(col(DeliveryRow.answer).not_in(finished))
            .order_by(col(DeliveryRow.created_utc), col(DeliveryRow.seq))
        )
        return await self._reader.get(lambda session: _deliveries(session, wanted))

    async def lease(self, key: OutboxKey, epoch: int, until: datetime) -> bool:
        """Take a row for sending; False when another epoch holds it or it is finished."""
        item = state_steps.Lease(key, epoch, until, self._clock.utc())
        return bool(await self._write(state_steps.lease, item))

    async def record(self, row: OutboxRow) -> bool:
        """Keep an attempt's answer; False when the row's epoch is stale or it is finished."""
        return bool(await self._write(state_steps.record, row))

    async def actions(self) -> Sequence[Action]:
        """Actions not yet folded, in the order they were appended."""
        return await self._reader.get(_unfolded)

    async def threads(self, dedup_key: str) -> Mapping[tuple[str, str], str]:
        """Last thread per (receiver, target) that accepted a page of this incident."""
        wanted = (
            select(DeliveryRow.receiver, DeliveryRow.target, DeliveryRow.thread)
            .where(
                col(DeliveryRow.dedup_key) == dedup_key,
                col(DeliveryRow.answer) == Answer.ACCEPTED.value,
            )
            .order_by(col(DeliveryRow.seq))
        )
        rows = await self._reader.get(lambda session: session.exec(wanted).all())
        return {(receiver, target): thread for receiver, target, thread in rows}

    async def keep_config(self, revision: ConfigRevisionRow) -> None:
        """Remember which config is in force from now on."""
        await self._write(state_steps.keep_config, revision.model_dump())

    def append_action(self, action: Action) -> None:
        """Append an action, durable on return; the same id again changes nothing."""
        with translated(self._place), self._engine.begin() as connection:
            state_steps.append_actions(connection, [action])

    def folded(self, action_ids: Sequence[str]) -> frozenset[str]:
        """Which of these actions the paging loop has folded in."""
        wanted = select(FoldedRow.action_id).where(col(FoldedRow.action_id).in_(action_ids))
        return frozenset(self._reader.ask(lambda session: session.exec(wanted).all()))

    def pending_actions(self) -> Sequence[Action]:
        """Actions not yet folded, in the order they were appended."""
        return self._reader.ask(_unfolded)

    def recent_actions(self, limit: int) -> Sequence[Action]:
        """The newest actions, newest first."""
        wanted = select(ActionRow).order_by(col(ActionRow.n).desc()).limit(limit)
        return self._reader.ask(lambda session: [_action(row) for row in session.exec(wanted)])

    def incidents(self, limit: int) -> Sequence[Incident]:
        """Firing ones first, then the newest changed."""
        state, changed = col(IncidentRow.state), col(IncidentRow.changed)
        wanted = select(IncidentRow).order_by(state, changed.desc()).limit(limit)
        return self._reader.ask(
            lambda session: [read_incident(row.document) for row in session.exec(wanted)]
        )

    def history(self, fingerprint: str, limit: int) -> Sequence[tuple[str, Incident]]:
        """What happened to an alert: (event, state of the incident then), newest first."""
        wanted = (
            select(IncidentEventRow)
            .where(col(IncidentEventRow.fingerprint) == fingerprint)
            .order_by(col(IncidentEventRow.n).desc())
            .limit(limit)
        )
        return self._reader.ask(
            lambda session: [
                (row.event, read_incident(row.document)) for row in session.exec(wanted)
            ]
        )

    def deliveries(self, limit: int) -> Sequence[OutboxRow]:
        """The newest pages and what became of them, newest first."""
        wanted = select(DeliveryRow).order_by(col(DeliveryRow.created_utc).desc()).limit(limit)
        return self._reader.ask(lambda session: _deliveries(session, wanted))

    def rebuild_incidents(self) -> int:
        """Derive the incidents anew from their events; how many there are."""
        if self._writer is None:
            raise StoreError("this state was opened for reading")
        return self._writer.call(state_steps.rebuild, None)

    def close(self) -> None:
        """Write what waits, then end the threads."""
        if self._writer:
            self._writer.close()
        self._reader.close()
        self._engine.dispose()

    async def _write(self, step: Callable[..., Any], item: Any) -> Any:
        # Any: the step's own signature ties item and answer (state_steps).
        if self._writer is None:
            raise StoreError("this state was opened for reading")
        return await self._writer.do(step, item, self._deadline_s)


def _incidents(session: Session, which: ColumnElement[bool]) -> list[Incident]:
    wanted = select(IncidentRow).where(which).order_by(col(IncidentRow.changed))
    return [read_incident(row.document) for row in session.exec(wanted)]


def _unfolded(session: Session) -> list[Action]:
    folded = select(FoldedRow.action_id)
    wanted = select(ActionRow).where(col(ActionRow.action_id).not_in(folded))
    return [_action(row) for row in session.exec(wanted.order_by(col(ActionRow.n)))]


def _action(row: ActionRow) -> Action:
    return Action(row.action_id, row.kind, row.subject, row.author, row.reason, row.until, row.at)


def _deliveries(session: Session, wanted: Any) -> list[OutboxRow]:
    # Any: a select of DeliveryRow, whose type depends on how it was built.
    return [_delivery(row) for row in session.exec(wanted)]


def _delivery(row: DeliveryRow) -> OutboxRow:
    return OutboxRow(
        key=OutboxKey(row.dedup_key, row.receiver, row.target, PageAction(row.action), row.seq),
        page=read_page(row.page),
        fallback=row.fallback,
        fallback_of=row.fallback_of,
        due=row.due,
        created=row.created,
        tries=row.tries,
        answer=Answer(row.answer) if row.answer else None,
        detail=row.detail,
        thread=row.thread,
        lease_epoch=row.lease_epoch,
        lease_until=row.lease_until,
    )
