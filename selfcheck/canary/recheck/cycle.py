"""The rechecks of one route: choose, wait, read again, settle, tell. Paces itself."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from core.clock import Clock, Instant, age_s, instant
from core.errors import StoreBusyError
from core.reason import Reason
from core.result import Result, RunEnvelope, Trust
from selfcheck.backends.protocol import Backend, Reading
from selfcheck.canary.backoff import ReadBackoff
from selfcheck.canary.budget import ReadBudget
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.looks import question_of
from selfcheck.canary.model import CanaryKey, LedgerRow
from selfcheck.canary.recheck.errands import Errand, errands
from selfcheck.canary.recheck.judge import (
    RecheckBench,
    deferred,
    is_stamped,
    judged,
    opened,
)
from selfcheck.canary.recheck.ledger import RecheckLedger
from selfcheck.canary.recheck.model import (
    WAITING,
    Recheck,
    RecheckAccount,
    RecheckKey,
    RecheckState,
    account_of,
)
from selfcheck.canary.recheck.plan import (
    Age,
    Pace,
    ages_of,
    first_recheck,
    following,
    wait_s,
)
from selfcheck.canary.recheck.tally import REMEMBERED, AgeTally
from selfcheck.canary.recheck.verdict import AgeEvidence, RecheckEvidence, recheck_result
from selfcheck.canary.report import unix_ns
from selfcheck.canary.route import RouteSpec
from selfcheck.canary.volume import VolumeGuard

T = TypeVar("T")
KIND = "recheck"
# The longest that a step waits: no verdict is told more rarely.
STEP_S = 300.0
_READS_PER_STEP = 4
_ROWS = 100
_PAGES = 20


def recheck_check(route: str) -> str:
    """The check id of a route's rechecks: no slug holds a colon, so none can collide."""
    return f"recheck:{route}"


@dataclass(frozen=True, slots=True)
class RecheckRules:
    """How much is rechecked. every: one canary in so many. per_minute: reads of one route.

    retention_s: how long the store keeps records, None = not stated.
    """

    every: int
    per_minute: float
    retention_s: float | None


class Rechecks:
    """Looks for the seen canaries of one route again, as long as its ledger remembers them."""

    def __init__(
        self,
        spec: RouteSpec,
        backend: Backend,
        ledger: RecheckLedger,
        clock: Clock,
        rng: Random,
        judging: JudgingRules,
        rules: RecheckRules,
        backoff: ReadBackoff,
        publish: Callable[[RunEnvelope], None],
        epoch: int,
        generation: int,
        volume: VolumeGuard | None = None,
    ) -> None:
        """The backoff and the read budget are its own.

        volume: counts reads against the day's cap; used up, rechecks are deferred.
        Raises ValueError when the backend has no access path for the route's signal.
        """
        self._paths = backend.declaration.paths_for(spec.signal)
        if not self._paths:
            raise ValueError(f"route {spec.name}: the backend cannot be read for {spec.signal}")
        self.spec = spec
        self._backend, self._ledger, self._clock, self._rng = backend, ledger, clock, rng
        self._judging, self._retention_s, self._backoff = judging, rules.retention_s, backoff
        self._publish, self._epoch, self._generation = publish, epoch, generation
        self._volume = volume
        self._pace = Pace(rules.every, spec.every_s)
        self._ages: tuple[Age, ...] = ages_of(rules.retention_s)
        burst = max(2, min(judging.read_burst, round(2 * rules.per_minute)))
        own = judging.model_copy(update={"reads_per_minute": rules.per_minute, "read_burst": burst})
        self._budget = ReadBudget(own, clock.monotonic())
        self._newest: dict[str, deque[Recheck]] | None = None
        self._tallies = {age.name: AgeTally() for age in self._ages}
        self._accounts: Mapping[str, RecheckAccount] = {}
        self._cursor: CanaryKey | None = None
        self._choose_at_s = 0.0
        self._retry_at_s: dict[RecheckKey, float] = {}
        self._items: dict[RecheckKey, Recheck] = {}
        self.result: Result | None = None

    @property
    def accounts(self) -> tuple[RecheckAccount, ...]:
        """The account of each age as last read, zeros from the start; those of old ages last."""
        names = [age.name for age in self._ages]
        names += sorted(self._accounts.keys() - set(names))
        return tuple(map(self._account, names))

    def _account(self, age: str) -> RecheckAccount:
        return self._accounts.get(age) or account_of(self.spec.name, age, 0, {})

    @property
    def step_deadline_s(self) -> float:
        """Longest that one `step` may take: every read and every commit up to its own limit."""
        judging = self._judging
        return (_READS_PER_STEP + 2) * (judging.read_timeout + 2 * judging.store_deadline)

    async def step(self) -> float:
        """Choose, look, settle, tell; seconds until the next call.

        Raises StoreError when the ledger fails: what was not committed is looked for again.
        """
        newest = await self._loaded()
        await self._choose()
        waiting = await self._durable(self._ledger.waiting(self.spec.name, _ROWS))
        self._items = {item.key: item for item in waiting}
        await self._open(newest)
        await self._look(newest)
        self._accounts = await self._durable(self._ledger.accounts(self.spec.name))
        self._tell(newest)
        return self._next_s()

    async def _durable(self, work: Awaitable[T]) -> T:
        limit = self._judging.store_deadline
        try:
            async with asyncio.timeout(limit):
                return await work
        except TimeoutError as exc:
            raise StoreBusyError(f"the ledger did not answer within {limit:g} s") from exc

    async def _loaded(self) -> dict[str, deque[Recheck]]:
        """The newest settled rechecks by age, newest first: read once, then kept up to date."""
        if self._newest is None:
            window = self._judging.window
            found: dict[str, deque[Recheck]] = {}
            most = max(window, REMEMBERED)
            for age in self._ages:
                kept = await self._durable(self._ledger.newest(self.spec.name, age.name, most))
                rows = [item for item in kept if self._applies(item, age)]
                self._tallies[age.name] = AgeTally(reversed(rows))
                found[age.name] = deque(rows[:window], maxlen=window)
            self._newest = found
        return self._newest

    def _applies(self, item: Recheck, age: Age) -> bool:
        """Whether it was sent as canaries are now, looked for as late, and not long after.

        What was chosen when its time was over already, as after a change of pace, says nothing.
        """
        in_time = item.state is not RecheckState.UNKNOWN or item.reason is not Reason.STALE
        return in_time and item.sent_under == self.spec.sent_under and item.age_s == age.after_s

    async def _choose(self) -> None:
        """Plan the first recheck of what was seen since; nothing that may yet be seen is passed."""
        now_s = self._clock.monotonic()
        if now_s < self._choose_at_s:
            return
        name = self.spec.name
        floor = await self._durable(self._ledger.floor(name))
        passed = self._cursor
        for _ in range(_PAGES):
            rows = await self._candidates(passed)
            items = [first_recheck(row, self._ages, self._pace) for row in rows]
            await self._durable(self._ledger.plan([item for item in items if item is not None]))
            passed = rows[-1].canary.key if rows else passed
            if len(rows) < _ROWS:
                break
        if floor is not None:
            below = CanaryKey(name, floor.epoch, floor.seq - 1)
            passed = below if passed is None else min(passed, below)
        self._cursor = passed
        self._choose_at_s = now_s + STEP_S

    async def _candidates(self, after: CanaryKey | None) -> Sequence[LedgerRow]:
        base, one_in = self._pace.base, self._pace.one_in(self._ages[0].after_s)
        wanted = self._ledger.candidates(self.spec.name, after, base, one_in // base, _ROWS)
        return await self._durable(wanted)

    def _bench(self) -> RecheckBench:
        return RecheckBench(
            precision_ns=self._backend.declaration.precision_ns,
            confirm_path=self._paths[1].name if len(self._paths) > 1 else None,
            confirm_after_s=self._judging.confirm_after,
            sent_under=self.spec.sent_under,
            retention_s=self._retention_s,
        )

    async def _open(self, newest: dict[str, deque[Recheck]]) -> None:
        now, bench = instant(self._clock), self._bench()
        pairs = [(item, opened(item, now, bench)) for item in self._items.values()]
        await self._settle([after for before, after in pairs if after is not before], newest)

    async def _look(self, newest: dict[str, deque[Recheck]]) -> None:
        for errand in self._errands()[:_READS_PER_STEP]:
            if self._backoff.wait_s(self._clock.monotonic()) > 0:
                return
            if not self._may_read():
                ready = [item for one in self._errands() for item in one.items]
                put_off = [after for item in ready if (after := deferred(item)) is not item]
                await self._settle(put_off, newest)
                return
            await self._run(errand, newest)

    def _may_read(self) -> bool:
        if self._volume is not None and not self._volume.reads_left:
            return False
        return self._budget.take(self._clock.monotonic())

    def _errands(self) -> list[Errand]:
        now = instant(self._clock)
        limit = min(self._judging.batch_rows, self._backend.declaration.row_limit)
        rested = [
            item
            for item in self._items.values()
            if self._retry_at_s.get(item.key, 0.0) <= now.boot_s
        ]
        return list(errands(rested, self._paths, limit, now, self._bench()))

    async def _run(self, errand: Errand, newest: dict[str, deque[Recheck]]) -> None:
        reading = await self._ask(errand)
        now, bench = instant(self._clock), self._bench()
        after = [judged(item, reading, errand.path, now, bench) for item in errand.items]
        if not reading.complete:
            self._put_off(after, now)
        await self._settle(after, newest)

    def _put_off(self, items: Sequence[Recheck], now: Instant) -> None:
        judging = self._judging
        spread = 1 + judging.poll_jitter * (2 * self._rng.random() - 1)
        for item in items:
            self._retry_at_s[item.key] = now.boot_s + judging.poll_late_max * spread

    async def _ask(self, errand: Errand) -> Reading:
        canaries = tuple(item.canary for item in errand.items)
        # A stamp of somebody else's lies between sending and the last sighting.
        seen_ns = max(unix_ns(item.seen) for item in errand.items)
        stamped = is_stamped(errand.items[0])
        question = question_of(self.spec.signal, canaries, seen_ns, stamped=stamped)
        reading = await self._backend.read(question, errand.path, self._judging.read_timeout)
        if self._volume is not None:
            self._volume.read()
        now_s = self._clock.monotonic()
        if reading.complete:
            self._backoff.succeeded(now_s)
        else:
            self._backoff.failed(now_s, reading.retry_after_s, reading.reason)
        return reading

    async def _settle(self, changed: Sequence[Recheck], newest: dict[str, deque[Recheck]]) -> None:
        if not changed:
            return
        done = [item for item in changed if item.state not in WAITING]
        next_ones = [following(item, self._ages, self._pace) for item in done]
        more = [item for item in next_ones if item is not None]
        await self._durable(self._ledger.settle(changed, more))
        self._items |= {item.key: item for item in (*changed, *more)}
        for item in done:
            del self._items[item.key]
            self._retry_at_s.pop(item.key, None)
            age = next((age for age in self._ages if age.name == item.age), None)
            if age and item.state is not RecheckState.NOT_APPLICABLE and self._applies(item, age):
                newest[age.name].appendleft(item)
                self._tallies[age.name].add(item)

    def _tell(self, newest: dict[str, deque[Recheck]]) -> None:
        now = instant(self._clock)
        evidence = RecheckEvidence(
            [self._evidence(age, newest[age.name], now) for age in self._ages],
            self._retention_s,
            self._pace,
        )
        self.result = recheck_result(evidence, now)
        if self.result is not None:
            self._publish(self._envelope(self.result, now))

    def _evidence(self, age: Age, newest: deque[Recheck], now: Instant) -> AgeEvidence:
        planned = [
            wait_s(item, now)
            for item in self._items.values()
            if item.age == age.name and item.state is RecheckState.PLANNED
        ]
        known = self._account(age.name)
        next_s = min(planned, default=None)
        return AgeEvidence(age, known, tuple(newest), next_s, self._tallies[age.name])

    def _envelope(self, result: Result, now: Instant) -> RunEnvelope:
        return RunEnvelope(
            check=recheck_check(self.spec.name),
            kind=KIND,
            generation=self._generation,
            epoch=self._epoch,
            scheduled_at=now.utc,
            started=now,
            ended=now,
            verdict=result.verdict,
            reason=result.reason,
            detail=result.detail,
            # Whose canaries they are: without any there is nothing to look for again.
            facts={**result.facts, "routes": self.spec.name},
            # The step that judged was not due at a fixed time; lag of the loop is the engine's.
            trust=Trust(late_s=0.0, queue_s=0.0, lag_s=0.0),
        )

    def _next_s(self) -> float:
        now = instant(self._clock)
        waits = [max(0.0, self._choose_at_s - now.boot_s), STEP_S]
        waits += [self._wait_s(item, now) for item in self._items.values()]
        return min(waits)

    def _wait_s(self, item: Recheck, now: Instant) -> float:
        """Seconds until something can be done about a waiting recheck."""
        if item.state is RecheckState.PLANNED:
            return wait_s(item, now)
        held = max(self._backoff.wait_s(now.boot_s), self._budget.wait_s(now.boot_s))
        held = max(held, self._retry_at_s.get(item.key, 0.0) - now.boot_s)
        if self._volume is not None and not self._volume.reads_left:
            held = max(held, self._judging.poll_late_max)
        if item.empty_read is not None:
            empty_s, _ = age_s(item.empty_read, self._clock)
            held = max(held, self._judging.confirm_after - empty_s)
        return max(0.0, held)
