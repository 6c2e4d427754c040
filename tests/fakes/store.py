"""An in-memory store with an injector and a backend; faults are arguments that may be changed."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from core.clock import Clock, instant
from core.kinds import Parts
from core.options import Options
from core.reason import Reason
from selfcheck.backends.http import retry_after_s
from selfcheck.backends.protocol import (
    AccessPath,
    Backend,
    Declaration,
    Dedupe,
    Question,
    Reading,
    WriteRule,
)
from selfcheck.canary.model import Canary, Receipt, Sent, Sighting, Signal
from selfcheck.injectors.protocol import Injector

SIGNALS = frozenset(Signal)
BY_ID = AccessPath("by_id", 0.0, True, SIGNALS)
SEARCH = AccessPath("search", 0.0, True, SIGNALS)
ONE_BY_ONE = AccessPath("by_id", 0.0, False, SIGNALS)
CACHED = AccessPath("search_cached", 0.0, True, SIGNALS, cached=True)
COUNTS = AccessPath("count", 0.0, True, SIGNALS, counts_only=True)


def never(_what: object) -> bool:
    return False


@dataclass
class Faults:
    """What goes wrong. drop, alter, hang: for which canaries. hidden: paths that show nothing.

    hang_after: the canary is stored, its answer never comes. cut: for which reads, by number.
    echo: what is asked for is answered with the newest record that the store has.
    cached_s: for so long cached paths go on answering what they answered first.
    retry_after: as the store writes it. skew_s, taker_skew_s: what is known of the clocks of the
    store and of what takes the canaries.
    """

    drop: Callable[[Canary], bool] = never
    alter: Callable[[Canary], bool] = never
    delay_s: float = 0.2
    copies: int = 1
    tries: int = 1
    reject: Reason | None = None
    maybe: bool = False
    silent: bool = False
    lost_answer: bool = False
    first_try: Sent | None = None
    detail: str = "refused"
    body_bytes: int = 300
    hang: Callable[[Canary], bool] = never
    hang_after: Callable[[Canary], bool] = never
    cut: Callable[[int], bool] = never
    echo: bool = False
    shuffled: bool = False
    cached_s: float = 0.0
    retry_after: str | None = None
    read_error: Reason | None = None
    broken_paths: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)
    truncated: bool = False
    skew_s: float | None = None
    taker_skew_s: float | None = None


@dataclass(frozen=True)
class Stored:
    canary: Canary
    visible_s: float
    boot_id: str

    def is_shown(self, clock: Clock) -> bool:
        """What was stored before our own reboot is there, whatever the boot clock says now."""
        return self.boot_id != clock.boot_id or self.visible_s <= clock.monotonic()


class FakeStore:
    """Records with the moment from which they are visible; `clock` may be virtual."""

    def __init__(self, clock: Clock, faults: Faults | None = None) -> None:
        self.clock, self.faults = clock, faults or Faults()
        self.records: list[Stored] = []
        self.sent: list[Canary] = []
        self.reads: list[tuple[str, float]] = []
        self.hung, self.released = asyncio.Event(), asyncio.Event()
        self.cache: dict[str, tuple[float, frozenset[str]]] = {}

    def keep(self, canary: Canary) -> None:
        faults = self.faults
        if faults.drop(canary):
            return
        if faults.alter(canary):
            canary = replace(canary, filler="altered", value=canary.value + 0.5)
        visible = self.clock.monotonic() + faults.delay_s
        self.records += [Stored(canary, visible, self.clock.boot_id)] * faults.copies

    def shown(self, question: Question) -> list[Sighting]:
        wanted = {canary.canary_id for canary in question.canaries}
        found: dict[str, list[Canary]] = {}
        for record in self.records:
            one = record.canary
            inside = question.start_ns <= one.stamp_ns <= question.end_ns
            if one.canary_id in wanted and inside and record.is_shown(self.clock):
                found.setdefault(one.canary_id, []).append(one)
        rows = [_sighting(copies[0], len(copies)) for copies in found.values()]
        return rows[::-1] if self.faults.shuffled else rows

    def cached(self, path: str, rows: list[Sighting]) -> list[Sighting]:
        """`rows` as a cache has them that answers for `cached_s` what it answered first."""
        now = self.clock.monotonic()
        known = {record.canary.canary_id for record in self.records if record.is_shown(self.clock)}
        at_s, answer = self.cache.get(path, (now, frozenset(known)))
        if now - at_s >= self.faults.cached_s:
            at_s, answer = now, frozenset(known)
        self.cache[path] = (at_s, answer)
        return [row for row in rows if row.canary_id in answer]

    def echoed(self, question: Question) -> list[Sighting]:
        """The newest record under each id that is asked for, with its own stamp and value."""
        if not self.records:
            return []
        last = self.records[-1].canary
        return [
            replace(_sighting(last, 1), canary_id=canary.canary_id) for canary in question.canaries
        ]


def _sighting(canary: Canary, copies: int) -> Sighting:
    return Sighting(
        canary.canary_id, canary.stamp_ns, copies, canary.body, canary.value, canary.attributes
    )


class FakeInjector(Injector):
    """Writes into a FakeStore."""

    options_model = Options
    reasons = frozenset({Reason.INJECT})
    signals = SIGNALS

    def __init__(self, store: FakeStore) -> None:
        self.store = store

    @classmethod
    def build(cls, options: Options, parts: Parts, rule: WriteRule | None) -> "FakeInjector":
        return cls(FakeStore(parts.clock))

    @property
    def skew_s(self) -> float | None:
        return self.store.faults.taker_skew_s

    async def send(self, canary: Canary, deadline_s: float) -> Receipt:
        faults = self.store.faults
        if faults.hang(canary):
            self.store.hung.set()
            await self.store.released.wait()
        self.store.sent.append(canary)
        if faults.reject is not None:
            return _receipt(Sent.REJECTED, faults, faults.reject, faults.detail, silent=False)
        if faults.maybe:
            if faults.lost_answer:
                self.store.keep(canary)
            return _receipt(
                Sent.MAYBE, faults, Reason.MAYBE_SENT, "no answer", silent=faults.silent
            )
        self.store.keep(canary)
        if faults.hang_after(canary):
            self.store.hung.set()
            await self.store.released.wait()
        return _receipt(Sent.ACCEPTED, faults, Reason.OK, "", silent=False)


def _receipt(sent: Sent, faults: Faults, reason: Reason, detail: str, *, silent: bool) -> Receipt:
    first = faults.first_try or sent
    return Receipt(sent, reason, detail, faults.tries, first, 0.05, faults.body_bytes, silent)


class FakeBackend(Backend):
    """Reads a FakeStore."""

    options_model = Options
    reasons = frozenset({Reason.READBACK})
    declaration = Declaration(
        SIGNALS, (BY_ID, SEARCH), 1, Dedupe.KEEPS, "", 5000, "empty list", "made for tests", ()
    )

    def __init__(
        self,
        store: FakeStore,
        *,
        paths: tuple[AccessPath, ...] = (BY_ID, SEARCH),
        row_limit: int = 5000,
        dedupe: Dedupe = Dedupe.KEEPS,
        precision_ns: int = 1,
    ) -> None:
        self.store = store
        self.declaration = replace(  # type: ignore[misc]  # an instance's own declaration
            FakeBackend.declaration,
            paths=paths,
            row_limit=row_limit,
            dedupe=dedupe,
            precision_ns=precision_ns,
        )

    @property
    def skew_s(self) -> float | None:
        return self.store.faults.skew_s

    @classmethod
    def build(cls, options: Options, parts: Parts) -> "FakeBackend":
        return cls(FakeStore(parts.clock))

    @classmethod
    def write_rules(cls, options: Options) -> Mapping[str, WriteRule]:
        return {}

    async def read(self, question: Question, path: AccessPath, deadline_s: float) -> Reading:
        asked, faults = instant(self.store.clock), self.store.faults
        self.store.reads.append((path.name, asked.boot_s))
        if (
            faults.read_error is not None
            or path.name in faults.broken_paths
            or faults.cut(len(self.store.reads))
        ):
            reason = faults.read_error or Reason.READBACK
            wait = retry_after_s(faults.retry_after, self.store.clock.utc())
            return Reading.broken(reason, "injected", asked, 0.0, wait)
        rows = [] if path.name in faults.hidden else self.store.shown(question)
        if faults.echo:
            rows = self.store.echoed(question)
        if path.cached:
            rows = self.store.cached(path.name, rows)
        if path.counts_only:
            rows = [Sighting(row.canary_id, None, row.copies, None, None, {}) for row in rows]
        if self.declaration.dedupe is Dedupe.COLLAPSES:
            rows = [replace(row, copies=None) for row in rows]
        limit = self.declaration.row_limit
        if faults.truncated or len(rows) > limit:
            part = tuple(rows[: min(limit, len(rows) // 2)])
            text = "truncated"
            return Reading(False, part, Reason.BACKEND_PROTOCOL, text, None, asked, 0.0, 0)
        return Reading.full(tuple(rows), asked, 0.0, 0)
