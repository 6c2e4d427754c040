"""A PagingStore in memory: for tests, for `coalmine drill`, and when there is no disk to trust."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from core.clock import Clock
from paging.model import Answer, Incident, IncidentState
from paging.outbox import FINISHED
from paging.store import Action, Change, OutboxKey, OutboxRow


class MemoryStore:
    """Keeps what a PagingStore must keep, for as long as the object lives."""

    def __init__(self, clock: Clock) -> None:
        """`clock` decides when a lease has lapsed."""
        self._clock = clock
        self.incidents: dict[str, Incident] = {}
        self.highest: dict[str, int] = {}
        self.states: dict[str, str] = {}
        self.rows: dict[OutboxKey, OutboxRow] = {}
        self.events: list[str] = []
        self._actions: dict[str, Action] = {}
        self._folded: set[str] = set()

    async def commit(self, change: Change) -> None:
        """All of `change`; a row that is already known keeps what is known of it."""
        for incident in change.incidents:
            key = f"{incident.fingerprint}:{incident.episode}"
            self.incidents[key] = incident
            highest = self.highest.get(incident.fingerprint, 0)
            self.highest[incident.fingerprint] = max(highest, incident.episode)
        for row in change.outbox:
            self.rows.setdefault(row.key, row)
        self.states.update(change.rule_states)
        self._folded.update(change.folded_actions)
        self.events.append(change.event)

    async def open_incidents(self) -> Sequence[Incident]:
        """Every incident that is firing."""
        return [one for one in self.incidents.values() if one.state is IncidentState.FIRING]

    async def episodes(self) -> Mapping[str, int]:
        """Highest episode per fingerprint."""
        return dict(self.highest)

    async def rule_states(self) -> Mapping[str, str]:
        """JSON text by rule key."""
        return dict(self.states)

    async def unfinished(self) -> Sequence[OutboxRow]:
        """Rows without a final answer, oldest first."""
        rows = [row for row in self.rows.values() if row.answer not in FINISHED]
        return sorted(rows, key=lambda row: (row.created.utc, row.key.seq))

    async def lease(self, key: OutboxKey, epoch: int, until: datetime) -> bool:
        """Take the row unless it is finished or held by another epoch."""
        row = self.rows.get(key)
        if row is None or row.answer in FINISHED:
            return False
        held = row.lease_until is not None and row.lease_until > self._clock.utc()
        if row.lease_epoch > epoch or (held and row.lease_epoch != epoch):
            return False
        self.rows[key] = replace(row, lease_epoch=epoch, lease_until=until)
        return True

    async def record(self, row: OutboxRow) -> bool:
        """Keep the answer unless a later epoch has the row."""
        kept = self.rows.get(row.key)
        if kept is not None and (kept.lease_epoch > row.lease_epoch or kept.answer in FINISHED):
            return False
        self.rows[row.key] = row
        return True

    async def actions(self) -> Sequence[Action]:
        """Actions not yet folded, in the order they were appended."""
        return [act for key, act in self._actions.items() if key not in self._folded]

    async def threads(self, dedup_key: str) -> Mapping[tuple[str, str], str]:
        """Last thread per (receiver, target) that has accepted a page of this incident."""
        accepted = [
            row
            for row in self.rows.values()
            if row.key.dedup_key == dedup_key and row.answer is Answer.ACCEPTED
        ]
        accepted.sort(key=lambda row: row.key.seq)
        return {(row.key.receiver, row.key.target): row.thread for row in accepted}

    def append_action(self, action: Action) -> None:
        """What API, CLI or terminal do; the same id again changes nothing."""
        self._actions.setdefault(action.action_id, action)
