"""What paging knows of its store: durable when the store works, from memory when it fails.

A page is worth more than its record: when a write fails, the page goes out and the write is
kept here, in order, until the store takes it. Keys make a repeat after a crash harmless.
"""

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime

from core.errors import StoreError
from paging.outbox import Lane, lane
from paging.store import Action, Change, OutboxKey, OutboxRow, PagingStore

log = logging.getLogger(__name__)


class Journal:
    """A PagingStore that never loses a write to a StoreError; other exceptions pass."""

    def __init__(self, store: PagingStore) -> None:
        """`store` stays the truth; this only bridges its outages."""
        self._store = store
        self._backlog: deque[Change | OutboxRow] = deque()
        self.failing = False
        self.kept_total = 0

    @property
    def backlog(self) -> int:
        """Writes that wait for the store."""
        return len(self._backlog)

    @property
    def store(self) -> PagingStore:
        """The store itself, for reads that may raise."""
        return self._store

    async def commit(self, change: Change) -> None:
        """Write `change` in one transaction, now or as soon as the store works again."""
        await self._write(change)

    async def record(self, row: OutboxRow) -> bool:
        """Keep an attempt's answer; False when another epoch has taken the row."""
        return await self._write(row)

    async def lease(self, key: OutboxKey, epoch: int, until: datetime) -> bool:
        """Take a row. True without a lease when the store cannot give one."""
        if self._knows(lane(key)):
            return True
        try:
            return await self._store.lease(key, epoch, until)
        except StoreError as exc:
            self._note(exc)
            return True

    async def actions(self) -> Sequence[Action]:
        """Actions not yet folded; none while the store cannot be read."""
        try:
            return await self._store.actions()
        except StoreError as exc:
            self._note(exc)
            return ()

    async def threads(self, dedup_key: str) -> Mapping[tuple[str, str], str]:
        """Threads of an incident; none while the store cannot be read."""
        try:
            return await self._store.threads(dedup_key)
        except StoreError as exc:
            self._note(exc)
            return {}

    async def flush(self) -> None:
        """Write what is waiting, in order, as far as the store lets us."""
        while self._backlog:
            try:
                await self._put(self._backlog[0])
            except StoreError as exc:
                self._note(exc)
                return
            self._backlog.popleft()

    async def _write(self, item: Change | OutboxRow) -> bool:
        await self.flush()
        if not self._backlog:
            try:
                return await self._put(item)
            except StoreError as exc:
                self._note(exc)
        self._backlog.append(item)
        self.kept_total += 1
        return True

    async def _put(self, item: Change | OutboxRow) -> bool:
        taken = True
        if isinstance(item, OutboxRow):
            taken = await self._store.record(item)
        else:
            await self._store.commit(item)
        if self.failing:
            log.warning("paging_store_back")
            self.failing = False
        return taken

    def _knows(self, place: Lane) -> bool:
        """Whether rows of this lane are still unwritten, so that the store cannot lease them."""
        return any(
            lane(row.key) == place
            for item in self._backlog
            for row in ([item] if isinstance(item, OutboxRow) else item.outbox)
        )

    def _note(self, exc: StoreError) -> None:
        if not self.failing:
            log.critical("paging_store_failing error=%s", exc)
        self.failing = True
