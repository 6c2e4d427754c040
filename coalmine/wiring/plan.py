"""One immutable plan: every instance that a config asks for, built before anything is swapped."""

import hashlib
import math
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import cast

from coalmine.config.model import JoinOptions
from coalmine.config.parsed import CheckConfig, Config, KindConfig, RouteConfig
from coalmine.wiring.paging import (
    JOIN_DEADLINE_S,
    source_check,
    source_every_s,
)
from coalmine.wiring.picture import SOURCE_DEADLINE_S
from coalmine.wiring.pipeline import Pipeline
from core.clock import Clock
from core.errors import StoreError
from core.kinds import Parts
from core.reason import Reason
from core.result import Result, RunEnvelope
from core.verdict import Verdict, freshness_limit_s
from probes.protocol import PROBES, Probe, RunContext
from scheduler.engine.lanes import LaneLimits
from scheduler.engine.protocol import Check, NotStartedError, Step
from scheduler.live import PlanItem
from selfcheck.backends.protocol import (
    BACKENDS,
    Backend,
    LinkReader,
    SourceReader,
    TraceReader,
    WriteRule,
)
from selfcheck.canary.backoff import ReadBackoff, StoreBackoff
from selfcheck.canary.cycle import RouteCycle
from selfcheck.canary.ledger import Epoch, Ledger
from selfcheck.canary.make import RECIPE
from selfcheck.canary.model import LedgerRow
from selfcheck.canary.recheck.cycle import RecheckRules, Rechecks
from selfcheck.canary.recheck.ledger import RecheckLedger
from selfcheck.canary.recheck.model import RecheckAccount
from selfcheck.canary.route import RouteSpec
from selfcheck.canary.volume import CapReachedError, VolumeGuard, VolumeMeter
from selfcheck.hops.protocol import HOP_READERS, HopCounters
from selfcheck.injectors.protocol import INJECTORS, Injector
from selfcheck.joins.beats import Beats
from selfcheck.joins.model import Join, longest_gap
from selfcheck.joins.watch import JoinWatch
from selfcheck.quiet.model import Source
from selfcheck.quiet.watch import QuietWatch

SERVICE_NAME = "coalmine-canary"
OWN_LANE = "own"
# Canaries of several routes share a commit and a wake-up. Rule: docs/design.md, "Scheduling".
_SLOT_S = 0.25
# Newest canaries of each end among which a join looks for a beat of both.
_BEATS = 1000


@dataclass(frozen=True, slots=True)
class Works:
    """What the service lends to every plan. rechecks: None where nothing is looked for again."""

    parts: Parts
    ledger: Ledger
    epoch: Epoch
    clock: Clock
    rng: random.Random
    publish: Callable[[RunEnvelope], None]
    heard: Callable[[HopCounters, HopCounters], None]
    intended: Callable[[LedgerRow], str]
    rechecks: RecheckLedger | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """A running route: its config as of now, and its life."""

    config: RouteConfig
    cycle: RouteCycle
    injector: Injector
    mark: str
    retention_s: float | None
    rechecks: Rechecks | None

    @property
    def accounts(self) -> tuple[RecheckAccount, ...]:
        """What became of its rechecks, by age; nothing where there are none."""
        return self.rechecks.accounts if self.rechecks else ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that runs under one generation of the config.

    retiring: routes that the config no longer has; they are read until nothing is pending.
    """

    config: Config
    generation: int
    checks: tuple[Check, ...]
    steps: tuple[Step, ...]
    items: tuple[PlanItem, ...]
    probes: Mapping[str, Probe]
    backends: Mapping[str, Backend]
    routes: Mapping[str, Route]
    joins: Mapping[str, JoinWatch]
    watches: Mapping[str, QuietWatch]
    pipeline: Pipeline
    meters: Mapping[str, VolumeMeter]
    retiring: Mapping[str, Route] = field(default_factory=dict)

    async def close(self, keep: "Plan | None") -> None:
        """Close what the plan `keep` does not use any more."""
        kept = set() if keep is None else {id(one) for one in keep.instances()}
        for instance in self.instances():
            if id(instance) not in kept:
                await instance.close()
        await self.pipeline.close()

    def instances(self) -> "list[Probe | Backend | Injector]":
        """Everything that was built and can be closed."""
        routes = (*self.routes.values(), *self.retiring.values())
        return [
            *self.probes.values(),
            *self.backends.values(),
            *(route.injector for route in routes),
        ]


def lanes(config: Config) -> tuple[LaneLimits, ...]:
    """The lanes: none can starve another."""
    return (
        LaneLimits("probes", 256, 20_000),
        LaneLimits("browser", config.top.browser.parallel, 100),
        LaneLimits("canaries", 64, 2_000),
        LaneLimits("readback", 64, 2_000),
        LaneLimits("sources", 16, 1_000),
        LaneLimits(OWN_LANE, 16, 100),
    )


def build_plan(config: Config, generation: int, works: Works, old: Plan | None) -> Plan:
    """A new plan; unchanged instances of `old` are taken over. Raises CoalmineError.

    Nothing of `old` is changed, so that a plan that cannot be built leaves it live.
    """
    probes = {one.name: _probe(one, config, works, old) for one in config.checks}
    backends = {one.name: _backend(one, works, old) for one in config.backends}
    by_name = {one.name: one for one in config.backends}
    backoffs = {name: StoreBackoff(config.judging, works.rng) for name in backends}
    # What was used of a day's cap stays used over a reload.
    meters = {name: (old and old.meters.get(name)) or VolumeMeter() for name in backends}
    ground = _Ground(by_name, backends, backoffs, meters)
    routes = {one.name: _route(one, ground, works, generation, old) for one in config.routes}
    pipeline = _pipeline(config, works, old)
    watches = {
        one.name: watch for one in _sources(config)
        if (watch := _watch(one, backends[one.backend], routes, works, old)) is not None
    }  # fmt: skip
    joins = {one.name: _join(one, backends, routes, works) for one in config.joins}
    retiring = _retiring(routes, old)
    return Plan(
        config, generation,
        checks=tuple(_checks(config, probes, routes, joins, watches)),
        steps=tuple(_steps({**retiring, **routes}, pipeline, config)),
        items=tuple(plan_items(config)),
        probes=probes, backends=backends, routes=routes, joins=joins, watches=watches,
        pipeline=pipeline, meters=meters,
        retiring=retiring,
    )  # fmt: skip


def _same(one: KindConfig | CheckConfig | RouteConfig, two: object) -> bool:
    """Whether two entries say the same, wherever they stand in their file."""
    return type(one) is type(two) and replace(one, at=two.at) == two


def _probe(one: CheckConfig, config: Config, works: Works, old: Plan | None) -> Probe:
    before = None if old is None else _named(old.config.checks, one.name)
    if old is not None and before is not None and _same(one, before):
        return old.probes[one.name]
    options = one.options
    if one.kind == "browser":
        own = {name: getattr(options, name) for name in options.model_fields_set}
        shared = {
            "executable": config.top.browser.executable,
            "sandbox": config.top.browser.sandbox,
        }
        options = options.model_copy(update={**shared, **own})
    return PROBES.load(one.kind).build(options, works.parts)


def _backend(one: KindConfig, works: Works, old: Plan | None) -> Backend:
    before = None if old is None else _named(old.config.backends, one.name)
    if old is not None and before is not None and _same(one, before):
        return old.backends[one.name]
    return BACKENDS.load(one.kind).build(one.options, works.parts)


def _named(entries: tuple[object, ...], name: str) -> object | None:
    return next((entry for entry in entries if getattr(entry, "name", None) == name), None)


def _mark(one: RouteConfig, backends: Mapping[str, KindConfig]) -> str:
    """What a route's canaries are made and sent under: a change of any of it is another way."""
    target = repr(backends[one.to].options) if one.to is not None else ""
    read = repr(backends[one.read].options)
    told = (RECIPE, one.kind, repr(one.options), target, one.read, read)
    return hashlib.blake2b(repr(told).encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class _Ground:
    """What all routes of a plan stand on, by name of the backend."""

    configs: Mapping[str, KindConfig]
    backends: Mapping[str, Backend]
    backoffs: Mapping[str, StoreBackoff]
    meters: Mapping[str, VolumeMeter]


def _route(
    one: RouteConfig, ground: _Ground, works: Works, generation: int, old: Plan | None
) -> Route:
    configs, mark = ground.configs, _mark(one, ground.configs)
    retention_s = configs[one.read].retention_s
    before = None if old is None else old.routes.get(one.name)
    if before is not None and _same(one, before.config) and before.mark == mark:
        if before.retention_s == retention_s:
            return before
        again = _rechecks(one, before.cycle.spec, retention_s, ground, works, generation)
        return replace(before, retention_s=retention_s, rechecks=again)
    rule: WriteRule | None = None
    if one.to is not None:
        target = configs[one.to]
        rule = BACKENDS.load(target.kind).write_rules(target.options).get(one.kind)
    injector = INJECTORS.load(one.kind).build(one.options, works.parts, rule)
    spec = _spec(one, mark)
    cycle = RouteCycle(
        spec, injector, ground.backends[one.read], works.ledger, works.clock, works.rng,
        works.epoch, works.publish, one.judging, generation,
        _backoff(one, ground, works), works.intended, meter=ground.meters[one.read],
    )  # fmt: skip
    rechecks = _rechecks(one, spec, retention_s, ground, works, generation)
    return Route(one, cycle, injector, mark, retention_s, rechecks)


def _rechecks(
    one: RouteConfig,
    spec: RouteSpec,
    retention_s: float | None,
    ground: _Ground,
    works: Works,
    generation: int,
) -> Rechecks | None:
    if works.rechecks is None or not one.judging.recheck_every:
        return None
    rules = RecheckRules(one.judging.recheck_every, one.judging.rechecks_per_minute, retention_s)
    volume = VolumeGuard(ground.meters[one.read], one.judging, one.name, one.every_s, works.clock)
    return Rechecks(
        spec, ground.backends[one.read], works.rechecks, works.clock, works.rng, one.judging,
        rules, _backoff(one, ground, works), works.publish, works.epoch.number, generation, volume,
    )  # fmt: skip


def _backoff(one: RouteConfig, ground: _Ground, works: Works) -> ReadBackoff:
    return ReadBackoff(one.judging, works.rng, ground.backoffs[one.read])


def _spec(one: RouteConfig, mark: str) -> RouteSpec:
    return RouteSpec(
        name=one.name,
        signal=one.signal,
        every_s=one.every_s,
        group=one.group,
        hops=hop_names(one),
        backend=one.read,
        expect_drop=one.expect_drop,
        service_name=SERVICE_NAME,
        sent_under=mark,
        target_s=one.slow_after_s,
        stamped=one.signal not in INJECTORS.load(one.kind).unstamped,
        by=one.kind,
    )


def hop_names(one: RouteConfig) -> tuple[str, ...]:
    """The hops of a route in the order of the flow, its ends included."""
    return ("send", *one.hops, one.read, "read")


def _retiring(routes: Mapping[str, Route], old: Plan | None) -> dict[str, Route]:
    """Routes that the config no longer has, as long as canaries of theirs are under way."""
    if old is None:
        return {}
    # One that leaves now may yet send a canary before the swap: pending or not, it is read on.
    gone = {name: route for name, route in old.routes.items() if name not in routes}
    left = {
        name: one for name, one in old.retiring.items()
        if name not in routes and one.cycle.status().pending
    }  # fmt: skip
    return {**left, **gone}


def _pipeline(config: Config, works: Works, old: Plan | None) -> Pipeline:
    readers = {
        one.name: HOP_READERS.load(one.kind).build(one.options, works.parts, one.name)
        for one in config.hops
    }
    pace = min((one.every_s for one in config.routes), default=10.0)
    pipeline = Pipeline(readers, min(10.0, max(1.0, pace)), works.clock, works.heard)
    if old is not None:
        pipeline.inherit(old.pipeline)
    return pipeline


def _sources(config: Config) -> list[Source]:
    """Expected sources; one that names no routes is gated by all that read its backend."""
    return [
        Source(
            one.name, one.backend, one.select, one.quiet_after,
            one.routes or tuple(r.name for r in config.routes if r.read == one.backend),
        )
        for one in config.sources
    ]  # fmt: skip


def _watch(
    source: Source, backend: Backend, routes: Mapping[str, Route], works: Works, old: Plan | None
) -> QuietWatch | None:
    if not hasattr(backend, "newest"):
        return None
    reader = cast("SourceReader", backend)

    def gate(names: tuple[str, ...]) -> Mapping[str, Verdict]:
        return {name: routes[name].cycle.status().verdict for name in names}

    before = None if old is None else old.watches.get(source.name)
    if before is not None and before.source == source:
        return before.moved(reader, gate)
    return QuietWatch(source, reader, gate, works.clock)


def _join(
    one: JoinOptions, backends: Mapping[str, Backend], routes: Mapping[str, Route], works: Works
) -> JoinWatch:
    source, target = routes[one.source], routes[one.target]
    every_s = max(source.config.every_s, target.config.every_s)
    gap = longest_gap(_kept(source.config) * _kept(target.config))
    rules = source.config.judging
    limit_s = _route_limit_s(source.config) + gap * every_s + one.every
    count = min(_BEATS, math.ceil(limit_s / min(source.config.every_s, target.config.every_s)))

    beats = Beats(source.cycle, target.cycle, count)
    # What crosscheck made sure of.
    links = cast("LinkReader", backends[source.config.read])
    traces = cast("TraceReader", backends[target.config.read])
    join = Join(one.name, one.source, one.target)
    return JoinWatch(join, beats.newest, links, traces, works.clock, rules, limit_s)


def _kept(one: RouteConfig) -> float:
    """The share of its canaries that no declared sampler drops."""
    declared = one.expect_drop
    return 1.0 if declared is None or declared.ratio is None else 1.0 - declared.ratio


def _checks(
    config: Config,
    probes: Mapping[str, Probe],
    routes: Mapping[str, Route],
    joins: Mapping[str, JoinWatch],
    watches: Mapping[str, QuietWatch],
) -> list[Check]:
    found = [
        Check(one.name, one.kind, one.every_s or 0.0, one.deadline_s, probes[one.name].lane,
              probes[one.name].run, one.cron, one.zone)
        for one in config.checks
    ]  # fmt: skip
    for name, route in routes.items():
        rules = route.config.judging
        limit = rules.injection_deadline + rules.store_deadline
        found.append(Check(name, "canary", route.config.every_s, limit, "canaries",
                           _inject_run(route.cycle), slot_s=_SLOT_S))  # fmt: skip
    found += [
        Check(one.name, "join", one.every, max(JOIN_DEADLINE_S, joins[one.name].deadline_s),
              "sources", _join_run(joins[one.name]))
        for one in config.joins
    ]  # fmt: skip
    for one in config.sources:
        run = _source_run(watches[one.name]) if one.name in watches else _unreadable
        found.append(Check(source_check(one.name), "source", source_every_s(one.quiet_after),
                           SOURCE_DEADLINE_S, "sources", run))  # fmt: skip
    return found


def _inject_run(cycle: RouteCycle) -> Callable[[RunContext], Awaitable[None]]:
    async def run(context: RunContext) -> None:
        try:
            await cycle.inject(context)
        except StoreError as exc:
            # Not durable, so nothing was sent.
            raise NotStartedError(Reason.STORE, str(exc)) from exc
        except CapReachedError as exc:
            raise NotStartedError(Reason.CAP, str(exc)) from exc

    return run


def _join_run(watch: JoinWatch) -> Callable[[RunContext], Awaitable[Result]]:
    async def run(_: RunContext) -> Result:
        return await watch.step()

    return run


def _source_run(watch: QuietWatch) -> Callable[[RunContext], Awaitable[Result]]:
    async def run(_: RunContext) -> Result:
        result = await watch.step()
        facts = {**result.facts, "routes": ",".join(watch.source.routes)}
        if result.verdict is Verdict.FAIL:
            facts["hop"] = source_check(watch.source.name)
        return replace(result, facts=facts)

    return run


async def _unreadable(_: RunContext) -> Result:
    return Result.blind(Reason.PERMISSION, "this backend cannot tell a source's newest record")


def _steps(routes: Mapping[str, Route], pipeline: Pipeline, config: Config) -> list[Step]:
    configured = {one.name for one in config.routes}
    reads = [Step(f"read {name}", "readback", one.cycle.read, one.cycle.step_deadline_s)
             for name, one in routes.items()]  # fmt: skip
    again = [
        Step(f"recheck {name}", "readback", one.rechecks.step, one.rechecks.step_deadline_s)
        for name, one in routes.items()
        if one.rechecks is not None and name in configured
    ]
    scrapes = [Step(f"scrape {one.name}", "readback", partial(pipeline.scrape, one.name), 15.0)
               for one in config.hops]  # fmt: skip
    return [*reads, *again, *scrapes]


def plan_items(config: Config) -> list[PlanItem]:
    """Checks, routes and sources as screens list them."""
    checks = [
        PlanItem(one.name, one.kind, one.title, freshness_limit_s(one.every_s or 86400.0,
                                                                   one.deadline_s))
        for one in config.checks
    ]  # fmt: skip
    routes = [PlanItem(one.name, "canary", one.title, _route_limit_s(one)) for one in config.routes]
    joins = [
        PlanItem(one.name, "join", one.title, freshness_limit_s(one.every, JOIN_DEADLINE_S))
        for one in config.joins
    ]
    sources = [
        PlanItem(source_check(one.name), "source", one.title,
                 freshness_limit_s(source_every_s(one.quiet_after), SOURCE_DEADLINE_S))
        for one in config.sources
    ]  # fmt: skip
    return [*checks, *routes, *joins, *sources]


def _route_limit_s(one: RouteConfig) -> float:
    rules = one.judging
    return freshness_limit_s(one.every_s, rules.deadline_ceiling, rules.confirm_after)
