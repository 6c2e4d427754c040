"""The life of a route: make, commit, send, read back, judge, report."""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from random import Random

from core.clock import Clock, Instant, instant
from core.reason import Reason
from core.result import RunEnvelope, Trust
from core.verdict import Verdict
from probes.protocol import RunContext
from selfcheck import skew
from selfcheck.backends.protocol import AccessPath, Backend, Dedupe, Reading
from selfcheck.canary.backoff import ReadBackoff
from selfcheck.canary.book import RouteBook
from selfcheck.canary.budget import ReadBudget, least_reads
from selfcheck.canary.compare import records_of
from selfcheck.canary.errands import Errand, Errands
from selfcheck.canary.fitting import ReadSize
from selfcheck.canary.judge import UNDECIDED, Bench, judge, recounted, unread
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.ledger import Epoch, Ledger
from selfcheck.canary.looks import Looks, look_of, question_of
from selfcheck.canary.make import make_beat, make_canary, make_row, next_stamp_ns
from selfcheck.canary.model import (
    Canary,
    CanaryKey,
    LedgerRow,
    Receipt,
    Sent,
    Sighting,
    Signal,
)
from selfcheck.canary.paths import AccessPaths
from selfcheck.canary.policy import sampled
from selfcheck.canary.report import PUNCTUAL, canary_envelope, route_envelope, unix_ns
from selfcheck.canary.route import RouteSpec, RouteStatus
from selfcheck.canary.volume import VolumeGuard, VolumeMeter
from selfcheck.canary.window import RouteVerdict, is_loss, route_verdict
from selfcheck.injectors.protocol import Injector

_READS_PER_STEP = 8
# The identity is counted over all rows of the route; between two audits the account runs along.
_AUDIT_S = 60.0
# From a canary to the caches that are asked for it before it can be there.
_AT_ONCE_S = 0.1


class RouteCycle:
    """One route of canaries; `inject` is its fixed-rate check, `read` its self-paced step."""

    def __init__(
        self,
        spec: RouteSpec,
        injector: Injector,
        backend: Backend,
        ledger: Ledger,
        clock: Clock,
        rng: Random,
        epoch: Epoch,
        publish: Callable[[RunEnvelope], None],
        judging: JudgingRules,
        generation: int,
        backoff: ReadBackoff,
        intended: Callable[[LedgerRow], str] | None = None,
        meter: VolumeMeter | None = None,
    ) -> None:
        """`meter` is shared by all routes of `backend`.

        intended: evidence (say, of a filter's own counter) that a missing canary was dropped on
        purpose, "" when there is none.
        Raises ValueError when the backend has no access path for the route's signal.
        """
        paths = backend.declaration.paths_for(spec.signal)
        if not paths:
            raise ValueError(f"route {spec.name}: the backend cannot be read for {spec.signal}")
        self.spec = spec
        self._injector, self._backend, self._ledger = injector, backend, ledger
        self._clock, self._rng, self._epoch = clock, rng, epoch
        self._publish, self._rules, self._generation = publish, judging, generation
        self._backoff, self._intended = backoff, intended
        declared = backend.declaration
        self._primary = paths[0]
        least = least_reads(spec.every_s, spec.target_s, batched=paths[0].batched)
        self._paths = AccessPaths(
            paths,
            judging,
            declared.judged_only(spec.signal),
            every_s=spec.every_s,
            precision_ns=declared.precision_ns,
            stamped=spec.stamped,
        )
        self._book = RouteBook(spec, ledger, clock, judging, self._primary.floor_s, epoch.number)
        self._volume = VolumeGuard(meter or VolumeMeter(), judging, spec.name, spec.every_s, clock)
        self._looks = Looks(judging, rng, spec.target_s)
        self._budget = ReadBudget(judging, clock.monotonic(), least)
        self._size = ReadSize(judging)
        limit = backend.declaration.row_limit
        self._errands = Errands(self._book, self._looks, self._paths, self._size, limit)
        self._opening, self._loading, self._loaded = asyncio.Lock(), asyncio.Lock(), False
        self._seq = self._last_stamp_ns = 0
        self._doubt: LedgerRow | None = None
        self._trust: dict[CanaryKey, Trust] = {}
        self._injected_s: float | None = None
        # Boot seconds until which a read error kept the store from being asked.
        self._unread_s = 0.0
        self._audited_s, self._tidied_s = -math.inf, -math.inf
        self._verdict: RouteVerdict | None = None
        self._told: tuple[Verdict, Reason] | None = None
        # Whether the verdict was derived in the present step already.
        self._told_now = False

    # Sending.

    async def inject(self, context: RunContext) -> None:
        """Send one canary; its row is durable first.

        Raises StoreBusyError (nothing was sent) when the ledger is not durable in time, and
        CapReachedError (nothing was sent, no row) when our own volume cap is used up or spares
        this one; what an injector raises leaves the row behind as "maybe sent".
        """
        await self.load()
        self._volume.spare(self._injected_s)
        row = await self._open()
        self._trust[row.canary.key] = Trust(context.late_s, context.queue_s, lag_s=0.0)
        limit = min(self._rules.injection_deadline, context.deadline_s)
        receipt = await self._injector.send(row.canary, limit)
        await self._received(row, receipt, instant(self._clock))

    async def _received(self, row: LedgerRow, receipt: Receipt, now: Instant) -> None:
        key = row.canary.key
        self._volume.sent(receipt)
        self._looks.plan(row, now.boot_s + self._book.first_look_s(key.seq), now.boot_id)
        if receipt.sent is Sent.ACCEPTED:
            self._paths.accepted(key, now)
        if judged := await self._book.receive(key, receipt, now):
            self._report(judged)

    async def _open(self) -> LedgerRow:
        """Commit the next row. One at a time, so that sequence numbers stay dense."""
        async with self._opening:
            await self._settle_doubt()
            row = self._make(instant(self._clock))
            self._doubt = row
            await self._book.open(row)
            self._opened(row)
        return row

    async def _settle_doubt(self) -> None:
        """A row that was not durable in time may have become so since: then it was maybe sent."""
        if self._doubt is None:
            return
        found = await self._book.durable(self._ledger.find(self._doubt.canary.canary_id))
        if found is not None:
            self._book.add(found)
            self._opened(found)
            # Nobody can tell whether the last audit counted it.
            self._audited_s = -math.inf
        self._doubt = None

    def _opened(self, row: LedgerRow) -> None:
        self._doubt, self._seq = None, row.canary.key.seq
        self._injected_s = self._clock.monotonic()
        # In case no receipt ever comes.
        wait = self._rules.injection_deadline + self._book.first_look_s(self._seq)
        self._looks.plan(row, self._injected_s + wait, self._clock.boot_id)

    def _make(self, now: Instant) -> LedgerRow:
        canary = self._canary(unix_ns(now.utc))
        return make_row(canary, now, self.spec.sent_under, self._book.learned.deadline_s)

    def _canary(self, now_ns: int) -> Canary:
        spec = self.spec
        # Where somebody else stamps it, one ahead of its time would be newer than its own sample.
        whole = spec.signal is Signal.METRICS and spec.stamped
        stamp = next_stamp_ns(now_ns, self._last_stamp_ns, whole_seconds=whole)
        self._last_stamp_ns = stamp
        return make_canary(
            self._epoch.instance,
            spec.group,
            CanaryKey(spec.name, self._epoch.number, self._seq + 1),
            make_beat(now_ns, spec.every_s),
            spec.signal,
            stamp,
            spec.service_name,
            keep=spec.keep,
            stamped=spec.stamped,
        )

    # Reading back.

    async def load(self) -> None:
        """Derive everything from the ledger, once. Raises StoreError, then it is tried again."""
        async with self._loading:
            if self._loaded:
                return
            known = await self._book.load()
            now = instant(self._clock)
            # Nobody looked for what is open while we were down.
            self._unread_s = now.boot_s
            for row in known.open:
                self._looks.plan(row, now.boot_s, now.boot_id)
            keys = (row.canary.key for row in known.recent)
            self._seq = max((key.seq for key in keys if key.epoch == self._epoch.number), default=0)
            self._volume.recall(known.recent, known.past.sent_today)
            mine = self.spec.sent_under
            recent = (one for one in known.past.recent if one.sent_under == mine)
            self._paths.recall(recent, known.past.paths)
            self._verdict = self._book.replay(known.recent, now)
            self._book.forget(self._looks.keys())
            self._loaded = True

    async def read(self) -> float:
        """Look for what is due, judge, report; seconds until the next call.

        Raises StoreError when the ledger fails: nothing counts as judged that is not committed.
        """
        await self.load()
        self._told_now = False
        if judged := await self._book.flush():
            self._report(judged)
        await self._expire()
        due = self._errands.due(instant(self._clock))
        for errand in list(islice(due, _READS_PER_STEP)):
            if self._blocked_s() > 0 or not self._budget.take(self._clock.monotonic()):
                break
            self._errands.taken()
            await self._run(errand)
        await self._audit()
        return self._next_s()

    @property
    def step_deadline_s(self) -> float:
        """Longest that one `read` may take: every read and every commit up to its own limit."""
        # An empty read at a deadline is followed by one by the other path at once.
        reads = 2 * _READS_PER_STEP
        return reads * (self._rules.read_timeout + self._rules.store_deadline)

    async def _expire(self) -> None:
        """While the store must not be asked, a passed deadline makes a canary unknown."""
        if (barred_s := self._blocked_s()) > 0:
            now = instant(self._clock)
            self._budget.barred(now.boot_s)
            self._unread_s = now.boot_s + barred_s
            rows = self._book.pending()
            reason = self._backoff.reason if self._volume.reads_left else Reason.CAP
            await self._settle([(row, unread(row, reason, now)) for row in rows])

    def _blocked_s(self) -> float:
        wait = self._backoff.wait_s(self._clock.monotonic())
        return wait if self._volume.reads_left else max(wait, self._rules.poll_late_max)

    async def _run(self, errand: Errand) -> None:
        rows = [self._book.get(key) for key in errand.keys]
        reading = await self._ask(errand.path, rows)
        if errand.sample:
            row = self._book.get(errand.keys[0])
            self._paths.sampled(errand.sample, row, reading, instant(self._clock))
            if row.seen and errand.path.evidence:
                # A second copy may be stored after the first was judged.
                await self._settle([(row, recounted(row, reading, self._bench(row, ())))])
            return
        await self._judge(errand.path, rows, reading)
        absent = [
            row
            for row in map(self._book.get, errand.keys)
            if reading.complete and row.empty_read == reading.asked
        ]
        other = self._paths.other(errand.path.name)
        if absent and other:
            # Seen by the other path at the deadline, a canary is in time: ask before it is late.
            for extra in self._errands.batches(other, absent, instant(self._clock)):
                if self._budget.take(self._clock.monotonic()):
                    again = [self._book.get(key) for key in extra.keys]
                    await self._judge(extra.path, again, await self._ask(extra.path, again))

    async def _ask(self, path: AccessPath, rows: Sequence[LedgerRow]) -> Reading:
        question = question_of(
            self.spec.signal,
            [row.canary for row in rows],
            unix_ns(instant(self._clock).utc),
            stamped=self.spec.stamped,
        )
        reading = await self._backend.read(question, path, self._rules.read_timeout)
        self._volume.read()
        self._size.told(reading.reason, len(rows), self._clock.monotonic())
        if not path.evidence and reading.retry_after_s is None:
            # A cache answers while its store is down, an aggregate fails while it is up.
            return reading
        now_s = self._clock.monotonic()
        if reading.complete:
            self._backoff.succeeded(now_s)
        else:
            self._backoff.failed(now_s, reading.retry_after_s, reading.reason)
            self._unread_s = now_s + self._blocked_s()
        return reading

    async def _judge(self, path: AccessPath, rows: Sequence[LedgerRow], reading: Reading) -> None:
        now = instant(self._clock)
        self._paths.answered(path, reading, now)
        # A receipt may have come while the read was under way.
        rows = [self._book.get(row.canary.key) for row in rows]
        found: dict[str, tuple[Sighting, ...]] = {}
        for one in reading.sightings:
            found[one.canary_id] = (*found.get(one.canary_id, ()), one)
        after: list[LedgerRow] = []
        for row in rows:
            own = replace(reading, sightings=found.get(row.canary.canary_id, ()))
            waited_s = self._looks.overdue_s(row.canary.key, reading.asked.boot_s)
            after.append(judge(row, own, path, now, self._bench(row, after, waited_s)))
            self._paths.note(row.canary.key, path, reading)
            seen = self._shows(row, own)
            self._book.looked(row.canary.key, look_of(row, own, path, seen=seen))
        await self._settle(list(zip(rows, after, strict=True)))
        current = [self._book.get(row.canary.key) for row in rows]
        self._looks.again(current, now)
        for before, row in zip(rows, current, strict=True):
            self._paths.judged(before, row, path, now)

    def _shows(self, row: LedgerRow, reading: Reading) -> bool:
        precision_ns, stamped = self._backend.declaration.precision_ns, self.spec.stamped
        found = records_of(row.canary, reading.sightings, precision_ns, stamped=stamped)
        return reading.complete and bool(found)

    def _bench(
        self, row: LedgerRow, just_judged: Sequence[LedgerRow], waited_s: float = 0.0
    ) -> Bench:
        other = self._paths.other(self._primary.name)
        polled = self._book.polled(row.canary.key)
        polled_s = row.sent.boot_s + (polled.at_s if polled else 0.0)
        return Bench(
            rules=self._rules,
            precision_ns=self._backend.declaration.precision_ns,
            confirm_path=other.name if other else None,
            ever_seen=self._book.ever_seen,
            sent_under=self.spec.sent_under,
            intended=self._intent(row, just_judged),
            stamped=self.spec.stamped,
            unread=polled_s < self._unread_s,
            polled_by=polled.path if polled else "",
            shown=self._paths.shown,
            waited_s=waited_s,
            slow_s=self.spec.target_s,
        )

    def _intent(self, row: LedgerRow, just_judged: Sequence[LedgerRow]) -> str:
        if row.empty_read is None or row.outcome not in UNDECIDED:
            return ""
        expected = self.spec.expect_drop
        if expected is None or expected.ratio is None:
            return self._intended(row) if self._intended else ""
        # Only the band tells a sampler that works from one that drops everything: its counter
        # moves with everybody's traffic.
        known = {one.canary.key: one for one in self._book.newest()}
        known |= {one.canary.key: one for one in just_judged}
        return sampled(row, list(known.values()), expected.ratio)

    async def _settle(self, changes: Sequence[tuple[LedgerRow, LedgerRow]]) -> None:
        if judged := await self._book.settle(changes):
            self._report(judged)

    async def _audit(self) -> None:
        """The identity is checked once a minute; the verdict ages with every step."""
        now_s, every_s = self._clock.monotonic(), self.spec.every_s
        await self._book.keep_paths(self._paths.past, now_s)
        if now_s - self._audited_s >= max(_AUDIT_S, every_s):
            self._told_now = False
            if await self._book.audit():
                self._audited_s = now_s
        if now_s - self._tidied_s >= every_s:
            self._tidied_s = now_s
            held = {*self._looks.keys(), *(one.key for one in self._paths.samples)}
            self._book.forget(held)
            self._paths.forget(held)
            self._trust = {key: told for key, told in self._trust.items() if key in held}
        if not self._told_now:
            self._report([])

    def _next_s(self) -> float:
        now = self._clock.monotonic()
        # A canary injected while this sleeps wants its first look in time.
        first_s = self._book.first_look_s(self._seq + 1)
        coming = max(self._ahead_s(now) + first_s, self._rules.first_read_after)
        if self._paths.to_pair(now + self._ahead_s(now)):
            coming = self._ahead_s(now) + _AT_ONCE_S
        moments = [one.at_s for one in self._paths.samples]
        if (look := self._looks.next_s()) is not None:
            moments.append(look)
        if not moments:
            return min(coming, self.spec.every_s)
        wait = max(0.0, min(moments) - now)
        if wait <= 0:
            # Deadlines go on passing while the store must not be asked.
            held = max(self._blocked_s(), self._budget.wait_s(now))
            wait = min(held, self._rules.poll_first if self._volume.reads_left else held)
        return min(wait, coming, self.spec.every_s)

    def _ahead_s(self, now_s: float) -> float:
        """Seconds until the next canary is due; runs that were left out do not hurry the steps."""
        if self._injected_s is None:
            return 0.0
        every_s, since_s = self.spec.every_s, now_s - self._injected_s
        over_s = since_s % every_s
        # One that is due just now may be under way.
        due = since_s >= every_s and over_s < self._rules.first_read_after
        return 0.0 if due else every_s - over_s

    # Telling.

    async def audit(self) -> None:
        """Check the accounting identity now. Raises StoreError."""
        await self._book.audit()

    def rows(self) -> tuple[LedgerRow, ...]:
        """The newest canaries of the present epoch, in sending order."""
        mine = [r for r in self._book.newest() if r.canary.key.epoch == self._epoch.number]
        return tuple(reversed(mine))

    async def sent(self, count: int) -> tuple[LedgerRow, ...]:
        """The last `count` canaries of the present epoch, in sending order. Raises StoreError."""
        rows = await self._book.durable(self._ledger.recent(self.spec.name, count))
        return tuple(r for r in rows[::-1] if r.canary.key.epoch == self._epoch.number)

    def _report(self, changed: Sequence[LedgerRow]) -> None:
        """One envelope for each newly judged canary, and one when the verdict changed by itself."""
        now, self._told_now = instant(self._clock), True
        verdict = self._verdict = self._present(now)
        told = (verdict.verdict, verdict.reason)
        if not changed and self._told == told:
            return
        status = self._status(verdict, now)
        for row in changed:
            trust = self._trust.get(row.canary.key, PUNCTUAL)
            self._publish(
                canary_envelope(row, status, self._epoch.number, self._generation, now, trust)
            )
        if not changed:
            self._publish(route_envelope(status, self._epoch.number, self._generation, now))
        self._told = told

    def age(self) -> RouteStatus:
        """The route at this moment; tells of a verdict that changed by time alone.

        It does so though no read gets through.
        """
        if not self._loaded or self._verdict is None:
            return self.status()
        self._report([])
        return self._status(self._verdict, instant(self._clock))

    def _present(self, now: Instant) -> RouteVerdict:
        pace, capped = self._volume.pace(), ""
        if math.isinf(pace):
            pace, capped = 1.0, self._volume.told()
        denied, refused = self._paths.denied(), self._paths.refused(now)
        evidence = self._book.evidence(now, pace, capped, denied, refused)
        return route_verdict(evidence, self._rules, self._verdict)

    def status(self) -> RouteStatus:
        """The route at this moment: its verdict has aged, whether or not a read got through."""
        now = instant(self._clock)
        told = RouteVerdict(Verdict.BLIND, Reason.STARTING, "not read yet")
        return self._status(told if self._verdict is None else self._present(now), now)

    def _status(self, told: RouteVerdict, now: Instant) -> RouteStatus:
        book = self._book
        rows = tuple(book.window(now))
        off = () if told.verdict is Verdict.OK else (self._backend.skew_s, self._injector.skew_s)
        clocks = skew.ends_of(self.spec.backend, *off)
        return RouteStatus(
            spec=self.spec,
            verdict=told.verdict,
            reason=told.reason,
            detail="; ".join((told.detail, *clocks)),
            account=book.account,
            rows=rows,
            losses=sum(is_loss(row) for row in rows),
            pending=len(book.pending()),
            delay_p50_s=book.learned.p50_s,
            delay_p99_s=book.learned.p99_s,
            deadline_s=book.learned.deadline_s,
            paths=self._paths.statuses(),
            duplicates=self._duplicates(),
            newest_verified_age_s=book.verified_age_s(now),
            ever_seen=book.ever_seen,
            clocks=clocks,
        )

    def _duplicates(self) -> str:
        """What can be said of duplicates; a store that collapses them can never say "none"."""
        if self._book.doubled:
            return "seen"
        keeps = self._backend.declaration.dedupe is Dedupe.KEEPS
        return "none" if keeps and self._book.doubled is not None else "not_observable"
