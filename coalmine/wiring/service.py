"""The service: starts everything in order, reloads it as a whole, and ends it in order."""

import asyncio
import logging
import random
import signal
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

from coalmine.config.parsed import Config
from coalmine.config.reload import ConfigWatch, Loaded
from coalmine.wiring.money import Money
from coalmine.wiring.paging import paging_config, source_check
from coalmine.wiring.picture import balance_rows, finding_facts, route_row, source_row
from coalmine.wiring.plan import OWN_LANE, Plan, Works, build_plan, lanes
from coalmine.wiring.selfwatch import SelfWatch, Signs, result_limit_s
from coalmine.wiring.serving import Served, Serving
from core.clock import Clock, instant
from core.egress import Egress
from core.errors import StoreError
from core.kinds import Parts
from core.outbound.client import CurlOutbound
from core.resolve import Resolver
from core.result import RunEnvelope
from core.verdict import Verdict
from paging.controller import PagingController
from paging.heartbeats import Proof
from scheduler.engine.engine import Engine
from scheduler.engine.protocol import NotRun, Step
from scheduler.latest import Fanout, LatestTable
from scheduler.live import Picture
from scheduler.readmodel import RouteRow, VitalLine
from scheduler.store import open_stores
from scheduler.store.ledger_room import LedgerCaps
from scheduler.store.retention import Retention
from selfcheck.canary.model import LedgerRow
from selfcheck.canary.route import RouteStatus
from selfcheck.hops.finding import Finding
from selfcheck.hops.protocol import HopCounters

log = logging.getLogger("coalmine")

# Whose verdict changes is painted at once; where a loss lies becomes clearer with every look.
PICTURE_S, CALM_S = 1.0, 3.0
RELOAD_POLL_S = 1.0
MONEY_S = 5.0
HOUSEKEEPING_S = 3600.0
ROOM_S = 60.0
STOP_GRACE_S = 5.0


class Service:
    """One running instance. All but paging and serving lives in the loop of `start`."""

    def __init__(self, config: Config, clock: Clock, rng: random.Random) -> None:
        """Nothing is opened before `start`. Raises as `Money` for a bad price book."""
        self._config, self._clock, self._rng = config, clock, rng
        self._watch = ConfigWatch(config, clock)
        self._latest = LatestTable(clock)
        self._picture = Picture()
        self._money = Money(config, clock, rng)
        self._findings: Mapping[str, Finding] = {}
        self._told: dict[str, str] = {}
        self._last_result_s: float | None = None
        self._stopped = asyncio.Event()
        # What is open, each part with its own end; one that fails to end keeps no other from it.
        self._opened = AsyncExitStack()
        self._fatal = ""

    async def start(self) -> str:
        """Open, build, begin; returns the API's address.

        Raises CoalmineError when it cannot; then nothing is left half started.
        """
        try:
            return await self._start()
        except BaseException:
            await self._opened.aclose()
            raise

    async def _start(self) -> str:
        config, clock, opened = self._config, self._clock, self._opened
        where = config.database_url or config.data_dir
        self._stores = await asyncio.to_thread(
            open_stores, where, clock, instance=config.top.instance, caps=_caps(config)
        )
        opened.push_async_callback(asyncio.to_thread, self._stores.close)
        self._epoch = await self._stores.ledger.begin()
        self._egress = Egress(config.top.egress.allow)
        self._outbound = CurlOutbound(clock, Resolver(), self._egress)
        opened.push_async_callback(self._outbound.close)
        self._fanout = Fanout(
            (self._keep, self._stores.samples.append, self._page, self._export), (self._page_gap,)
        )
        self._plan = build_plan(config, 1, self._works(), None)
        opened.push_async_callback(self._close_plan)
        self._paged = _names(self._plan)
        self._money.remember(self._stores.samples)
        self._paging = PagingController(
            paging_config(config), self._stores.state, clock, self._rng, self._epoch.number,
            self._proof, 1,
        )  # fmt: skip
        self._engine = Engine(
            clock, self._fanout, lanes(config), self._stores.ledger, self._rng,
            self._epoch.number, self._broken, self._die,
        )  # fmt: skip
        self._selfwatch = SelfWatch(clock, self._stores, self._signs(), self._fanout.publish)
        self._serving = Serving(config, clock, self._rng, self._served())
        opened.push_async_callback(asyncio.to_thread, self._serving.stop)
        opened.push_async_callback(asyncio.to_thread, self._paging.stop)
        opened.callback(self._selfwatch.stop)
        await asyncio.to_thread(self._paging.start)
        # Before the rules hear of anything new, every route's verdict is derived from the ledger.
        for route in self._plan.routes.values():
            await route.cycle.load()
        opened.push_async_callback(self._engine.stop, STOP_GRACE_S)
        await self._engine.start(self._plan.checks, self._steps(), 1)
        # Whoever asks first must not find a board without routes.
        self._swap_picture(self._statuses())
        self._serving.start()
        return self._serving.url

    def listen(self) -> None:
        """Take SIGTERM and SIGINT for the end and SIGHUP for a reload; in the main thread only."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopped.set)
        loop.add_signal_handler(signal.SIGHUP, self._watch.request)

    async def run(self) -> int:
        """Serve until SIGTERM or SIGINT (0), or until something of ours is broken for good (2)."""
        await self._stopped.wait()
        return 2 if self._fatal else 0

    async def stop(self) -> None:
        """Stop intake, let runs end, keep what is owed, close: the reverse of the start."""
        await self._opened.aclose()

    async def _close_plan(self) -> None:
        await self._plan.close(None)

    # What flows

    def _publish_route(self, envelope: RunEnvelope) -> None:
        """A result of a route: with its finding, if there is one, for whoever is told."""
        route = self._plan.routes.get(envelope.check)
        if envelope.verdict is not Verdict.OK:
            if route is not None:
                self._findings = self._plan.pipeline.finding(route.cycle.status(), self._statuses)
            envelope = self._located(envelope)
        before = self._latest.get(envelope.check)
        self._fanout.publish(envelope)
        if before is None or before.envelope.verdict is not envelope.verdict:
            # Whoever was just paged must not find a board that still says the old thing.
            self._repaint(envelope.check)

    def _repaint(self, name: str) -> None:
        """Swap one route's row; the rest is painted at the next turn."""
        route = self._plan.routes.get(name)
        if route is None or not [one for one in self._picture.routes if one.name == name]:
            self._swap_picture(self._statuses())
            return
        row = self._row(route.cycle.status())
        rows = tuple(row if one.name == name else one for one in self._picture.routes)
        self._picture = replace(self._picture, routes=rows)

    def _row(self, status: RouteStatus) -> RouteRow:
        name, now = status.spec.name, self._clock.utc()
        route = self._plan.routes[name]
        volume = self._plan.meters[status.spec.backend].volume(name, now)
        finding = self._findings.get(name)
        return route_row(status, route.config.title, finding, route.accounts, volume)

    def _located(self, envelope: RunEnvelope) -> RunEnvelope:
        finding = self._findings.get(envelope.check)
        route = self._plan.routes.get(envelope.check)
        if finding is None or route is None:
            return envelope
        self._told[envelope.check] = finding.sentence()
        facts = {**envelope.facts, **finding_facts(finding)}
        loss = self._money.loss(route.cycle.status(), finding)
        if loss:
            facts["loss_cost"] = loss
        return replace(envelope, facts=facts)

    def _statuses(self) -> list[RouteStatus]:
        return [route.cycle.status() for route in self._plan.routes.values()]

    def _keep(self, envelope: RunEnvelope) -> None:
        self._latest.update(envelope)
        if envelope.kind != "self":
            self._last_result_s = envelope.ended.boot_s

    def _page(self, envelope: RunEnvelope) -> None:
        # The last words of what a reload took out open no incident: nothing would ever close it.
        if envelope.kind == "self" or envelope.check in self._paged:
            self._paging.publish(envelope)

    def _page_gap(self, gap: NotRun) -> None:
        self._paging.not_run(gap)

    def _export(self, envelope: RunEnvelope) -> None:
        self._serving.publish(envelope)

    def _heard(self, _: HopCounters, counters: HopCounters) -> None:
        self._money.heard(counters)

    def _intended(self, row: LedgerRow) -> str:
        route = self._plan.routes.get(row.canary.key.route)
        return "" if route is None else self._plan.pipeline.intent(route.cycle.status(), row)

    def _broken(self, what: str, exc: Exception) -> None:
        self._selfwatch.broken(what, exc)

    def _die(self, what: str, exc: Exception) -> None:
        log.critical("fatal what=%s error=%s", what, exc)
        self._fatal = what
        self._stopped.set()

    # What is lent and shown

    def _works(self) -> Works:
        config = self._config
        artifacts = config.data_dir / "artifacts"
        parts = Parts(
            self._outbound, self._clock, self._rng, artifacts, config.base_dir,
            self._epoch.instance, config.top.namespace, self._egress,
        )  # fmt: skip
        return Works(
            parts, self._stores.ledger, self._epoch, self._clock, self._rng, self._publish_route,
            self._heard, self._intended, self._stores.ledger.rechecks,
        )  # fmt: skip

    def _signs(self) -> Signs:
        return Signs(
            beats=lambda: self._engine.lag.beats,
            paging_tick=self._paging.last_tick,
            newest_result=lambda: self._last_result_s,
            result_limit_s=lambda: result_limit_s(self._plan.config),
            export=self._export_vital,
            troubles=lambda: self._paging.snapshot().troubles,
            die=self._die,
        )

    def _served(self) -> Served:
        return Served(
            stores=self._stores, paging=self._paging, engine=self._engine,
            selfwatch=self._selfwatch, latest=self._latest, picture=lambda: self._picture,
            plan=lambda: self._plan.items, generation=lambda: self._plan.generation,
        )  # fmt: skip

    def _export_vital(self) -> VitalLine | None:
        return self._serving.export_vital()

    async def _proof(self) -> Proof:
        return await self._selfwatch.proof()

    # What goes on by itself

    def _steps(self) -> tuple[Step, ...]:
        own = (
            Step("watchdog", OWN_LANE, self._selfwatch.watchdog, 10.0),
            Step("self", OWN_LANE, self._selfwatch.step, 15.0),
            Step("picture", OWN_LANE, self._paint, 10.0),
            Step("money", OWN_LANE, self._count_money, 20.0),
            Step("reload", OWN_LANE, self._look_for_reload, 90.0),
            Step("housekeeping", OWN_LANE, self._housekeep, 600.0),
            Step("ledger", OWN_LANE, self._make_room, 120.0),
        )
        return (*self._plan.steps, *own)

    async def _paint(self) -> float:
        """Let verdicts age, swap the picture, tell of findings that changed."""
        statuses = [route.cycle.age() for route in self._plan.routes.values()]
        self._swap_picture(statuses)
        for status in statuses:
            self._tell_again(status)
        calm = all(status.verdict is Verdict.OK for status in statuses)
        return CALM_S if calm else PICTURE_S

    def _swap_picture(self, statuses: Sequence[RouteStatus]) -> None:
        plan = self._plan
        self._findings = plan.pipeline.findings(statuses)
        self._picture = Picture(
            routes=tuple(map(self._row, statuses)),
            balance=balance_rows(plan.pipeline.states()),
            sources=tuple(
                source_row(one, self._latest.get(source_check(one.name)), self._clock)
                for one in plan.config.sources
            ),
            costs=self._money.rows,
            painted_s=self._clock.monotonic(),
        )

    def _tell_again(self, status: RouteStatus) -> None:
        name = status.spec.name
        finding = self._findings.get(name)
        if finding is None:
            self._told.pop(name, None)
            return
        latest = self._latest.get(name)
        if latest is None or self._told.get(name) == finding.sentence():
            return
        if latest.envelope.verdict is not status.verdict:
            # It has news of its own to tell; what was said before must not be told as new.
            return
        now = instant(self._clock)
        self._fanout.publish(self._located(replace(latest.envelope, ended=now)))

    async def _count_money(self) -> float:
        now = self._clock.utc()
        for backend, meter in self._plan.meters.items():
            specs = [route.cycle.spec for route in self._plan.routes.values()]
            mine = [(one.name, one.signal) for one in specs if one.backend == backend]
            self._money.sent(backend, {one: meter.volume(one[0], now) for one in mine})
        self._money.settle(self._stores.samples)
        self._picture = replace(self._picture, costs=self._money.rows)
        return MONEY_S

    async def _housekeep(self) -> float:
        """Prune in small batches; each is safe to be killed in."""
        while await self._stores.samples.prune(Retention()):
            await self._clock.sleep(0)
        rechecks = self._stores.ledger.rechecks
        while await rechecks.expire(tuple(self._plan.routes)):
            await self._clock.sleep(0)
        while await rechecks.prune():
            await self._clock.sleep(0)
        return HOUSEKEEPING_S

    async def _make_room(self) -> float:
        """Keep the ledger within its bounds, in small batches."""
        while not (await self._stores.ledger.make_room()).done:
            await self._clock.sleep(0)
        return ROOM_S

    # Reload

    async def _look_for_reload(self) -> float:
        found = await asyncio.to_thread(self._watch.poll)
        if isinstance(found, Loaded):
            try:
                await self._reload(found.config)
            except Exception as exc:  # noqa: BLE001  a plan that cannot be built is a refused one
                told = str(exc) or type(exc).__name__
                self._refuse(tuple(told.splitlines()))
        elif found is not None:
            self._refuse(tuple(map(str, found.problems)))
        elif self._selfwatch.config_problems and self._watch.settled():
            self._selfwatch.config_problems = ()
        return RELOAD_POLL_S

    def _refuse(self, problems: tuple[str, ...]) -> None:
        for problem in problems:
            log.error("config_refused %s", problem)
        self._selfwatch.config_problems = problems

    async def _load(self, plan: Plan) -> None:
        """As late as can be: what is sent the old way until the swap is judged the new way."""
        for route in plan.routes.values():
            try:
                await route.cycle.load()
            except StoreError as exc:
                # The route's own step tries again, and it is blind until then.
                self._broken(f"reload {route.config.name}", exc)

    async def _reload(self, config: Config) -> None:
        """Build all of the new plan, swap, drain the old; on any error the old one stays live."""
        old = self._plan
        money = Money(config, self._clock, self._rng)
        money.adopt(self._money)
        plan = build_plan(config, old.generation + 1, self._works(), old)
        self._paged = _names(old) & _names(plan)
        try:
            await asyncio.to_thread(self._paging.apply, paging_config(config), plan.generation)
        except BaseException:
            self._paged = _names(old)
            await plan.close(old)
            raise
        await self._load(plan)
        # First: who is shown the new plan must not be told that it was refused.
        self._selfwatch.config_problems = ()
        self._plan, self._money, self._config = plan, money, config
        self._paged = _names(plan)
        await self._engine.apply(plan.checks, self._steps(), plan.generation)
        self._latest.retain(frozenset(item.name for item in plan.items))
        self._watch.accept(config)
        await old.close(plan)
        log.warning("config_reloaded generation=%d", plan.generation)


def _names(plan: Plan) -> frozenset[str]:
    """The check ids of a plan."""
    return frozenset(item.name for item in plan.items)


def _caps(config: Config) -> LedgerCaps:
    kept = config.top.ledger
    return LedgerCaps(days=kept.keep / 86400, max_bytes=kept.max_size)
