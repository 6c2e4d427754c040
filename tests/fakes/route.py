"""A route over a FakeStore, driven by virtual time the way an engine drives it."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from core.result import RunEnvelope
from probes.protocol import RunContext
from selfcheck.canary.backoff import ReadBackoff, StoreBackoff
from selfcheck.canary.cycle import RouteCycle
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.ledger import Epoch, Ledger
from selfcheck.canary.memory import MemoryLedger
from selfcheck.canary.model import LedgerRow, Outcome, Signal
from selfcheck.canary.route import RouteSpec
from selfcheck.canary.volume import CapReachedError, VolumeMeter
from tests.fakes.store import FakeBackend, FakeInjector, FakeStore, Faults
from tests.support.clock import VirtualClock

SPEC = RouteSpec(
    name="logs-gw",
    signal=Signal.LOGS,
    every_s=10.0,
    group="all",
    hops=("send", "gateway", "logs", "read"),
    backend="logs",
    expect_drop=None,
    service_name="coalmine-canary",
    sent_under="under-1",
    target_s=None,
)
CONTEXT = RunContext(check="logs-gw", deadline_s=15.0, traceparent="")


class RouteRig:
    """One route, its store and ledger; `run` injects and reads at their times."""

    def __init__(
        self,
        spec: RouteSpec = SPEC,
        *,
        faults: Faults | None = None,
        rules: JudgingRules | None = None,
        clock: VirtualClock | None = None,
        ledger: Ledger | None = None,
        store: FakeStore | None = None,
        backend: FakeBackend | None = None,
        epoch: Epoch | None = None,
        meter: VolumeMeter | None = None,
        intended: Callable[[LedgerRow], str] | None = None,
        rng: random.Random | None = None,
        backoff: StoreBackoff | None = None,
    ) -> None:
        self.spec, self.rules = spec, rules or JudgingRules()
        self.clock = clock or VirtualClock()
        self.store = store or FakeStore(self.clock, faults)
        self.ledger = ledger or MemoryLedger("0a1b2c3d", self.clock)
        self.backend = backend or FakeBackend(self.store)
        self.published: list[RunEnvelope] = []
        self.epoch = epoch or Epoch("0a1b2c3d", 1)
        self._next_inject = self._next_read = self.clock.monotonic()
        rng = rng or random.Random(7)
        self.cycle = RouteCycle(
            spec,
            FakeInjector(self.store),
            self.backend,
            self.ledger,
            self.clock,
            rng,
            self.epoch,
            self.published.append,
            self.rules,
            1,
            ReadBackoff(self.rules, rng, backoff),
            intended,
            meter,
        )
        # Runs that did not start, as an engine would count them.
        self.skipped: list[str] = []

    @property
    def faults(self) -> Faults:
        return self.store.faults

    def restarted(self, **changes: object) -> "RouteRig":
        """The same ledger, store and clock under a new epoch, nothing else kept."""
        epoch = replace(self.epoch, number=self.epoch.number + 1)
        return RouteRig(
            replace(self.spec, **changes),
            rules=self.rules,
            clock=self.clock,
            ledger=self.ledger,
            store=self.store,
            backend=self.backend,
            epoch=epoch,
        )

    @property
    def next_s(self) -> float:
        """When there is something to do."""
        return min(self._next_read, self._next_inject)

    async def catch_up(self, *, inject: bool = True) -> None:
        """Do what is due now."""
        if inject and self._next_inject <= self.clock.monotonic():
            self._next_inject = self.clock.monotonic() + self.spec.every_s
            await self.inject()
        if self._next_read <= self.clock.monotonic():
            # An engine coalesces wake-ups; without this a step of 0 s would not end.
            self._next_read = self.clock.monotonic() + max(0.02, await self.cycle.read())

    async def run(self, seconds: float, *, inject: bool = True) -> None:
        end = self.clock.monotonic() + seconds
        while True:
            moment = self.next_s if inject else self._next_read
            if moment > end:
                break
            self.clock.move(max(0.0, moment - self.clock.monotonic()))
            await self.catch_up(inject=inject)
        self.clock.move(end - self.clock.monotonic())
        self._next_inject = max(self._next_inject, self.clock.monotonic())

    async def inject(self) -> None:
        """One run of the check, which the cap may leave out."""
        try:
            await self.cycle.inject(CONTEXT)
        except CapReachedError as exc:
            self.skipped.append(str(exc))

    async def rows(self) -> list[LedgerRow]:
        """All rows, oldest first."""
        return list(await self.ledger.recent(self.spec.name, 100_000))[::-1]

    async def outcomes(self) -> list[Outcome]:
        return [row.outcome for row in await self.rows()]

    async def count(self, outcome: Outcome) -> int:
        account = await self.ledger.account(self.spec.name)
        assert account.balanced
        return account.by_outcome[outcome]


async def side_by_side(rigs: Sequence[RouteRig], seconds: float) -> None:
    """Routes of one clock, each at its own times."""
    clock, end = rigs[0].clock, rigs[0].clock.monotonic() + seconds
    while (moment := min(rig.next_s for rig in rigs)) <= end:
        clock.move(max(0.0, moment - clock.monotonic()))
        for rig in rigs:
            await rig.catch_up()
    clock.move(end - clock.monotonic())
