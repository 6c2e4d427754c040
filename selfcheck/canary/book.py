"""What a route knows of its canaries: the ledger's rows in memory, never ahead of the ledger.

Everything here is derived from the ledger when a service starts, so a restart changes nothing.
"""

import asyncio
import math
from array import array
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from itertools import islice
from typing import TypeVar

from core.clock import Clock, Instant, instant
from core.errors import StoreBusyError, StoreError
from core.verdict import freshness_limit_s
from selfcheck.canary.accounting import RunningAccount, ever_arrived
from selfcheck.canary.deadline import Learned
from selfcheck.canary.first_look import FirstLook
from selfcheck.canary.judge import age_bounds_s, received
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.kept import KeptRows, Tally
from selfcheck.canary.ledger import OPEN_S, Ledger, Past, PathPast
from selfcheck.canary.model import Account, CanaryKey, LedgerRow, Look, Outcome, Receipt
from selfcheck.canary.route import RouteSpec
from selfcheck.canary.usual import UsualHours
from selfcheck.canary.window import Evidence, RouteVerdict, route_verdict, verifying, worse

T = TypeVar("T")
# Newest rows in mind: enough for whoever follows a link between two routes. A declared sampler is
# judged by the share of many.
KEPT_ROWS, KEPT_SAMPLED = 12, 1000
KEPT_DELAYS = 1000
# Canaries that are told in brief at a start: an hour of them, and as many as paths remember.
_TOLD = 200
# Windows from which a verdict is derived anew at a start.
_REPLAYED = 10
_OPEN_ROWS = 10_000
# Between two writes of what access paths answered.
_KEEP_S = 10.0
_LOOKS = 40


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a route begins with: its open rows and its newest ones, both in sending order."""

    open: Sequence[LedgerRow]
    recent: Sequence[LedgerRow]
    past: Past


class RouteBook:
    """The rows of one route and what follows from them."""

    def __init__(
        self,
        spec: RouteSpec,
        ledger: Ledger,
        clock: Clock,
        rules: JudgingRules,
        floor_s: float,
        epoch: int,
    ) -> None:
        """`floor_s`: of the access path that is read first. epoch: the present one."""
        self.ever_seen = False
        self._spec, self._ledger, self._clock, self._rules = spec, ledger, clock, rules
        self._floor_s = floor_s
        self._account = RunningAccount()
        most = KEPT_SAMPLED if spec.sampled else max(KEPT_ROWS, rules.window)
        outcomes = verifying(sampled=spec.sampled)
        self._rows = KeptRows(most, outcomes, instant(clock), spec.every_s, epoch, spec.target_s)
        self._delays_s, self._delays = array("d"), max(KEPT_DELAYS, rules.many_sightings)
        self._learned: Learned | None = None
        self._first = FirstLook(max(rules.first_read_after, floor_s))
        self._hours = UsualHours()
        self._paths: Sequence[PathPast] = ()
        self._kept_s = -math.inf
        self._unwritten: dict[CanaryKey, LedgerRow] = {}
        # Reads that looked for a row since it was last written: they wait for its next commit.
        self._looks: dict[CanaryKey, tuple[Look, ...]] = {}
        # One writer at a time: a receipt must not be overwritten by a judgement made without it.
        self._writing = asyncio.Lock()

    async def load(self) -> Loaded:
        """Read everything from the ledger. Raises StoreError."""
        name, ledger = self._spec.name, self._ledger
        open_rows = list(await self.durable(ledger.unsettled(name, _OPEN_ROWS)))
        wanted = max(KEPT_SAMPLED if self._spec.sampled else 0, _REPLAYED * self._rules.window)
        recent = list(await self.durable(ledger.recent(name, wanted)))
        delays = await self.durable(ledger.delays_s(name, self._delays))
        account = await self.durable(ledger.account(name))
        today = datetime.combine(self._clock.utc().date(), time(), UTC)
        told = max(_TOLD, math.ceil(OPEN_S / self._spec.every_s))
        past = await self.durable(ledger.past(name, self._spec.sent_under, today, told))
        self._account.take(account)
        self._paths = tuple(past.paths)
        self._delays_s = array("d", reversed(delays))
        self._learned = None
        self._hours.recall(past.hours, instant(self._clock))
        known = {row.canary.key: row for row in (*open_rows, *recent)}
        self._rows.recall((known[key] for key in sorted(known)), past)
        self.ever_seen = past.seen_under or (past.only_under and ever_arrived(account))
        return Loaded(open_rows, recent[::-1], past)

    async def durable(self, work: Awaitable[T]) -> T:
        """The ledger's answer within the store deadline. Raises StoreBusyError after it."""
        try:
            async with asyncio.timeout(self._rules.store_deadline):
                return await work
        except TimeoutError as exc:
            limit = self._rules.store_deadline
            raise StoreBusyError(f"the ledger did not answer within {limit:g} s") from exc

    def get(self, key: CanaryKey) -> LedgerRow:
        """The present state of a row that is kept."""
        return self._rows[key]

    async def open(self, row: LedgerRow) -> None:
        """Commit a new row. Raises StoreError; then it may or may not become durable later."""
        with self._account.committing():
            await self.durable(self._ledger.open(row))
            self.add(row)
            self._account.moved(None, row.outcome)

    def add(self, row: LedgerRow) -> None:
        """Keep a row that the ledger holds; the next audit counts it."""
        self._rows.put(row)

    @property
    def doubled(self) -> bool | None:
        """Whether a canary of the last hour is stored more often than sent.

        None when no copies were counted.
        """
        hour = self._rows.hour(instant(self._clock))
        if hour.doubled:
            return True
        return False if hour.counted else None

    def newest(self) -> list[LedgerRow]:
        """The newest rows that are kept, newest first."""
        return list(self._rows.newest())

    def pending(self) -> list[LedgerRow]:
        """Rows without an outcome, oldest first."""
        return self._rows.pending()

    def judged(self, count: int) -> list[LedgerRow]:
        """The newest `count` rows that have an outcome, newest first."""
        return self._rows.judged(count)

    def window(self, now: Instant) -> list[LedgerRow]:
        """The rows that make the verdict, newest first."""
        size = self._rules.window
        return worse(self.judged(size), self._rows.settled(size, now))

    def looked(self, key: CanaryKey, look: Look) -> None:
        """Remember a read that looked for a row; the ledger hears of it when the row is settled.

        Of many the first and the last ones are kept.
        """
        known = (*self._looks.get(key, self._rows[key].looks), look)
        if len(known) > _LOOKS:
            known = (*known[: _LOOKS // 2], *known[-_LOOKS // 2 :])
        self._looks[key] = known

    def polled(self, key: CanaryKey) -> Look | None:
        """The last complete look at a row; None without one."""
        looks = self._looks.get(key, self._rows[key].looks)
        return next((look for look in reversed(looks) if look.complete), None)

    def _told(self, row: LedgerRow) -> LedgerRow:
        """The row with all the looks at it."""
        looks = self._looks.get(row.canary.key)
        return row if looks is None else replace(row, looks=looks)

    def forget(self, held: Collection[CanaryKey]) -> None:
        """Let go of the oldest rows beyond those that are kept, save those that are `held`."""
        unwritten = self._unwritten.keys()
        for key in self._rows.forget({*held, *unwritten}, instant(self._clock)):
            self._looks.pop(key, None)

    async def receive(self, key: CanaryKey, receipt: Receipt, now: Instant) -> list[LedgerRow]:
        """Keep a receipt; the row, when the receipt judged it.

        When the ledger cannot take it now, `flush` writes it later: the canary has left, so a
        run that was "not started" would be a lie.
        """
        async with self._writing:
            was = self._rows[key]
            row = self._told(received(was, receipt, now))
            self._rows.put(row)
            self._unwritten[key] = row
            try:
                await self._write(row, was.outcome)
            except StoreError:
                # Kept in _unwritten: `flush` tries again and raises.
                return []
            return [row] if row.outcome is not was.outcome else []

    async def flush(self) -> list[LedgerRow]:
        """Write what the ledger could not take before; rows so settled. Raises StoreError."""
        done = []
        for row in list(self._unwritten.values()):
            async with self._writing:
                await self._write(self._rows[row.canary.key], Outcome.PENDING)
            done += [row] if row.outcome is not Outcome.PENDING else []
        return done

    async def _write(self, row: LedgerRow, kept: Outcome) -> None:
        """`kept`: the outcome that the ledger holds before this."""
        with self._account.committing():
            if row.receipt is not None:
                await self.durable(self._ledger.receive(row.canary.key, row.receipt))
            if row.outcome is not Outcome.PENDING:
                await self.durable(self._ledger.settle([row]))
            if row.outcome is not kept:
                self._account.moved(kept, row.outcome)
        self._unwritten.pop(row.canary.key, None)

    async def settle(self, changed: Sequence[tuple[LedgerRow, LedgerRow]]) -> list[LedgerRow]:
        """Commit (before, after) pairs; those whose outcome changed. Raises StoreError.

        A pair whose row has changed since is left for the next look.
        """
        async with self._writing:
            fresh = [(b, a) for b, a in changed if a is not b and self._rows[b.canary.key] is b]
            if not fresh:
                return []
            fresh = [(before, self._told(after)) for before, after in fresh]
            with self._account.committing():
                await self.durable(self._ledger.settle([after for _, after in fresh]))
                for before, after in fresh:
                    self._rows.put(after)
                    self._looks.pop(after.canary.key, None)
                    self._account.moved(before.outcome, after.outcome)
                    self._learn(before, after)
        return [after for before, after in fresh if after.outcome is not before.outcome]

    def _learn(self, before: LedgerRow, after: LedgerRow) -> None:
        if before.seen is not None or after.seen is None:
            return
        mine = after.sent_under == self._spec.sent_under
        if mine:
            self.ever_seen = True
        if mine and after.delay_s is not None:
            self._hours.add(after.seen.boot_s, after.deadline_s, after.delay_s)
        if after.delay_s is not None:
            at_once = sum(look.complete for look in after.looks) == 1
            self._first.seen(after.canary.key.seq, self._expected_s, at_once=at_once)
            self._delays_s.append(after.delay_s)
            del self._delays_s[: -self._delays]
            self._learned = None

    @property
    def learned(self) -> Learned:
        """What the delays come to."""
        if self._learned is None:
            self._learned = Learned.of(self._delays_s, self._floor_s, self._rules)
        return self._learned

    @property
    def account(self) -> Account | None:
        """The account as of the rows: the audited one and what was committed since."""
        return self._account.present

    async def keep_paths(self, told: Callable[[], Sequence[PathPast]], now_s: float) -> None:
        """Keep what access paths answered, now and then, as it changes. Raises StoreError."""
        if now_s - self._kept_s < _KEEP_S:
            return
        self._kept_s, paths = now_s, told()
        if paths != self._paths:
            mine = self._spec.name, self._spec.sent_under
            await self.durable(self._ledger.keep_paths(*mine, paths))
            self._paths = paths

    async def audit(self) -> bool:
        """Check the accounting identity against the ledger. Raises StoreError.

        False when something was committed meanwhile.
        """
        return await self._account.audit(
            lambda: self.durable(self._ledger.account(self._spec.name))
        )

    @property
    def target_s(self) -> float | None:
        """Delay above which a canary is slow; None while nothing is known."""
        return self._spec.target_s or self.learned.target_s

    def verified_age_s(self, now: Instant) -> float | None:
        """Seconds since the newest verified canary was sent; None when there is none."""
        verified = self._rows.verified
        return age_bounds_s(verified, now)[1] if verified else None

    def evidence(
        self, now: Instant, pace: float = 1.0, capped: str = "", denied: str = "", refused: str = ""
    ) -> Evidence:
        """What the verdict of the route is made of at `now`.

        pace: by how much a cap stretches the interval. capped: why nothing is sent, in words.
        denied: how the store's access paths deny what it holds, in words. refused: which of them
        cannot be read while others can.
        """
        every_s = self._spec.every_s * pace
        limit = freshness_limit_s(every_s, self.learned.deadline_s, self._rules.confirm_after)
        return Evidence(
            rows=self.window(now),
            hour=self._rows.hour(now),
            hour_s=self._rows.hour_s,
            verified_age_s=self.verified_age_s(now),
            limit_s=limit,
            ever_seen=self.ever_seen,
            drop_declared=self._spec.expect_drop is not None,
            imbalance=self._account.imbalance,
            target_s=self.target_s,
            capped=capped,
            slower=self._slower(now, surely=True),
            still_slower=self._slower(now, surely=False),
            denied=denied,
            refused=refused,
        )

    def _slower(self, now: Instant, *, surely: bool) -> str:
        """How the route is slower than in the hours before the present one; "" when it is not."""
        usual = self._hours.usual(now.boot_s)
        if usual is None:
            return ""
        seen = (row for row in self._rows.newest() if row.delay_s is not None)
        newest = [] if self._spec.target_s else list(islice(seen, self._rules.window))
        slow = usual.slow(newest, self._floor_s, self._rules, surely=surely)
        return slow or usual.grown(self.learned, self._floor_s, self._rules)

    def first_look_s(self, seq: int) -> float:
        """When canary `seq` is looked for first, in seconds after sending.

        Never beyond its deadline: who first looks later learns nothing of how long it took, and
        would go on looking too late. Nor when it would be slow: it would be so by our look.
        """
        limit_s = self.learned.deadline_s + self._rules.deadline_slack
        slow_s = max(self._rules.first_read_after, self._spec.target_s or limit_s)
        return min(self._first.wait_s(seq, self._expected_s), limit_s, slow_s)

    @property
    def _expected_s(self) -> float:
        """The delay of half of the canaries; 0 while nothing is known.

        On a route that has become slower they are looked for as early as before: otherwise nobody
        would see how slow it is, nor that this is over.
        """
        lately_s = self.learned.p50_s or 0.0
        usual = self._hours.usual(self._clock.monotonic())
        return lately_s if usual is None else min(lately_s, usual.delay_s)

    def replay(self, rows: Sequence[LedgerRow], now: Instant) -> RouteVerdict | None:
        """The verdict that `rows` led to, step by step: a failure outlives a restart."""
        evidence, verdict = self.evidence(now), None
        tail = [row for row in rows if row.outcome is not Outcome.PENDING]
        for count in range(1, len(tail) + 1):
            step = replace(
                evidence,
                rows=tail[max(0, count - self._rules.window) : count][::-1],
                hour=Tally(),
                verified_age_s=0.0,
                imbalance="",
                target_s=None,
                slower="",
                still_slower="",
            )
            verdict = route_verdict(step, self._rules, verdict)
        return verdict
