"""An hour without the read API, on the virtual clock: what is lost by mistake, when all is judged.

One route every 10 s, default judging times, five minutes of health before the hour. Two stores are
read as in production: the built-in one over HTTP, its pages smaller than the backlog; a fake by id
and by search, whose answers are cut beyond its row limit; and a fake that shows one canary a read.
"""

import asyncio
import random
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from core.clock import Clock
from core.egress import Egress
from core.kinds import Parts
from core.outbound.client import CurlOutbound
from core.reason import Reason
from core.resolve import Resolver
from selfcheck.backends.embedded import EmbeddedBackend, EmbeddedOptions
from selfcheck.canary.model import Canary, LedgerRow, Outcome
from selfcheck.embedded.faults import Fault, FaultKind
from selfcheck.embedded.store import EmbeddedStore
from selfcheck.otlp import build_request
from tests.fakes.route import SPEC, RouteRig
from tests.fakes.store import BY_ID, ONE_BY_ONE, SEARCH, FakeBackend, FakeStore
from tests.support.clock import VirtualClock

WELL_S, OUTAGE_S, GOAL_S, GIVE_UP_S, STEP_S = 300.0, 3600.0, 300.0, 6 * 3600.0, 5.0
ROW_LIMIT = 100
_OPEN = frozenset({Outcome.PENDING, Outcome.UNKNOWN})


class _Written(FakeStore):
    """What is injected is taken by the built-in store."""

    def __init__(self, clock: Clock, embedded: EmbeddedStore) -> None:
        super().__init__(clock)
        self._embedded = embedded

    def keep(self, canary: Canary) -> None:
        self._embedded.take(canary.signal, build_request(canary))


Switch = Callable[[bool], None]


@asynccontextmanager
async def _embedded() -> AsyncIterator[tuple[RouteRig, Switch]]:
    """A route that reads the built-in store over HTTP; the switch breaks its read side."""
    clock, rng = VirtualClock(), random.Random(7)
    async with AsyncExitStack() as stack:
        store = EmbeddedStore(clock, rng)
        await store.start()
        stack.push_async_callback(store.stop)
        outbound = CurlOutbound(clock, Resolver(), Egress(allow=()))
        stack.push_async_callback(outbound.close)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        parts = Parts(outbound, clock, rng, folder, folder, "0a1b2c3d", "bench")
        options = EmbeddedOptions(url=store.url, row_limit=ROW_LIMIT)
        backend: Any = EmbeddedBackend.build(options, parts)

        def down(now: bool) -> None:
            if now:
                store.faults.put(SPEC.signal, Fault(FaultKind.READ_DOWN))
            else:
                store.faults.clear()

        yield RouteRig(clock=clock, store=_Written(clock, store), backend=backend), down


@asynccontextmanager
async def _fake(*paths: Any) -> AsyncIterator[tuple[RouteRig, Switch]]:
    clock = VirtualClock()
    store = FakeStore(clock)
    backend = FakeBackend(store, paths=paths, row_limit=ROW_LIMIT)

    def down(now: bool) -> None:
        store.faults.read_error = Reason.READBACK if now else None

    yield RouteRig(clock=clock, store=store, backend=backend), down


async def _open(rig: RouteRig, before_s: float) -> list[LedgerRow]:
    """Rows sent before the recovery that have no outcome that says anything."""
    return [row for row in await rig.rows() if row.sent.boot_s < before_s and row.outcome in _OPEN]


async def _measured(name: str, opening: Callable[[], Any]) -> str:
    began_s = time.monotonic()
    async with opening() as (rig, down):
        await rig.run(WELL_S)
        down(True)
        await rig.run(OUTAGE_S)
        down(False)
        back_s = rig.clock.monotonic()
        backlog, reads = len(await _open(rig, back_s)), len(rig.store.reads)
        well_s = None
        while await _open(rig, back_s) and rig.clock.monotonic() - back_s < GIVE_UP_S:
            await rig.run(STEP_S)
            if well_s is None and rig.cycle.status().verdict == "ok":
                well_s = rig.clock.monotonic() - back_s
        took_s = rig.clock.monotonic() - back_s
        left, reads = len(await _open(rig, back_s)), len(rig.store.reads) - reads
        lost = sum(n for key, n in rig.ledger.transitions.items() if key[2] is Outcome.LOST)
        account = await rig.ledger.account(SPEC.name)
    outcomes = ", ".join(f"{n} {one}" for one, n in account.by_outcome.items() if n)
    verdict = f"route ok again after {well_s:.0f} s" if well_s is not None else "not ok again"
    asked = f", {reads} reads" if reads else ""
    return (
        f"{name}: backlog {backlog} at {ROW_LIMIT} rows a page, all judged {took_s:.0f} s after "
        f"recovery (goal {GOAL_S:g}: {'met' if took_s <= GOAL_S and not left else 'missed'})"
        f"{asked}, {verdict}; ever called lost: {lost} (goal 0); "
        f"{account.sent} sent: {outcomes}, {'balanced' if account.balanced else 'NOT balanced'}; "
        f"{time.monotonic() - began_s:.0f} s real"
    )


def run() -> list[str]:
    """One line a way of reading."""
    ways = {
        "built-in store over HTTP": _embedded,
        "fake, by id and by search": partial(_fake, BY_ID, SEARCH),
        "fake, by id one by one, by search": partial(_fake, ONE_BY_ONE, SEARCH),
        "fake, by id only": partial(_fake, ONE_BY_ONE, replace(ONE_BY_ONE, name="other")),
    }
    return [asyncio.run(_measured(name, opening)) for name, opening in ways.items()]
