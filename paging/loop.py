"""One turn of paging after the other: fold what happened, commit it, send what is owed.

Everything that pages goes through `turn()`; the thread around it is in `controller.py`, so that
tests drive it on a virtual clock.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from core.clock import Clock, Instant, instant
from core.errors import StoreError
from core.reason import Reason
from core.result import Result, RunEnvelope, Trust
from paging.config import PagingConfig
from paging.grouping import leads
from paging.heartbeats import Beat, Heartbeats, Proof
from paging.incidents import Incidents
from paging.journal import Journal
from paging.model import Answer, Incident, Page, PageAction
from paging.queue import ResultsQueue
from paging.receivers.http import HttpClient
from paging.receivers.protocol import Receiver, ReceiverParts
from paging.roster import Roster
from paging.sender import Attempt, Sender
from paging.store import Change, OutboxRow, PagingStore

log = logging.getLogger(__name__)

AT_ONCE = 1000
TICK_S = 1.0
SWEEP_S = 10.0
ACTIONS_S = 0.4
SELF_S = 5.0
HEARTBEAT_FAILURES = 3
SELF_CHECK = "coalmine.paging"

ProofOf = Callable[[], Awaitable[Proof]]


@dataclass(frozen=True, slots=True)
class PagingSnapshot:
    """Paging as the screens and `/metrics` may see it; replaced as a whole, never changed.

    troubles: what is wrong with paging itself. unresolvable: dedup key to receiver name.
    dwell_*: seconds from state change to acceptance, over all accepted pages.
    """

    at: Instant
    generation: int
    incidents: tuple[Incident, ...]
    outbox: tuple[OutboxRow, ...]
    attempts: tuple[Attempt, ...]
    answers: Mapping[tuple[str, Answer], int]
    dwell_sum_s: float
    dwell_count: int
    dwell_recent_s: tuple[float, ...]
    outbox_oldest_s: float
    pages_unaccepted: int
    results_dropped: int
    runs_not_started: int
    store_backlog: int
    retiring: tuple[str, ...]
    unresolvable: Mapping[str, str]
    heartbeats: Mapping[str, Beat]
    troubles: tuple[str, ...]


async def nothing_proven() -> Proof:
    """The proof before wiring hands one in: nothing was shown, so nothing is claimed."""
    return Proof(("no proof of work is wired",))


class PagingLoop:
    """All parts of paging on one event loop; made inside it."""

    def __init__(
        self,
        config: PagingConfig,
        store: PagingStore,
        clock: Clock,
        rng: random.Random,
        epoch: int,
        queue: ResultsQueue,
        woken: Callable[[], None],
        proof: ProofOf = nothing_proven,
        generation: int = 0,
    ) -> None:
        """Builds the receivers; raises what a factory raises. `epoch` is new at each start."""
        self._clock, self._queue, self._outer_proof = clock, queue, proof
        self._generation = generation
        self._journal = Journal(store)
        self._roster = Roster(ReceiverParts(clock, config.namespace))
        self._roster.adopt(self._roster.build(config.receivers))
        self.sender = Sender(self._journal, self._roster, clock, rng, epoch, woken)
        self.incidents = Incidents(config, self._roster, self.sender.unsent)
        self._pings = HttpClient()
        self.heartbeats = Heartbeats(config.heartbeats, self._proof, self._pings, clock)
        self._owed: Change | None = None
        self._alone = asyncio.Lock()
        self._restored = False
        self._all_down = False
        self._watched: set[str] = set()
        self._last: dict[str, float] = {}
        self.snapshot = self._picture(instant(clock))

    async def turn(self) -> float:
        """Do all that is due; returns the seconds after which it wants to be called again."""
        async with self._alone:
            return await self._turn()

    async def _turn(self) -> float:
        await self._restore()
        await self._journal.flush()
        now = instant(self._clock)
        self._fold_results(now)
        await self._fold_actions(now)
        if self._every("tick", TICK_S):
            self.incidents.on_tick(now, everything=self._every("sweep", SWEEP_S))
        if self._every("self", SELF_S):
            self._watch_ourselves(now)
        await self._commit(now)
        await self.sender.dispatch(self.incidents)
        if self._every("heartbeats", TICK_S):
            self.heartbeats.due()
        self.snapshot = self._picture(now)
        return 0.0 if len(self._queue) else self.sender.next_due_s(now)

    async def apply(self, config: PagingConfig, generation: int) -> None:
        """Put `config` in force as a whole, or raise and change nothing.

        Never amid a turn: both commit what is owed. What waits in the queue is folded first, so
        that the last words of a removed check are not taken for those of an unknown one.
        """
        built = self._roster.build(config.receivers)
        async with self._alone:
            await self._swap(config, generation, built)

    async def _swap(
        self, config: PagingConfig, generation: int, built: Mapping[str, Receiver]
    ) -> None:
        now = instant(self._clock)
        while len(self._queue):
            self._fold_results(now)
        spare = self._roster.adopt(built)
        self._generation = generation
        self.incidents.configure(config, now)
        await self._commit(now)
        for receiver in (*spare, *self._retired()):
            await receiver.close()
        await self.heartbeats.close()
        self.heartbeats = Heartbeats(config.heartbeats, self._proof, self._pings, self._clock)

    async def close(self, reason: str) -> None:
        """Planned stop: said to the heartbeats; what is owed stays in the store."""
        await self.heartbeats.stopping(reason)
        await self.sender.close()
        await self._journal.flush()
        await self._roster.close()
        await self._pings.close()

    # Start -------------------------------------------------------------------------------

    async def _restore(self) -> None:
        """Take over what the store knows; as long as it cannot be read, work from memory."""
        if self._restored:
            return
        store, now = self._journal.store, instant(self._clock)
        try:
            opened = await store.open_incidents()
            episodes, states = await store.episodes(), await store.rule_states()
            rows = await store.unfinished()
            namespace = self.incidents.config.namespace
            keys = {one.dedup_key(namespace) for one in opened if leads(one)}
            keys |= {row.key.dedup_key for row in rows}
            threads = {key: dict(await store.threads(key)) for key in keys}
        except StoreError as exc:
            if self._every("restore", 30.0):
                log.critical("paging_starts_without_store error=%s", exc)
                self.incidents.configure(self.incidents.config, now)
            return
        told = {key: set(lanes) for key, lanes in threads.items()}
        for row in rows:
            owed = told.setdefault(row.key.dedup_key, set())
            owed.add((row.key.receiver, row.key.target))
        self.sender.adopt(rows)
        for key, lanes in threads.items():
            self.sender.remember(key, lanes)
        for incident in opened:
            key = incident.dedup_key(namespace)
            page = Page(key, PageAction.TRIGGER, 1, namespace, incident, (), (), now)
            self.sender.republish(page, threads.get(key, {}))
        self.incidents.restore(opened, episodes, states, told, now)
        self._restored = True

    def _fold_results(self, now: Instant) -> None:
        for _ in range(min(AT_ONCE, len(self._queue))):
            # One at a time: what one result breaks must not take the others with it.
            for run in self._queue.take(1):
                self.incidents.on_result(run, now)

    async def _fold_actions(self, now: Instant) -> None:
        if self._restored and self._every("actions", ACTIONS_S):
            for action in await self._journal.actions():
                self.incidents.on_action(action, now)

    async def _commit(self, now: Instant) -> None:
        self._owed = self._owed or self.incidents.take(now)
        if self._owed is not None:
            # Kept until it is through: a defect in the store must not cost a page.
            await self._journal.commit(self._owed)
            self.sender.adopt(self._owed.outbox)
            self._owed = None
        for receiver in self._retired():
            await receiver.close()

    def _retired(self) -> list[Receiver]:
        told = {rid for lanes in self.incidents.told.values() for rid, _ in lanes}
        return self._roster.retire(self.sender.in_use() | told)

    def _every(self, what: str, seconds: float) -> bool:
        now_s = self._clock.monotonic()
        if now_s - self._last.get(what, -seconds) < seconds:
            return False
        self._last[what] = now_s
        return True

    # Ourselves ---------------------------------------------------------------------------

    def _watch_ourselves(self, now: Instant) -> None:
        """Whatever is wrong with paging is itself an incident, told by what still works."""
        oldest_s = self.sender.oldest_s(now)
        limit_s = self.incidents.config.outbox_limit_s
        late = oldest_s > limit_s
        text = f"pages are not going out: the oldest waits {oldest_s:.0f} s"
        self._say(SELF_CHECK, text if late else "", Result.fail, Reason.TIMEOUT, now)
        for name in self._seen("receiver", self.sender.refused_by):
            why = self.sender.refused_by.get(name, "")
            text = f"pager config broken: {name} refuses pages for good: {why}" if why else ""
            self._say(f"coalmine.receiver.{name}", text, Result.fail, Reason.STATUS, now)
        lost = {
            name: beat.detail
            for name, beat in self.heartbeats.beats.items()
            if beat.failures >= HEARTBEAT_FAILURES
        }
        for name in self._seen("heartbeat", lost):
            text = f"heartbeat {name} is not taken: {lost[name]}" if name in lost else ""
            check = f"coalmine.heartbeat.{name}"
            self._say(check, text, Result.degraded, Reason.UNREACHABLE, now)
        self._note_all_down(now)

    def _seen(self, part: str, bad: Mapping[str, str]) -> list[str]:
        """Names that are or were in trouble: the others have nothing to be told about."""
        self._watched |= {f"{part}.{name}" for name in bad}
        prefix = f"{part}."
        return sorted(one[len(prefix) :] for one in self._watched if one.startswith(prefix))

    def _say(
        self,
        check: str,
        trouble: str,
        bad: Callable[[Reason, str], Result],
        reason: Reason,
        now: Instant,
    ) -> None:
        result = bad(reason, trouble) if trouble else Result.ok({})
        self.incidents.on_result(
            RunEnvelope(
                check=check,
                kind="self",
                generation=self._generation,
                epoch=0,
                scheduled_at=now.utc,
                started=now,
                ended=now,
                verdict=result.verdict,
                reason=result.reason,
                detail=result.detail,
                facts=result.facts,
                trust=Trust(0.0, 0.0, 0.0),
            ),
            now,
        )

    def _note_all_down(self, now: Instant) -> None:
        down = self.sender.all_down(self.incidents, now)
        if down and not self._all_down:
            log.critical("all_receivers_down open_incidents=%d", len(self.incidents.open))
        self._all_down = down

    def troubles(self) -> tuple[str, ...]:
        """What is wrong with paging itself, () when nothing is: health is red otherwise."""
        oldest_s = self.sender.oldest_s(instant(self._clock))
        found = {
            "no receiver takes pages": self._all_down,
            "the paging store fails": self._journal.failing or not self._restored,
            f"the oldest page waits {oldest_s:.0f} s": (
                oldest_s > self.incidents.config.outbox_limit_s
            ),
        }
        return tuple(text for text, so in found.items() if so)

    async def _proof(self) -> Proof:
        """Our half (outbox, store read and backlog) and the half that wiring handed in."""
        missing = list(self.troubles())
        await self._journal.store.episodes()
        return Proof((*missing, *(await self._outer_proof()).missing))

    def _picture(self, now: Instant) -> PagingSnapshot:
        sender = self.sender
        return PagingSnapshot(
            at=now,
            generation=self._generation,
            incidents=tuple(self.incidents.open.values()),
            outbox=tuple(sender.rows.values()),
            attempts=tuple(sender.log),
            answers=Counter(sender.attempts),
            dwell_sum_s=sender.dwell_sum_s,
            dwell_count=sender.dwell_count,
            dwell_recent_s=tuple(sender.dwell_s),
            outbox_oldest_s=sender.oldest_s(now),
            pages_unaccepted=sender.unaccepted(now),
            results_dropped=self._queue.dropped_total,
            runs_not_started=self._queue.not_run_total,
            store_backlog=self._journal.backlog,
            retiring=self._roster.retiring(),
            unresolvable=dict(sender.unresolvable),
            heartbeats={name: replace(beat) for name, beat in self.heartbeats.beats.items()},
            troubles=self.troubles(),
        )
