"""Sends what the outbox owes: lease, deliver, record; retries, fallback, rate, republishing.

A page is *sent* when its receiver said so; nothing is marked before. A crash between sending and
recording sends again under the same key. Rule: docs/design.md, "State, alerts, pages".
"""

import asyncio
import logging
import random
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from core.clock import Clock, Instant, age_s, instant
from core.errors import StoreError
from core.text import safe_text
from paging.incidents import Incidents
from paging.journal import Journal
from paging.model import Answer, Delivery, Page, PageAction, Severity
from paging.outbox import (
    FINISHED,
    RETRY_AFTER_CEILING_S,
    Bucket,
    Lane,
    backoff_s,
    heads,
    is_superseded,
    lane,
    later,
    new_row,
    owed_s,
    stale_because,
    superseded,
    unanswered,
)
from paging.receivers.protocol import Receiver
from paging.roster import Roster, display_name
from paging.rules import seconds_between
from paging.store import Change, OutboxKey, OutboxRow

log = logging.getLogger(__name__)

DELIVER_S = 15.0
OUTER_GRACE_S = 5.0
LEASE_S = 30.0
LEASE_RETRY_S = 5.0
PER_TARGET = 4
TURN_AT_LEAST_S = 0.25
TURN_AT_MOST_S = 0.5
RESOLVED_REPEAT_S = 900.0
ATTEMPTS_KEPT = 200

_QUIET_ACTIONS = frozenset({PageAction.TRIGGER, PageAction.UPDATE})


@dataclass(frozen=True, slots=True)
class Attempt:
    """One answered try, for the log of pages."""

    at: Instant
    page_id: str
    title: str
    receiver: str
    target: str
    action: PageAction
    answer: Answer
    detail: str


@dataclass(slots=True)
class _Target:
    """How one receiver target has been answering."""

    failures: int = 0
    resume_s: float = 0.0
    in_flight: int = 0


@dataclass(slots=True)
class _Republish:
    """A page that its receiver forgets unless it is told again."""

    page: Page
    thread: str
    next_s: float
    until_s: float | None


class Sender:
    """Delivers rows of one controller epoch."""

    def __init__(
        self,
        journal: Journal,
        roster: Roster,
        clock: Clock,
        rng: random.Random,
        epoch: int,
        woken: Callable[[], None],
    ) -> None:
        """`woken` is called when a delivery has ended and more may be due."""
        self._journal, self._roster, self._clock, self._rng = journal, roster, clock, rng
        self._epoch, self._woken = epoch, woken
        self.rows: dict[OutboxKey, OutboxRow] = {}
        self.accepted: dict[tuple[str, str], set[int]] = {}
        self.asked: set[str] = set()
        self.refused_by: dict[str, str] = {}
        self.undeliverable: set[str] = set()
        self.unresolvable: dict[str, str] = {}
        self.attempts: Counter[tuple[str, Answer]] = Counter()
        self.dwell_s: deque[float] = deque(maxlen=ATTEMPTS_KEPT)
        self.dwell_sum_s, self.dwell_count = 0.0, 0
        self.log: deque[Attempt] = deque(maxlen=ATTEMPTS_KEPT)
        self._asked_lanes: set[Lane] = set()
        self._busy: set[Lane] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._targets: dict[tuple[str, str], _Target] = {}
        self._buckets: dict[str, Bucket] = {}
        self._republish: dict[Lane, _Republish] = {}

    # Knowledge ---------------------------------------------------------------------------

    def unsent(self, dedup_key: str) -> bool:
        """Whether no receiver was yet asked to take this incident's trigger."""
        return dedup_key not in self.asked

    def adopt(self, rows: Iterable[OutboxRow]) -> None:
        """Owe these rows too; known ones are left alone."""
        for row in rows:
            self.rows.setdefault(row.key, row)
            if row.tries or row.lease_epoch:
                # A lease without an answer: it may have been sent, so a resolve is owed too.
                self._ask(lane(row.key))

    def remember(self, dedup_key: str, lanes: Iterable[tuple[str, str]]) -> None:
        """After a restart: these (receiver id, target) pairs have accepted a page of it."""
        for receiver, target in lanes:
            self._ask((dedup_key, receiver, target))
            self.accepted.setdefault((dedup_key, receiver), set()).add(1)

    def republish(self, page: Page, lanes: Mapping[tuple[str, str], str]) -> None:
        """Tell `page` again, from now on, to those (receiver id, target) pairs that forget."""
        for (receiver_id, target), thread in lanes.items():
            receiver = self._roster.find(receiver_id)
            if receiver is not None and receiver.republish_every_s is not None:
                again = _Republish(page, thread, self._clock.monotonic(), None)
                self._republish[page.dedup_key, receiver_id, target] = again

    def _ask(self, place: Lane) -> None:
        self.asked.add(place[0])
        self._asked_lanes.add(place)

    def oldest_s(self, now: Instant) -> float:
        """Age of the oldest page that is owed and that no target of its receiver accepted."""
        owed = unanswered(self.rows.values(), self.accepted)
        return max((owed_s(row, now) for row in owed), default=0.0)

    def unaccepted(self, now: Instant) -> int:
        """Pages that are due and not yet accepted."""
        rows = unanswered(self.rows.values(), self.accepted)
        return sum(seconds_between(row.due, now) >= 0 or row.tries > 0 for row in rows)

    def in_use(self) -> set[str]:
        """Ids of receivers that rows or republished pages still need."""
        return {row.key.receiver for row in self.rows.values()} | {
            receiver for _, receiver, _ in self._republish
        }

    def all_down(self, incidents: Incidents, now: Instant) -> bool:
        """Whether some open incident can be told to nobody although all were tried."""
        self.undeliverable = {key for key in self.undeliverable if incidents.leader(key)}
        if self.undeliverable:
            return True
        by_key: dict[str, list[OutboxRow]] = {}
        for row in self.rows.values():
            if row.key.action is PageAction.TRIGGER and row.page.incident.severity is (
                Severity.CRITICAL
            ):
                by_key.setdefault(row.key.dedup_key, []).append(row)
        return any(
            self._nobody_took(key, rows, incidents.config.fallback_after_s, now)
            for key, rows in by_key.items()
        )

    def _nobody_took(
        self, dedup_key: str, rows: list[OutboxRow], limit_s: float, now: Instant
    ) -> bool:
        taken = any(key == dedup_key and seqs for (key, _), seqs in self.accepted.items())
        tried = min(row.tries for row in rows) > 0
        return not taken and tried and max(owed_s(row, now) for row in rows) >= limit_s

    # Work --------------------------------------------------------------------------------

    async def dispatch(self, incidents: Incidents) -> None:
        """Start whatever is due, finish what became stale, bring in the fallback."""
        now = instant(self._clock)
        await self._engage_fallbacks(incidents, now)
        for row, behind in heads(self.rows.values(), self._busy):
            if await self._settled_without_sending(row, behind, incidents, now):
                continue
            if self._may_send(row, now):
                self._start(lane(row.key), self._send_guarded(row, incidents))
        self._start_republishing()

    async def idle(self) -> None:
        """Wait until nothing is in flight. Raises what a delivery raised."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        """Abandon what is in flight: its lease lapses and it is sent again."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def next_due_s(self, now: Instant) -> float:
        """Seconds until a row may be due, 0.25 to 0.5: what ends meanwhile wakes the loop."""
        waits = [-seconds_between(row.due, now) for row in self.rows.values()]
        return min(TURN_AT_MOST_S, max(TURN_AT_LEAST_S, min(waits, default=TURN_AT_MOST_S)))

    async def _settled_without_sending(
        self, row: OutboxRow, behind: list[OutboxRow], incidents: Incidents, now: Instant
    ) -> bool:
        why = stale_because(row, behind, told=self._told(row))
        if not why and row.key.action is PageAction.TRIGGER and row.tries == 0:
            why = "grouped" if incidents.regrouped(row.key.dedup_key) else ""
        if why:
            await self._finish(superseded(row, why, self._epoch), incidents)
            return True
        if row.key.action in _QUIET_ACTIONS and incidents.muted(row.key.dedup_key):
            # Muted time is not owed time: the row's age starts when the mute ends.
            self.rows[row.key] = replace(row, due=now, created=now)
            return True
        return False

    def _told(self, row: OutboxRow) -> bool:
        return lane(row.key) in self._asked_lanes

    def _may_send(self, row: OutboxRow, now: Instant) -> bool:
        if seconds_between(row.due, now) < 0:
            return False
        target = self._target(row.key.receiver, row.key.target)
        limit = 1 if target.failures else PER_TARGET
        if target.in_flight >= limit or target.resume_s > now.boot_s:
            return False
        receiver = self._roster.find(row.key.receiver)
        return receiver is None or self._bucket(row.key.receiver, receiver).take(now.boot_s)

    def _target(self, receiver: str, target: str) -> _Target:
        return self._targets.setdefault((receiver, target), _Target())

    def _bucket(self, receiver_id: str, receiver: Receiver) -> Bucket:
        """One per key: the id holds its fingerprint, so no secret is read here."""
        rate = receiver.rate_per_minute
        fresh = Bucket(rate, max(1.0, (rate or 0.0) / 10), self._clock.monotonic())
        return self._buckets.setdefault(receiver_id.partition("#")[2], fresh)

    def _start(self, place: Lane, work: Coroutine[None, None, None]) -> None:
        self._busy.add(place)
        self._target(place[1], place[2]).in_flight += 1
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(done, place))

    def _ended(self, task: "asyncio.Task[None]", place: Lane) -> None:
        self._tasks.discard(task)
        self._busy.discard(place)
        self._target(place[1], place[2]).in_flight -= 1
        if not task.cancelled() and task.exception() is not None:
            log.error("page_task_failed", exc_info=task.exception())
        self._woken()

    async def _send_guarded(self, row: OutboxRow, incidents: Incidents) -> None:
        """A defect of ours costs this row a wait, never the page."""
        try:
            await self._send(row, incidents)
        except Exception:
            log.exception("page_send_failed receiver=%s", display_name(row.key.receiver))
            if row.key in self.rows:
                self.rows[row.key] = replace(row, due=later(instant(self._clock), LEASE_RETRY_S))

    async def _send(self, row: OutboxRow, incidents: Incidents) -> None:
        until = self._clock.utc() + timedelta(seconds=LEASE_S)
        if not await self._journal.lease(row.key, self._epoch, until):
            await self._not_leased(row)
            return
        page = incidents.page(row) if row.tries == 0 else row.page
        thread = await self._thread(row)
        row = replace(row, page=page, lease_epoch=self._epoch, lease_until=until, thread=thread)
        if row.key.action is PageAction.TRIGGER:
            self._ask(lane(row.key))
        delivery = await self._deliver(row, thread)
        await self._record(row, delivery, incidents)

    async def _not_leased(self, row: OutboxRow) -> None:
        """Another epoch holds the row, or it is finished: ask which, look again later."""
        try:
            known = {one.key for one in await self._journal.store.unfinished()}
        except StoreError:
            known = {row.key}
        if row.key in known:
            self.rows[row.key] = replace(row, due=later(instant(self._clock), LEASE_RETRY_S))
        else:
            self.rows.pop(row.key, None)

    async def _thread(self, row: OutboxRow) -> str:
        if row.thread or row.key.action is PageAction.TRIGGER:
            return row.thread
        threads = await self._journal.threads(row.key.dedup_key)
        return threads.get((row.key.receiver, row.key.target), "")

    async def _deliver(self, row: OutboxRow, thread: str) -> Delivery:
        receiver = self._roster.find(row.key.receiver)
        if receiver is None:
            detail = "this receiver, with the key it was triggered under, is no longer configured"
            self.unresolvable[row.key.dedup_key] = display_name(row.key.receiver)
            return Delivery(Answer.REFUSED, detail, None, thread)
        try:
            async with asyncio.timeout(DELIVER_S + OUTER_GRACE_S):
                return await receiver.deliver(row.page, row.key.target, thread, DELIVER_S)
        except Exception as exc:
            # A broken receiver must not lose the page: it is tried again and falls back.
            log.exception("receiver_raised receiver=%s", display_name(row.key.receiver))
            return Delivery(Answer.RETRY, f"receiver raised {type(exc).__name__}", None, thread)

    async def _record(self, row: OutboxRow, delivery: Delivery, incidents: Incidents) -> None:
        now = instant(self._clock)
        self._count(row, delivery, now)
        wait_s = self._after_answer(row, delivery, now)
        answered = replace(
            row,
            tries=row.tries + 1,
            answer=delivery.answer,
            detail=safe_text(delivery.detail, 300),
            thread=delivery.thread or row.thread,
            due=later(now, wait_s),
            lease_until=None,
        )
        if delivery.answer not in FINISHED:
            self.rows[row.key] = answered
            if not await self._journal.record(answered):
                self.rows.pop(row.key, None)
            return
        await self._finish(answered, incidents)

    def _count(self, row: OutboxRow, delivery: Delivery, now: Instant) -> None:
        name = display_name(row.key.receiver)
        self.attempts[name, delivery.answer] += 1
        page = row.page
        self.log.append(
            Attempt(
                now, page.page_id, page.incident.title, name, row.key.target,
                page.action, delivery.answer, safe_text(delivery.detail, 300),
            )
        )  # fmt: skip

    def _after_answer(self, row: OutboxRow, delivery: Delivery, now: Instant) -> float:
        """Keep the target's manners; returns seconds until this row may be tried again."""
        target = self._target(row.key.receiver, row.key.target)
        if delivery.answer is not Answer.RETRY:
            target.failures, target.resume_s = 0, 0.0
            return 0.0
        target.failures += 1
        asked_s = min(delivery.retry_after_s or 0.0, RETRY_AFTER_CEILING_S)
        target.resume_s = now.boot_s + max(backoff_s(target.failures, self._rng), asked_s)
        return max(backoff_s(row.tries + 1, self._rng), asked_s)

    async def _finish(self, row: OutboxRow, incidents: Incidents) -> None:
        """Record the last word on a row and act on it."""
        stays = await self._journal.record(row)
        self.rows.pop(row.key, None)
        if not stays:
            log.warning("page_record_stale page=%s", row.page.page_id)
        if row.answer is Answer.ACCEPTED:
            self._on_accepted(row)
        elif not is_superseded(row):
            await self._on_refused(row, incidents)

    def _on_accepted(self, row: OutboxRow) -> None:
        key = row.key
        self.refused_by.pop(display_name(key.receiver), None)
        self.undeliverable.discard(key.dedup_key)
        self.accepted.setdefault((key.dedup_key, key.receiver), set()).add(key.seq)
        dwell_s = max(0.0, age_s(row.page.at, self._clock)[0])
        self.dwell_s.append(dwell_s)
        self.dwell_sum_s += dwell_s
        self.dwell_count += 1
        receiver = self._roster.find(key.receiver)
        if receiver is not None and receiver.republish_every_s is not None:
            now_s = self._clock.monotonic()
            over = key.action is PageAction.RESOLVE
            self._republish[lane(key)] = _Republish(
                row.page, row.thread, now_s + receiver.republish_every_s,
                now_s + RESOLVED_REPEAT_S if over else None,
            )  # fmt: skip

    async def _on_refused(self, row: OutboxRow, incidents: Incidents) -> None:
        name = display_name(row.key.receiver)
        self.refused_by[name] = row.detail
        log.error("page_refused receiver=%s detail=%s", name, row.detail)
        if row.key.action is not PageAction.TRIGGER:
            return
        told = incidents.told.get(row.key.dedup_key, set())
        told.discard((row.key.receiver, row.key.target))
        await self._fall_back(row, incidents, "refused for good")
        if incidents.leader(row.key.dedup_key) is None or told:
            return
        if self._roster.find(row.key.receiver) is None:
            incidents.retell(instant(self._clock))
        else:
            log.critical("page_undeliverable subject=%s", row.page.incident.subject)
            self.undeliverable.add(row.key.dedup_key)

    # The second receiver -----------------------------------------------------------------

    async def _engage_fallbacks(self, incidents: Incidents, now: Instant) -> None:
        for row in unanswered(tuple(self.rows.values()), self.accepted):
            waiting = row.key.action is PageAction.TRIGGER and row.fallback
            if not waiting or incidents.muted(row.key.dedup_key):
                continue
            gone = self._roster.find(row.key.receiver) is None
            if gone or owed_s(row, now) >= incidents.config.fallback_after_s:
                await self._fall_back(row, incidents, "not accepted in time")

    async def _fall_back(self, row: OutboxRow, incidents: Incidents, why: str) -> None:
        """Owe the page to the fallback too, once per incident."""
        leader = incidents.leader(row.key.dedup_key)
        told = incidents.told.get(row.key.dedup_key)
        lanes = self._roster.lanes(row.fallback) if row.fallback else ()
        if leader is None or told is None or not lanes or told.issuperset(lanes):
            return
        now = instant(self._clock)
        name = display_name(row.key.receiver)
        rows = [
            new_row(row.page, receiver, target, fallback="", fallback_of=name, due=now)
            for receiver, target in lanes
        ]
        told.update(lanes)
        log.warning("page_falls_back receiver=%s to=%s why=%s", name, row.fallback, why)
        await self._journal.commit(Change((), rows, {}, (), f"fallback: {name} {why}"))
        self.adopt(rows)

    # Receivers that forget ---------------------------------------------------------------

    def _start_republishing(self) -> None:
        now_s = self._clock.monotonic()
        for place, again in tuple(self._republish.items()):
            if again.until_s is not None and now_s >= again.until_s:
                del self._republish[place]
            elif now_s >= again.next_s and place not in self._busy:
                self._start(place, self._send_again(place, again))

    async def _send_again(self, place: Lane, again: _Republish) -> None:
        _, receiver_id, target = place
        receiver = self._roster.find(receiver_id)
        if receiver is None or receiver.republish_every_s is None:
            self._republish.pop(place, None)
            return
        again.next_s = self._clock.monotonic() + receiver.republish_every_s
        closing = any(lane(key) == place and key.action is PageAction.RESOLVE for key in self.rows)
        if closing:
            return
        row = new_row(
            again.page, receiver_id, target, fallback="", fallback_of="",
            due=instant(self._clock),
        )  # fmt: skip
        delivery = await self._deliver(row, again.thread)
        self._count(row, delivery, instant(self._clock))
