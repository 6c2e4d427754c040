"""Deep rechecks of real stores, an hour and a day after sending, over restarts of the service.

The service's clock is set back by a day: its canaries are dated by that, written through the
store's own API, found, and kept in a real ledger. Then its clock goes on to each age, and what is
looked for again is what the store holds by then.
"""

import asyncio
import random
import shutil
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.kinds import Parts
from core.reason import Reason
from core.result import RunEnvelope
from core.verdict import Verdict
from deploy.stack.launch import TENANT, Instance, Stack
from scheduler.store import Stores, open_stores
from selfcheck.backends.protocol import BACKENDS, Backend
from selfcheck.canary.backoff import ReadBackoff
from selfcheck.canary.cycle import RouteCycle
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.model import Canary, LedgerRow, Outcome, Sent, Signal
from selfcheck.canary.recheck.cycle import RecheckRules, Rechecks
from selfcheck.canary.recheck.model import WAITING, Recheck, RecheckState
from selfcheck.injectors.protocol import INJECTORS, Injector
from tests.fakes.route import CONTEXT, SPEC
from tests.support.canaries import canary_of, question_of
from tests.support.clock import VirtualClock
from tests.support.parts import real_parts
from tests.support.servers import stack_of
from tests.support.stores import sqlite_folder

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(120)]

HOUR_S, DAY_S = 3600.0, 86400.0
# Past the age that is looked at, and long before the recheck is overdue.
AFTER_S = 60.0
# Room for a canary that is a day old, whatever newer samples the series has.
PROMETHEUS = "storage: {tsdb: {out_of_order_time_window: 30h}}\n"


def _post(url: str) -> None:
    request = urllib.request.Request(url, b"", method="POST")
    urllib.request.urlopen(request, timeout=10).close()


def _flush_loki(stack: Stack) -> None:
    """Until its chunk is flushed, what is older than `query_ingesters_within` is not shown."""
    _post(f"{stack['loki'].url()}/flush")


def _lose_disk(stack: Stack, kind: str) -> None:
    """The store's disk is gone, and it goes on with an empty one."""
    stack.stop(kind)
    for part in stack[kind].folder.iterdir():
        if part.is_dir():
            shutil.rmtree(part)
    stack.start(kind)


@dataclass(frozen=True)
class Store:
    """A kind of backend, what its reader is told, and how it comes to show old records."""

    kind: str
    signal: Signal
    options: dict[str, str]
    show: Callable[[Stack], None]


STORES = {
    "loki": Store("loki", Signal.LOGS, {"tenant": TENANT}, _flush_loki),
    "prometheus": Store("prometheus", Signal.METRICS, {}, lambda _: None),
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory) -> Iterator[Stack]:
    prometheus = Instance("prometheus", config=lambda _: PROMETHEUS)
    folder = tmp_path_factory.mktemp("rechecks")
    with stack_of(folder, "loki", instances={"prometheus": prometheus}) as running:
        yield running


@pytest.fixture(params=sorted(STORES))
def store(request) -> Store:
    return STORES[request.param]


class Service:
    """One route of a service that may be stopped and started; its clock is a day behind."""

    def __init__(self, store: Store, stack: Stack, parts: Parts, folder: Path) -> None:
        self.clock = VirtualClock(datetime.now(UTC) - timedelta(seconds=DAY_S + HOUR_S))
        self.store, self.stack, self.folder = store, stack, folder
        self.parts = replace(parts, clock=self.clock)
        self.spec = replace(SPEC, name=f"{store.kind}-{folder.name}", signal=store.signal)
        self.told: list[RunEnvelope] = []
        self.row: LedgerRow | None = None

    def backend(self) -> Backend:
        """A reader of the real store."""
        kind = BACKENDS.load(self.store.kind)
        return kind.build(self._options(), self.parts)

    def _options(self):
        kind = BACKENDS.load(self.store.kind)
        url = self.stack[self.store.kind].url()
        return kind.options_model.model_validate({"url": url, **self.store.options})

    def injector(self) -> Injector:
        """A sender straight to the real store."""
        kind = INJECTORS.load("otlp_http")
        rule = BACKENDS.load(self.store.kind).write_rules(self._options())["otlp_http"]
        return kind.build(kind.options_model.model_validate({}), self.parts, rule)

    @asynccontextmanager
    async def started(self) -> AsyncIterator[tuple[Stores, Rechecks]]:
        """The ledger's files and what rechecks from them: nothing else outlives the end of it."""
        stores = open_stores(self.folder, self.clock)
        try:
            epoch = await stores.ledger.begin()
            rules, rng = JudgingRules(), random.Random(1)
            rechecks = Rechecks(
                self.spec, self.backend(), stores.ledger.rechecks, self.clock, rng, rules,
                RecheckRules(60, 2.0, 30 * DAY_S), ReadBackoff(rules, rng), self.told.append,
                epoch.number, 1,
            )  # fmt: skip
            yield stores, rechecks
        finally:
            stores.close()

    async def send(self, stores: Stores) -> None:
        """Send one canary through the store's own API and find it there."""
        rng, rules = random.Random(1), JudgingRules()
        sender, epoch = self.injector(), await stores.ledger.begin()
        cycle = RouteCycle(
            self.spec, sender, self.backend(), stores.ledger, self.clock, rng, epoch,
            self.told.append, rules, 1, ReadBackoff(rules, rng),
        )  # fmt: skip
        await cycle.inject(CONTEXT)
        self.store.show(self.stack)
        while cycle.status().pending:
            self.clock.move(await cycle.read())
        (self.row,) = cycle.rows()
        assert self.row.outcome is Outcome.OK, self.row
        await sender.close()

    async def at(self, age_s: float) -> list[Recheck]:
        """The rechecks after a start at this age of the canary, when no more can be done."""
        assert self.row is not None
        self.clock.move(age_s + AFTER_S - (self.clock.utc() - self.row.sent.utc).total_seconds())
        async with self.started() as (stores, rechecks):
            return await self.settled(stores, rechecks)

    async def settled(self, stores: Stores, rechecks: Rechecks) -> list[Recheck]:
        """Step until nothing that is due waits; the rechecks of the canary, youngest age first."""
        while True:
            wait_s = await rechecks.step()
            found = await stores.ledger.rechecks.of_canary(self.row.canary.key)
            due = [one for one in found if one.state in WAITING - {RecheckState.PLANNED}]
            if not due:
                self.result = rechecks.result
                return list(found)
            self.clock.move(wait_s)


@pytest.fixture
async def service(store, stack, tmp_path) -> AsyncIterator[Service]:
    """A service that has sent one canary a day ago and found it, and was stopped then."""
    async with real_parts(tmp_path) as parts:
        service = Service(store, stack, parts, sqlite_folder(tmp_path))
        async with service.started() as (stores, _):
            await service.send(stores)
        yield service


async def test_what_a_real_store_still_holds_is_ok_at_each_age_over_restarts(service):
    assert [one.state for one in await service.at(HOUR_S)] == [
        RecheckState.OK, RecheckState.PLANNED,
    ]  # fmt: skip
    found = await service.at(DAY_S)
    assert [(one.age, one.state) for one in found] == [
        ("1h", RecheckState.OK), ("24h", RecheckState.OK), ("7d", RecheckState.PLANNED),
    ]  # fmt: skip
    # The service was down since the hour's: what that age would say now is not known.
    result = service.result
    assert (result.verdict, result.reason) == (Verdict.BLIND, Reason.STALE)
    assert result.detail.startswith("1h: newest is ")
    assert (found[1].seen - service.row.sent.utc).total_seconds() >= DAY_S


async def test_what_a_real_store_has_lost_since_is_lost_and_says_when_it_was_last_seen(service):
    (hour, _) = await service.at(HOUR_S)
    _lose_disk(service.stack, service.store.kind)
    found = await service.at(DAY_S)
    assert [one.state for one in found][:2] == [RecheckState.OK, RecheckState.LOST]
    lost = found[1]
    assert lost.seen == hour.seen
    # Two complete reads, each by a path of its own.
    assert {lost.path, lost.empty_path} == {"by_id", "search"}
    result = service.result
    assert (result.verdict, result.reason) == (Verdict.FAIL, Reason.SILENT_LOSS)
    last = f"last at {hour.seen:%Y-%m-%dT%H:%M:%SZ} ({service.row.canary.canary_id})"
    assert f"24h after sending: 1 of 1 lost after having been seen, {last}" in result.detail
    assert await shown(service, service.row.canary) == set()


async def test_a_real_store_that_is_down_at_the_age_proves_nothing_and_is_asked_when_it_is_back(
    service,
):
    kind = service.store.kind
    await service.at(HOUR_S)
    service.stack.stop(kind)
    try:
        service.clock.move(DAY_S - HOUR_S)
        async with service.started() as (stores, rechecks):
            for _ in range(20):
                service.clock.move(min(60.0, await rechecks.step()))
            (_, day) = await stores.ledger.rechecks.of_canary(service.row.canary.key)
            assert day.state is RecheckState.PENDING
            assert day.tries > 1
            assert (day.empty_read, day.reason) == (None, Reason.READBACK)
            assert rechecks.result.verdict is not Verdict.FAIL
    finally:
        service.stack.start(kind)
    found = await service.at(DAY_S + HOUR_S)
    assert found[1].state is RecheckState.OK, found[1]


async def test_row_25_beyond_the_hot_window_loki_shows_what_was_flushed_and_nothing_else(
    stack, tmp_path
):
    """What answers there is the long-term side: from the ingesters alone it is not shown."""
    async with real_parts(tmp_path) as parts:
        service = Service(STORES["loki"], stack, parts, tmp_path)
        hot_s = service.backend().declaration.hot_window_s
        assert hot_s is not None
        assert hot_s < DAY_S
        stamp_ns = int(service.clock.utc().timestamp()) * 10**9
        canary = canary_of(Signal.LOGS, 1, service.spec.name, stamp_ns, instance="0000cafe")
        sender = service.injector()
        assert (await sender.send(canary, 5.0)).sent is Sent.ACCEPTED
        await sender.close()
        assert await shown(service, canary) == set()
        _flush_loki(stack)
        async with asyncio.timeout(30):
            while await shown(service, canary) != {"by_id", "search"}:
                assert stack["loki"].process.poll() is None


async def shown(service: Service, canary: Canary) -> set[str]:
    """The access paths by which the store shows it now; every answer is complete."""
    found, backend = set(), service.backend()
    for path in backend.declaration.paths_for(canary.signal):
        reading = await backend.read(question_of(canary), path, 5.0)
        assert reading.complete, reading.detail
        found |= {path.name for _ in reading.sightings}
    return found
