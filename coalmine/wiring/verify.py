"""Checks and routes run once to judgement, in memory: no store is opened, nobody is paged."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

from coalmine.config.parsed import Config, RouteConfig
from coalmine.wiring.paging import source_check
from coalmine.wiring.plan import Plan, Works, build_plan, lanes
from coalmine.wiring.verified import RouteReport, Verified, check_report, route_report
from core.clock import Clock
from core.egress import Egress
from core.errors import PluginError
from core.kinds import Parts
from core.outbound.client import CurlOutbound
from core.resolve import Resolver
from core.result import Result, RunEnvelope
from core.verdict import Verdict
from probes.protocol import RunContext
from scheduler.engine.lag import LagMeter
from scheduler.engine.leash import Leash
from scheduler.engine.protocol import Check
from scheduler.engine.run import RunParts, Scheduled, run_one
from selfcheck.backends.protocol import SourceReader
from selfcheck.canary.memory import MemoryLedger
from selfcheck.canary.model import LedgerRow
from selfcheck.canary.verify import RouteVerification, verify_route
from selfcheck.quiet.watch import QuietWatch

# A label and part of every id; the random epoch keeps two runs apart.
INSTANCE = "ci"
_GRACE_S = 2.0
_PROGRESS_AFTER_S = 1.0
_PROGRESS_EVERY_S = 5.0

_Task = asyncio.Task[RunEnvelope | None] | asyncio.Task[RouteVerification]


@dataclass(frozen=True, slots=True)
class Limits:
    """How many canaries a route sends, and the seconds that all of it may take."""

    cycles: int
    timeout_s: float


def select(config: Config, names: Sequence[str]) -> Config:
    """`config` with the named checks, routes, joins and sources (none: all) and what they need.

    Raises KeyError with the first name that is none of them; sources are named `source:NAME`.
    """
    known = {one.name for one in config.checks} | {one.name for one in config.routes}
    known |= {source_check(one.name) for one in config.sources}
    known |= {one.name for one in config.joins}
    for name in names:
        if name not in known:
            raise KeyError(name)
    wanted = set(names) or known
    joins = tuple(one for one in config.joins if one.name in wanted)
    wanted |= {end for one in joins for end in (one.source, one.target)}
    routes = tuple(_by_every_path(one) for one in config.routes if one.name in wanted)
    sources = tuple(one for one in config.sources if source_check(one.name) in wanted)
    backends = {one.read for one in routes} | {one.to for one in routes}
    backends |= {one.backend for one in sources}
    hops = {hop for one in routes for hop in one.hops}
    return replace(
        config,
        checks=tuple(one for one in config.checks if one.name in wanted),
        routes=routes,
        joins=joins,
        backends=tuple(one for one in config.backends if one.name in backends),
        hops=tuple(one for one in config.hops if one.name in hops),
        sources=sources,
    )


def _by_every_path(route: RouteConfig) -> RouteConfig:
    """With a handful of canaries, each is asked for by all access paths."""
    return replace(route, judging=route.judging.model_copy(update={"all_paths_every": 1}))


async def verify(
    config: Config,
    clock: Clock,
    rng: random.Random,
    limits: Limits,
    stop: asyncio.Event,
    tell: Callable[[str], None],
) -> Verified:
    """Run everything in `config` once. `stop` ends it early; `tell` hears of progress.

    Raises CoalmineError when something cannot be built.
    """
    egress = Egress(config.top.egress.allow)
    outbound = CurlOutbound(clock, Resolver(), egress)
    try:
        plan, epoch = await _plan(config, clock, rng, outbound, egress)
        try:
            return await _Run(plan, clock, rng, epoch, limits, tell).all(stop)
        finally:
            await plan.close(None)
    finally:
        await outbound.close()


async def _plan(
    config: Config, clock: Clock, rng: random.Random, outbound: CurlOutbound, egress: Egress
) -> tuple[Plan, int]:
    """The plan of the service, over a ledger in memory; and its epoch."""
    ledger = MemoryLedger(INSTANCE, clock, rng)
    epoch = await ledger.begin()
    parts = Parts(
        outbound, clock, rng, config.data_dir / "artifacts", config.base_dir, INSTANCE,
        config.top.namespace, egress,
    )  # fmt: skip

    def intended(row: LedgerRow) -> str:
        status = plan.routes[row.canary.key.route].cycle.status()
        return plan.pipeline.intent(status, row)

    works = Works(parts, ledger, epoch, clock, rng, _unheard, _unheard, intended)
    plan = build_plan(config, 1, works, None)
    return plan, epoch.number


def _unheard(*_: object) -> None:
    """Results and scrapes are read from the plan in the end: nobody is told meanwhile."""


class _Run:
    """One run of a plan."""

    def __init__(
        self,
        plan: Plan,
        clock: Clock,
        rng: random.Random,
        epoch: int,
        limits: Limits,
        tell: Callable[[str], None],
    ) -> None:
        self._plan, self._clock, self._limits, self._tell = plan, clock, limits, tell
        self._lag = LagMeter(clock)
        self._parts = RunParts(clock, rng, self._lag, Leash(0, self._leaked), epoch, _GRACE_S)
        self._lanes = {one.name: asyncio.Semaphore(one.capacity) for one in lanes(plan.config)}

    async def all(self, stop: asyncio.Event) -> Verified:
        """Run, watch, report."""
        plan = self._plan
        checks = {
            one.name: asyncio.create_task(self._check(one))
            for one in plan.checks
            if one.name in plan.probes
        }
        looks = {
            one.name: asyncio.create_task(self._check(one)) for one in _looks(plan, self._clock)
        }
        checks |= looks
        routes = {name: asyncio.create_task(self._route(name)) for name in plan.routes}
        hops = [one.name for one in plan.config.hops]
        steps: list[Callable[[], Awaitable[float]]] = [self._lag.beat]
        steps += [partial(plan.pipeline.scrape, hop) for hop in hops]
        attending = [asyncio.create_task(self._attend(step)) for step in steps]
        stopping = asyncio.create_task(stop.wait())
        try:
            await self._watch({**checks, **routes}, stopping)
            # A link can be followed once both its ends were seen.
            joins = {
                one.name: asyncio.create_task(self._check(one))
                for one in plan.checks
                if one.name in plan.joins
            }
            checks |= joins
            await self._watch(joins, stopping)
            await plan.pipeline.refresh(hops)
        finally:
            await _end([*checks.values(), *routes.values(), *attending, stopping])
        findings = self._findings()
        kinds = {one.name: one.kind for one in plan.checks}
        return Verified(
            tuple(check_report(name, kinds[name], _run_of(task)) for name, task in checks.items()),
            tuple(
                [
                    await self._route_report(name, findings.get(name, ""), task)
                    for name, task in routes.items()
                ]
            ),
            stop.is_set(),
        )

    async def _route_report(
        self, name: str, finding: str, task: asyncio.Task[RouteVerification]
    ) -> RouteReport:
        cycle = self._plan.routes[name].cycle
        trouble = _trouble(task)
        if trouble:
            sent = await cycle.sent(self._limits.cycles)
            found = RouteVerification(sent, cycle.status(), "")
        else:
            found = task.result()
        signal = cycle.spec.signal.value
        return route_report(name, signal, finding, found, self._limits.cycles, trouble)

    async def _watch(self, tasks: Mapping[str, _Task], stopping: asyncio.Task[Any]) -> None:
        """Until all have ended, time is up or `stopping` is done."""
        # Routes keep the limit themselves, and still audit their account after it.
        began = self._clock.monotonic()
        end = began + self._limits.timeout_s + _GRACE_S
        waiting, pause = dict(tasks), _PROGRESS_AFTER_S
        while waiting and not stopping.done():
            left = end - self._clock.monotonic()
            if left <= 0:
                return
            watched: set[asyncio.Task[Any]] = {*waiting.values(), stopping}
            done, _ = await asyncio.wait(
                watched, timeout=min(pause, left), return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                judged, took = len(tasks) - len(waiting), self._clock.monotonic() - began
                limit = told_s(self._limits.timeout_s)
                self._tell(f"{judged} of {len(tasks)} judged, {took:.0f} s of {limit}")
                pause = _PROGRESS_EVERY_S
            for name in [name for name, task in waiting.items() if task in done]:
                del waiting[name]
                self._tell(f"{name}: done")

    async def _check(self, check: Check) -> RunEnvelope | None:
        async with self._lanes[check.lane]:
            now_s = self._clock.monotonic()
            scheduled = Scheduled(self._clock.utc(), now_s, now_s)
            return await run_one(check, self._plan.generation, scheduled, self._parts)

    async def _route(self, name: str) -> RouteVerification:
        cycle = self._plan.routes[name].cycle
        return await verify_route(cycle, self._clock, self._limits.cycles, self._limits.timeout_s)

    async def _attend(self, step: Callable[[], Awaitable[float]]) -> None:
        while True:
            await self._clock.sleep(await step())

    def _findings(self) -> dict[str, str]:
        statuses = [route.cycle.status() for route in self._plan.routes.values()]
        found = self._plan.pipeline.findings(statuses)
        return {name: finding.sentence() for name, finding in found.items()}

    def _leaked(self, error: PluginError) -> None:
        self._tell(str(error))


def _looks(plan: Plan, clock: Clock) -> list[Check]:
    """Each expected source, asked for once whatever the routes beside it come to."""
    asked: dict[str, Callable[[RunContext], Awaitable[Result]]] = {}
    for name, watch in plan.watches.items():
        reader = cast("SourceReader", plan.backends[watch.source.backend])
        alone = QuietWatch(watch.source, reader, _ungated, clock)
        asked[source_check(name)] = partial(_look, alone)
    sources = [one for one in plan.checks if one.kind == "source"]
    return [replace(one, run=asked.get(one.name, one.run)) for one in sources]


def _ungated(_: tuple[str, ...]) -> Mapping[str, Verdict]:
    """The routes are judged beside the source and listed with it."""
    return {}


async def _look(watch: QuietWatch, _: RunContext) -> Result:
    return await watch.step()


def told_s(seconds: float) -> str:
    """A time limit for people: in minutes when it is a whole number of them."""
    return f"{seconds / 60:.0f}m" if seconds % 60 == 0 else f"{seconds:g} s"


async def _end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel what still runs, and wait for it; what each came to is read from its task."""
    waiting = list(tasks)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


def _run_of(task: asyncio.Task[RunEnvelope | None]) -> RunEnvelope | str:
    trouble = _trouble(task)
    return trouble or task.result() or "it reported nothing"


def _trouble(task: _Task) -> str:
    """Why an ended task has no result; empty when it has one."""
    if task.cancelled():
        return "not judged in time"
    error = task.exception()
    return "" if error is None else f"{type(error).__name__}: {error}"
