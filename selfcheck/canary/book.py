"""What a route knows of its canaries: the ledger's rows in memory, never ahead of the ledger.

Everything here is derived from the ledger when a service starts, so a restart changes nothing.
"""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Awaitable, Collection, Iterator, Sequence
from dataclasses import replace
from itertools import islice, takewhile
from typing import TypeVar

from core.clock import Clock, Instant
from core.errors import StoreBusyError, StoreError
from core.verdict import freshness_limit_s
from selfcheck.canary.accounting import ever_arrived, violation
from selfcheck.canary.deadline import Learned
from selfcheck.canary.judge import age_bounds_s, duplicated, received
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.ledger import OPEN_S, Ledger
from selfcheck.canary.model import Account, CanaryKey, LedgerRow, Look, Outcome, Receipt
from selfcheck.canary.route import RouteSpec
from selfcheck.canary.window import Evidence, RouteVerdict, newest_verified, route_verdict

T = TypeVar("T")
KEPT_ROWS = 1000
_OPEN_ROWS = 10_000
_LOOKS = 40


class RouteBook:
    """The rows of one route and what follows from them."""

    def __init__(
        self, spec: RouteSpec, ledger: Ledger, clock: Clock, rules: JudgingRules, floor_s: float
    ) -> None:
        """`floor_s`: of the access path that is read first."""
        self._audited: Account | None = None
        # What was committed since the audit, so that the account keeps up with the rows.
        self._sent_since = 0
        self._moved_since: Counter[Outcome] = Counter()
        self._moves, self._in_flight = 0, 0
        self.imbalance = ""
        self.ever_seen = False
        self.delays_s: deque[float] = deque(maxlen=max(KEPT_ROWS, rules.many_sightings))
        self._spec, self._ledger, self._clock, self._rules = spec, ledger, clock, rules
        self._floor_s = floor_s
        self._rows: dict[CanaryKey, LedgerRow] = {}
        # Kept beside the rows, as a status is asked for every second.
        self._pending: dict[CanaryKey, None] = {}
        self._marks: Counter[str] = Counter()
        self._learned: Learned | None = None
        self._unwritten: dict[CanaryKey, LedgerRow] = {}
        # Reads that looked for a row since it was last written: they wait for its next commit.
        self._looks: dict[CanaryKey, tuple[Look, ...]] = {}
        # One writer at a time: a receipt must not be overwritten by a judgement made without it.
        self._writing = asyncio.Lock()

    async def load(self) -> list[LedgerRow]:
        """Read everything from the ledger; the open rows, oldest first. Raises StoreError."""
        name, ledger = self._spec.name, self._ledger
        open_rows = list(await self.durable(ledger.unsettled(name, _OPEN_ROWS)))
        recent = list(await self.durable(ledger.recent(name, KEPT_ROWS)))
        delays = await self.durable(ledger.delays_s(name, self.delays_s.maxlen or KEPT_ROWS))
        account = await self.durable(ledger.account(name))
        self._take(account)
        self.delays_s.extend(reversed(delays))
        known = {row.canary.key: row for row in (*open_rows, *recent)}
        for key in sorted(known):
            self._put(known[key])
        self._learned = None
        self.ever_seen = self._was_seen(account, recent)
        return open_rows

    def _was_seen(self, account: Account, recent: Sequence[LedgerRow]) -> bool:
        """Whether a canary was ever seen under the present parameters.

        `lost` was only ever said after one had been seen. Totals of the past count as long as
        no recent row was sent under other parameters.
        """
        mine = [row for row in recent if row.sent_under == self._spec.sent_under]
        if [row for row in mine if row.seen is not None or row.outcome is Outcome.LOST]:
            return True
        return bool(mine) and len(mine) == len(recent) and ever_arrived(account)

    async def durable(self, work: Awaitable[T]) -> T:
        """The ledger's answer within the store deadline. Raises StoreBusyError after it."""
        try:
            async with asyncio.timeout(self._rules.store_deadline):
                return await work
        except TimeoutError as exc:
            limit = self._rules.store_deadline
            raise StoreBusyError(f"the ledger did not answer within {limit:g} s") from exc

    def last_seq(self, epoch: int) -> int:
        """Last sequence number of `epoch`, 0 when it has none."""
        return max((key.seq for key in reversed(self._rows) if key.epoch == epoch), default=0)

    def get(self, key: CanaryKey) -> LedgerRow:
        """The present state of a row."""
        return self._rows[key]

    async def open(self, row: LedgerRow) -> None:
        """Commit a new row. Raises StoreError; then it may or may not become durable later."""
        with self._committing():
            await self.durable(self._ledger.open(row))
            self.add(row)
            self._sent_since += 1
            self._moved(None, row.outcome)

    def add(self, row: LedgerRow) -> None:
        """Keep a row that the ledger holds; the next audit counts it."""
        self._put(row)

    def _put(self, row: LedgerRow) -> None:
        key = row.canary.key
        self._mark(key, -1)
        self._rows[key] = row
        self._mark(key, 1)
        if row.outcome is Outcome.PENDING:
            self._pending[key] = None
        else:
            self._pending.pop(key, None)

    def _mark(self, key: CanaryKey, by: int) -> None:
        if (row := self._rows.get(key)) is not None:
            self._marks["lost"] += by * (row.outcome is Outcome.LOST)
            self._marks["doubled"] += by * duplicated(row, 1)
            self._marks["counted"] += by * (row.copies is not None)

    @property
    def doubled(self) -> bool | None:
        """Whether a kept row is stored more often than sent; None when no copies were counted."""
        if self._marks["doubled"]:
            return True
        return False if self._marks["counted"] else None

    @contextlib.contextmanager
    def _committing(self) -> Iterator[None]:
        """While this is open, nobody can tell whether a snapshot of the ledger holds the change."""
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1

    def _moved(self, before: Outcome | None, after: Outcome) -> None:
        if before is not None:
            self._moved_since[before] -= 1
        self._moved_since[after] += 1
        self._moves += 1

    def newest(self) -> Iterator[LedgerRow]:
        """Rows from the newest, at most as many as are kept."""
        return islice(reversed(self._rows.values()), KEPT_ROWS)

    def pending(self) -> list[LedgerRow]:
        """Rows without an outcome, oldest first."""
        return [self._rows[key] for key in self._pending]

    def judged(self, count: int) -> list[LedgerRow]:
        """The newest `count` rows that have an outcome, newest first."""
        return list(islice((r for r in self.newest() if r.outcome is not Outcome.PENDING), count))

    def looked(self, key: CanaryKey, look: Look) -> None:
        """Remember a read that looked for a row; the ledger hears of it when the row is settled.

        Of many the first and the last ones are kept.
        """
        known = (*self._looks.get(key, self._rows[key].looks), look)
        if len(known) > _LOOKS:
            known = (*known[: _LOOKS // 2], *known[-_LOOKS // 2 :])
        self._looks[key] = known

    def polled_s(self, key: CanaryKey) -> float:
        """Boot seconds of the last complete look at a row sent in this boot; 0 without one."""
        row = self._rows[key]
        looks = self._looks.get(key, row.looks)
        asked = [row.sent.boot_s + look.at_s for look in looks if look.complete]
        return asked[-1] if asked else 0.0

    def _told(self, row: LedgerRow) -> LedgerRow:
        """The row with all the looks at it."""
        looks = self._looks.get(row.canary.key)
        return row if looks is None else replace(row, looks=looks)

    def forget(self, held: Collection[CanaryKey]) -> None:
        """Drop the oldest rows beyond those that are kept, save those that are `held`."""
        surplus = len(self._rows) - KEPT_ROWS
        for key in list(islice(self._rows, max(0, surplus))):
            if key not in held:
                self._mark(key, -1)
                del self._rows[key]
                self._looks.pop(key, None)

    async def receive(self, key: CanaryKey, receipt: Receipt, now: Instant) -> list[LedgerRow]:
        """Keep a receipt; the row, when the receipt judged it.

        When the ledger cannot take it now, `flush` writes it later: the canary has left, so a
        run that was "not started" would be a lie.
        """
        async with self._writing:
            was = self._rows[key]
            row = self._told(received(was, receipt, now))
            self._put(row)
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
        with self._committing():
            if row.receipt is not None:
                await self.durable(self._ledger.receive(row.canary.key, row.receipt))
            if row.outcome is not Outcome.PENDING:
                await self.durable(self._ledger.settle([row]))
            if row.outcome is not kept:
                self._moved(kept, row.outcome)
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
            with self._committing():
                await self.durable(self._ledger.settle([after for _, after in fresh]))
                for before, after in fresh:
                    self._put(after)
                    self._looks.pop(after.canary.key, None)
                    self._moved(before.outcome, after.outcome)
                    self._learn(before, after)
        return [after for before, after in fresh if after.outcome is not before.outcome]

    def _learn(self, before: LedgerRow, after: LedgerRow) -> None:
        if before.seen is not None or after.seen is None:
            return
        if after.sent_under == self._spec.sent_under:
            self.ever_seen = True
        if after.delay_s is not None:
            self.delays_s.append(after.delay_s)
            self._learned = None

    @property
    def learned(self) -> Learned:
        """What the delays come to."""
        if self._learned is None:
            self._learned = Learned.of(self.delays_s, self._floor_s, self._rules)
        return self._learned

    @property
    def account(self) -> Account | None:
        """The account as of the rows: the audited one and what was committed since."""
        audited = self._audited
        if audited is None:
            return None
        counts = {
            outcome: audited.by_outcome.get(outcome, 0) + self._moved_since[outcome]
            for outcome in Outcome
        }
        return Account(audited.route, audited.sent + self._sent_since, counts)

    async def audit(self) -> bool:
        """Check the accounting identity against the ledger. Raises StoreError.

        False when something was committed meanwhile: the identity was checked, but the account
        goes on from the last audit, as nobody can tell what this one has counted.
        """
        moves, settled = self._moves, not self._in_flight
        account = await self.durable(self._ledger.account(self._spec.name))
        self.imbalance = violation(account)
        if not settled or self._in_flight or self._moves != moves:
            return False
        self._take(account)
        return True

    def _take(self, account: Account) -> None:
        self._audited, self.imbalance = account, violation(account)
        self._sent_since, self._moved_since = 0, Counter()

    @property
    def deadline_s(self) -> float:
        """Deadline of a canary sent now."""
        return self.learned.deadline_s

    @property
    def target_s(self) -> float | None:
        """Delay above which a canary is slow; None while nothing is known."""
        return self._spec.target_s or self.learned.target_s

    def verified_age_s(self, now: Instant) -> float | None:
        """Seconds since the newest verified canary was sent; None when there is none."""
        row = newest_verified(self.newest(), sampled=self._spec.sampled)
        return age_bounds_s(row.sent, now)[1] if row else None

    def evidence(self, now: Instant, pace: float = 1.0, capped: str = "") -> Evidence:
        """What the verdict of the route is made of at `now`.

        pace: by how much a cap stretches the interval. capped: why nothing is sent, in words.
        """
        recent: list[LedgerRow] = []
        if self._marks["lost"] >= self._rules.hour_losses:
            # Whom fewer losses degrade nobody asks for the rows of an hour.
            newest = self.newest()
            recent = list(takewhile(lambda r: age_bounds_s(r.sent, now)[1] <= OPEN_S, newest))
        every_s = self._spec.every_s * pace
        limit = freshness_limit_s(every_s, self.deadline_s, self._rules.confirm_after)
        return Evidence(
            rows=self.judged(self._rules.window),
            hour=recent,
            verified_age_s=self.verified_age_s(now),
            limit_s=limit,
            ever_seen=self.ever_seen,
            drop_declared=self._spec.expect_drop is not None,
            imbalance=self.imbalance,
            target_s=self.target_s,
            capped=capped,
        )

    def replay(self, now: Instant) -> RouteVerdict | None:
        """The verdict that the rows led to, step by step: a failure outlives a restart."""
        evidence, verdict = self.evidence(now), None
        tail = self.judged(10 * self._rules.window)[::-1]
        for count in range(1, len(tail) + 1):
            rows = tail[max(0, count - self._rules.window) : count][::-1]
            step = Evidence(
                rows=rows,
                hour=(),
                verified_age_s=0.0,
                limit_s=evidence.limit_s,
                ever_seen=evidence.ever_seen,
                drop_declared=evidence.drop_declared,
                imbalance="",
                target_s=None,
                capped="",
            )
            verdict = route_verdict(step, self._rules, verdict)
        return verdict
