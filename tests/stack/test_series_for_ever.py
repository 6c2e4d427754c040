"""How many series canaries cost a real store: counted by the store itself, over ten starts of ours.

Whatever a store makes of labels, resources and scopes is counted, under whatever name: the answer
is the store's own number of series, before and after. 1,000 canaries of one route, a new epoch for
every hundred, straight and through a Collector that stamps them.
"""

import asyncio
import json
import time
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from deploy.stack.collector import CollectorPlan
from deploy.stack.launch import TENANT, Instance, Stack, free_ports
from selfcheck.backends.protocol import BACKENDS
from selfcheck.canary.make import make_canary
from selfcheck.canary.model import Canary, CanaryKey, Sent, Signal
from selfcheck.injectors.protocol import INJECTORS, Injector
from tests.support.canaries import INSTANCE, SERVICE, question_of
from tests.support.parts import real_parts
from tests.support.servers import stack_of

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(180)]

SERIES_CAP = 5
CANARIES, STARTS = 1000, 10
SECOND_NS = 10**9
# A queue behind a Collector delivers in any order.
PROMETHEUS = "storage: {tsdb: {out_of_order_time_window: 2h}}\n"


def _ask(url: str, **headers: str) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as got:
        return bytes(got.read())


def _prometheus(stack: Stack, name: str) -> int:
    told = json.loads(_ask(f"{stack[name].url()}/api/v1/status/tsdb"))
    return int(told["data"]["headStats"]["numSeries"])


def _cortex(stack: Stack, name: str) -> int:
    url = f"{stack[name].url()}/api/v1/user_stats"
    return int(json.loads(_ask(url, **{"X-Scope-OrgID": TENANT}))["numSeries"])


def _victoria(stack: Stack, name: str) -> int:
    _ask(f"{stack[name].url()}/internal/force_flush")
    told = json.loads(_ask(f"{stack[name].url()}/prometheus/api/v1/status/tsdb"))
    return int(told["data"]["totalSeries"])


@dataclass(frozen=True)
class Way:
    """A way into a store: server, kind of backend, injector, and the store's own count."""

    server: str
    kind: str
    inject: str
    counted: Callable[[Stack, str], int]
    collector: bool = False


WAYS = {
    "prometheus-otlp": Way("prometheus", "prometheus", "otlp_http", _prometheus),
    "prometheus-remote-write": Way("prometheus", "prometheus", "remote_write", _prometheus),
    "prometheus-collector": Way("prometheus", "prometheus", "otlp_http", _prometheus, True),
    "cortex-otlp": Way("cortex", "cortex", "otlp_http", _cortex),
    "cortex-remote-write": Way("cortex", "cortex", "remote_write", _cortex),
    "victoriametrics-otlp": Way("victoria-metrics", "victoriametrics", "otlp_http", _victoria),
    "victoriametrics-collector": Way(
        "victoria-metrics", "victoriametrics", "otlp_http", _victoria, True
    ),
}


def stack_for(way: Way, folder) -> Stack:
    """The store alone, and a Collector before it where the way has one."""
    named = {}
    if way.server == "prometheus":
        named["prometheus"] = Instance("prometheus", config=lambda _: PROMETHEUS)
    names = [] if named else [way.server]
    if not way.collector:
        return stack_of(folder, *names, instances=named)

    def plan(stack: Stack) -> CollectorPlan:
        paths = {"prometheus": "/api/v1/otlp/v1/metrics"}
        path = paths.get(way.server, "/opentelemetry/v1/metrics")
        return CollectorPlan({"metrics": {"metrics_endpoint": stack[way.server].url() + path}})

    return stack_of(folder, *names, "otelcol", plan=plan, instances=named)


def canaries() -> list[list[Canary]]:
    """Those of one route, a second apart, by the start of the service that sent them."""
    first = time.time_ns() // SECOND_NS - CANARIES - 60
    per_start = CANARIES // STARTS
    return [
        [
            make_canary(
                INSTANCE, "tests", CanaryKey("for-ever", 1 + start, 1 + n), at, Signal.METRICS,
                at * SECOND_NS, SERVICE,
            )
            for n, at in enumerate(range(first + start * per_start, first + (start + 1) * per_start))
        ]
        for start in range(STARTS)
    ]  # fmt: skip


def injector_of(way: Way, stack: Stack, parts) -> Injector:
    """Straight to the store, or to the Collector before it."""
    kind, store = INJECTORS.load(way.inject), BACKENDS.load(way.kind)
    url = {"url": stack["otelcol"].url()} if way.collector else {}
    rule = None if way.collector else store.write_rules(options_of(way, stack))[way.inject]
    return kind.build(kind.options_model.model_validate(url), parts, rule)


def options_of(way: Way, stack: Stack):
    tenant = {"tenant": TENANT} if way.server == "cortex" else {}
    written = {"url": stack[way.server].url(), **tenant}
    return BACKENDS.load(way.kind).options_model.model_validate(written)


@asynccontextmanager
async def opened(way: Way, folder) -> AsyncIterator[tuple[Stack, object]]:
    with stack_for(way, folder) as stack:
        async with real_parts(folder) as parts:
            yield stack, parts


async def until_found(way: Way, stack: Stack, parts, sent: list[Canary]) -> None:
    """Every canary is in the store: only then its series are all there, too."""
    backend = BACKENDS.load(way.kind).build(options_of(way, stack), parts)
    path = backend.declaration.paths_for(Signal.METRICS)[0]
    async with asyncio.timeout(60):
        while True:
            reading = await backend.read(question_of(*sent), path, 10.0)
            assert reading.complete, reading.detail
            if len(reading.sightings) == len(sent):
                return


@pytest.mark.parametrize("name", sorted(WAYS))
async def test_mode_39_a_store_counts_five_series_a_route_at_most_for_ever(name, tmp_path):
    way = WAYS[name]
    async with opened(way, tmp_path) as (stack, parts):
        before = way.counted(stack, way.server)
        for batch in canaries():
            injector = injector_of(way, stack, parts)
            receipts = [await injector.send(canary, 5.0) for canary in batch]
            await injector.close()
            assert {one.sent for one in receipts} == {Sent.ACCEPTED}, receipts[-1]
            await until_found(way, stack, parts, batch)
        after = way.counted(stack, way.server)
    print(f"{name}: {after - before} series for {CANARIES} canaries")
    assert 1 <= after - before <= SERIES_CAP


def scrapes(page: str) -> Callable[[Stack], str]:
    """A Prometheus that scrapes our page and a Pushgateway."""

    def config(stack: Stack) -> str:
        gateway = stack["pushgateway"].url().removeprefix("http://")
        jobs = [
            {
                "job_name": target,
                "scrape_interval": "100ms",
                "scrape_timeout": "100ms",
                "honor_labels": True,
                "static_configs": [{"targets": [target]}],
            }
            for target in (page, gateway)
        ]
        return json.dumps({"scrape_configs": jobs})

    return config


async def until_vector(stack: Stack, query: str, count: int) -> None:
    """The store answers the query with so many series."""
    asked = f"{stack['prometheus'].url()}/api/v1/query?query={urllib.request.quote(query)}"
    async with asyncio.timeout(20):
        while True:
            told = json.loads(await asyncio.to_thread(_ask, asked))
            if len(told["data"]["result"]) == count:
                return


@pytest.mark.parametrize("name", ["scrape", "pushgateway"])
async def test_mode_39_what_is_scraped_costs_a_store_five_series_a_route_at_most(name, tmp_path):
    """Beside what the scraper keeps of its targets, which are there without any route."""
    page, kind = f"127.0.0.1:{free_ports(['page'])['page']}", INJECTORS.load(name)
    scraper = {"prometheus": Instance("prometheus", config=scrapes(page))}
    with stack_of(tmp_path, "pushgateway", instances=scraper) as stack:
        options = {
            "scrape": {"listen": page, "scrape_every": "200ms"},
            "pushgateway": {"url": stack["pushgateway"].url()},
        }
        async with real_parts(tmp_path) as parts:
            await until_vector(stack, "scrape_series_added", 2)
            first = time.time_ns() - 60 * SECOND_NS
            for route in ("one", "two"):
                before = _prometheus(stack, "prometheus")
                for start in (1, 2, 3):
                    written = kind.options_model.model_validate(options[name])
                    injector = kind.build(written, parts, None)
                    sent = [made(route, start, n, kind, first) for n in range(1, 6)]
                    receipts = [await injector.send(canary, 5.0) for canary in sent]
                    assert {one.sent for one in receipts} == {Sent.ACCEPTED}, receipts[-1]
                    await until_vector(
                        stack, f'{{coalmine_route="{route}"}} == {sent[-1].value!r}', 1
                    )
                    await injector.close()
                added = _prometheus(stack, "prometheus") - before
                print(f"{name}: {added} series for route {route}")
                assert 1 <= added <= SERIES_CAP


def made(route: str, start: int, n: int, kind: type[Injector], first_ns: int) -> Canary:
    """The n-th canary after a start; all of a route are a second apart."""
    key, stamped = CanaryKey(route, start, n), Signal.METRICS not in kind.unstamped
    at_ns = first_ns + (10 * start + n) * SECOND_NS
    return make_canary(INSTANCE, "tests", key, n, Signal.METRICS, at_ns, SERVICE, stamped=stamped)
