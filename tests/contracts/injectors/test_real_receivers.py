"""Each posting kind against the real servers it is made for, read back from where it should be."""

import asyncio
import json
import string
import time
from collections.abc import Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest
from ruamel.yaml import YAML

from core.outbound.protocol import Request, Response
from core.reason import Reason
from deploy.stack.launch import CONF, TENANT, Instance
from deploy.stack.ports import free_ports
from selfcheck.backends.protocol import BACKENDS
from selfcheck.canary.make import EPOCH_SPAN, make_canary
from selfcheck.canary.model import CanaryKey, Sent, Signal
from selfcheck.embedded.store import EmbeddedStore
from selfcheck.injectors.protocol import INJECTORS
from tests.support.canaries import INSTANCE, SERVICE, canary_of, question_of
from tests.support.parts import real_parts

pytestmark = [pytest.mark.stack, pytest.mark.timeout(90)]

DOCS = Path(__file__).resolve().parents[3] / "docs/injectors"
SERIES_CAP = 5


class Bench:
    """Injectors and readers of one test, all closed at its end."""

    def __init__(self, parts):
        self.parts, self.built = parts, []

    def injector(self, kind, **written):
        known = INJECTORS.load(kind)
        self.built.append(
            known.build(known.options_model.model_validate(written), self.parts, None)
        )
        return self.built[-1]

    async def send(self, kind, *canaries, **written):
        injector = self.injector(kind, **written)
        return [await injector.send(canary, 5.0) for canary in canaries]

    async def send_to(self, backend, written, kind, canary, **options):
        """Send as a backend's own declaration says."""
        reader, known = BACKENDS.load(backend), INJECTORS.load(kind)
        rule = reader.write_rules(reader.options_model.model_validate(written))[kind]
        chosen = known.options_model.model_validate(options)
        self.built.append(known.build(chosen, self.parts, rule))
        return await self.built[-1].send(canary, 5.0)

    async def sightings(self, kind, canary, **written):
        """What every access path with proof shows of one canary, once each has shown it."""
        known = BACKENDS.load(kind)
        reader = known.build(known.options_model.model_validate(written), self.parts)
        self.built.append(reader)
        found = {}
        for path in reader.declaration.paths_for(canary.signal):
            async with asyncio.timeout(20):
                while not found.get(path.name):
                    reading = await reader.read(question_of(canary), path, 5.0)
                    assert reading.complete, reading
                    found[path.name] = reading.sightings
        return [one for sightings in found.values() for one in sightings]

    async def get(self, url, **query):
        asked = f"{url}?{urlencode(query)}" if query else url
        answer = await self.parts.outbound.fetch(Request("GET", asked, 5.0))
        assert isinstance(answer, Response), answer
        return answer

    async def samples(self, base, expression):
        """Raw samples of Prometheus: (labels, [(seconds, value)])."""
        answer = await self.get(f"{base}/api/v1/query", query=expression)
        result = json.loads(answer.body)["data"]["result"]
        return [
            (one["metric"], [(float(at), float(value)) for at, value in one["values"]])
            for one in result
        ]


@pytest.fixture
async def bench(tmp_path):
    async with real_parts(tmp_path) as parts:
        opened = Bench(parts)
        yield opened
        for one in opened.built:
            await one.close()


async def until(true, within_s=30.0):
    """Ask again until it holds: what servers do has no event to wait for."""
    async with asyncio.timeout(within_s):
        while not (found := await true()):
            await asyncio.sleep(0.05)
    return found


def stamped_ago(seconds, seq=1, signal=Signal.METRICS, **more):
    return canary_of(signal, seq, stamp_ns=time.time_ns() - seconds * 10**9, **more)


# Loki.


@pytest.fixture
def loki(start_server):
    return start_server("loki")["loki"].url()


@pytest.mark.parametrize("compression", ["none", "gzip"])
async def test_loki_takes_a_push_and_shows_it_unaltered_on_every_path(bench, loki, compression):
    canary = canary_of(Signal.LOGS, route=f"push-{compression}")
    (receipt,) = await bench.send(
        "loki_push", canary, url=loki, tenant=TENANT, compression=compression
    )
    assert (receipt.sent, receipt.reason) == (Sent.ACCEPTED, Reason.OK)
    seen = await bench.sightings("loki", canary, url=loki, tenant=TENANT)
    assert len(seen) >= 2
    for one in seen:
        assert (one.canary_id, one.stamp_ns, one.body) == (
            canary.canary_id, canary.stamp_ns, canary.body,
        )  # fmt: skip
        assert dict(canary.attributes).items() <= dict(one.attributes).items()
        assert one.attributes["trace_id"] == canary.trace_id.hex()
        assert one.attributes["span_id"] == canary.span_id.hex()


async def test_loki_refuses_without_a_tenant_and_what_is_too_old_in_its_own_words(bench, loki):
    (nobody,) = await bench.send("loki_push", canary_of(Signal.LOGS), url=loki)
    assert (nobody.sent, nobody.reason) == (Sent.REJECTED, Reason.AUTH)
    assert "no org id" in nobody.detail
    old = stamped_ago(8 * 86400, signal=Signal.LOGS)
    (aged,) = await bench.send("loki_push", old, url=loki, tenant=TENANT)
    assert (aged.sent, aged.reason, aged.tries) == (Sent.REJECTED, Reason.INJECT, 1)
    assert "too old" in aged.detail


async def test_loki_without_structured_metadata_says_why_it_refuses(bench, start_server):
    def without(stack):
        text = (CONF / "loki.yml").read_text().replace("metadata: true", "metadata: false")
        assert "metadata: false" in text
        data = stack["plain"].folder
        return string.Template(text).substitute(stack["plain"].ports, data=data)

    plain = Instance("loki", config=without)
    stack = await asyncio.to_thread(start_server, instances={"plain": plain})
    (receipt,) = await bench.send(
        "loki_push", canary_of(Signal.LOGS), url=stack["plain"].url(), tenant=TENANT
    )
    assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.INJECT)
    assert "structured metadata" in receipt.detail


# Remote write.


@pytest.fixture
def prometheus(start_server):
    return start_server("prometheus")["prometheus"].url()


@pytest.fixture
def prometheus2(start_server):
    return start_server("prometheus2")["prometheus2"].url()


@pytest.mark.parametrize("version", [1, 2])
async def test_prometheus_takes_both_versions_and_shows_sample_and_exemplar(
    bench, prometheus, version
):
    canary = canary_of(Signal.METRICS, 42, route=f"rw-{version}")
    (receipt,) = await bench.send("remote_write", canary, url=prometheus, version=version)
    assert (receipt.sent, receipt.detail) == (Sent.ACCEPTED, "")
    for one in await bench.sightings("prometheus", canary, url=prometheus):
        assert (one.canary_id, one.stamp_ns, one.value) == (canary.canary_id, canary.stamp_ns, 42)
        assert dict(canary.attributes).items() <= dict(one.attributes).items()
    second = canary.stamp_ns // 10**9
    answer = await bench.get(
        f"{prometheus}/api/v1/query_exemplars",
        query=f'coalmine_canary{{coalmine_route="rw-{version}"}}',
        start=second - 5,
        end=second + 5,
    )
    (series,) = json.loads(answer.body)["data"]
    assert series["exemplars"][0]["labels"] == {
        "trace_id": canary.trace_id.hex(),
        "span_id": canary.span_id.hex(),
        "canary_id": canary.canary_id,
    }


@pytest.mark.parametrize("version", [1, 2])
async def test_prometheus_says_why_it_refuses_a_sample(bench, prometheus, version):
    route = f"refused-{version}"
    first, second = canary_of(Signal.METRICS, 1, route), canary_of(Signal.METRICS, 2, route)
    second = canary_of(Signal.METRICS, 2, route, stamp_ns=first.stamp_ns)
    ahead = stamped_ago(-3600, 3, route=route)
    receipts = await bench.send(
        "remote_write", first, second, ahead, url=prometheus, version=version
    )
    assert [one.sent for one in receipts] == [Sent.ACCEPTED, Sent.REJECTED, Sent.REJECTED]
    assert "duplicate sample for timestamp" in receipts[1].detail
    assert "too far in the future" in receipts[2].detail


async def test_a_sample_is_taken_although_its_exemplar_is_refused(bench, prometheus):
    """Version 2 answers 400 and counts one sample: what is stored is not called rejected.

    Exemplars of one stamp and value are ordered by a hash, so one of two orders is refused.
    """
    route, stamp_ns = "exemplar", time.time_ns()
    one, two = (canary_of(Signal.METRICS, 1, route, stamp_ns, epoch=epoch) for epoch in (7, 8))
    receipts = await bench.send("remote_write", one, two, one, url=prometheus, version=2)
    assert {(receipt.sent, receipt.reason) for receipt in receipts} == {(Sent.ACCEPTED, Reason.OK)}
    said = [receipt.detail for receipt in receipts if receipt.detail]
    assert len(said) == 1
    assert said[0].startswith("HTTP 400 out of order exemplar")


async def test_prometheus_2_takes_version_1(bench, prometheus2):
    canary = canary_of(Signal.METRICS, 7, route="old-1")
    (receipt,) = await bench.send("remote_write", canary, url=prometheus2, version=1)
    assert receipt.sent is Sent.ACCEPTED
    found = await bench.samples(prometheus2, 'coalmine_canary{coalmine_route="old-1"}[5m]')
    assert [samples for _, samples in found] == [[(canary.stamp_ns / 1e9, 7)]]


async def test_mode_20_prometheus_2_says_yes_to_version_2_and_stores_nothing_so_it_is_rejected(
    bench, prometheus2
):
    canary = canary_of(Signal.METRICS, 7, route="old-2")
    (receipt,) = await bench.send("remote_write", canary, url=prometheus2, version=2)
    assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.PARTIAL_SUCCESS)
    assert "HTTP 204" in receipt.detail
    assert "version 1 only" in receipt.detail
    assert await bench.samples(prometheus2, 'coalmine_canary{coalmine_route="old-2"}[5m]') == []


async def test_victoria_metrics_takes_version_1_and_says_yes_to_version_2_without_a_count(
    bench, start_server
):
    url = start_server("victoria-metrics")["victoria-metrics"].url()
    receipts = [
        await bench.send_to(
            "victoriametrics",
            {"url": url},
            "remote_write",
            canary_of(Signal.METRICS, version),
            version=version,
        )
        for version in (1, 2)
    ]
    assert [one.sent for one in receipts] == [Sent.ACCEPTED, Sent.REJECTED]
    assert "version 1 only" in receipts[1].detail


async def test_cortex_takes_version_1_of_a_tenant_and_refuses_version_2(bench, start_server):
    written = {"url": start_server("cortex")["cortex"].url(), "tenant": TENANT}
    canary = canary_of(Signal.METRICS, 5)
    one, two = [
        await bench.send_to("cortex", written, "remote_write", canary, version=version)
        for version in (1, 2)
    ]
    assert (one.sent, one.detail) == (Sent.ACCEPTED, "")
    assert (two.sent, two.reason) == (Sent.REJECTED, Reason.INJECT)
    assert "HTTP 415" in two.detail
    for seen in await bench.sightings("cortex", canary, **written):
        assert (seen.stamp_ns, seen.value) == (canary.stamp_ns, 5)


@pytest.mark.parametrize("version", [1, 2])
async def test_mode_39_a_thousand_canaries_are_one_series_of_a_real_store(
    bench, prometheus, version
):
    now_s, route = time.time_ns() // 10**9, f"thousand-{version}"
    canaries = [
        canary_of(Signal.METRICS, seq, route, stamp_ns=(now_s - 1000 + seq) * 10**9)
        for seq in range(1, 1001)
    ]
    receipts = await bench.send("remote_write", *canaries, url=prometheus, version=version)
    assert {one.sent for one in receipts} == {Sent.ACCEPTED}
    answer = await bench.get(
        f"{prometheus}/api/v1/series", **{"match[]": f'{{coalmine_route="{route}"}}'}
    )
    assert len(json.loads(answer.body)["data"]) == 1 <= SERIES_CAP


# Zipkin.


def span_of(answer, canary):
    (span,) = json.loads(answer.body)
    assert span["traceId"] == canary.trace_id.hex()
    assert span["id"] == canary.span_id.hex()
    assert span["timestamp"] == canary.stamp_ns // 1000
    return span["tags"]


@pytest.mark.parametrize(("epoch", "compression"), [(1, "none"), (2, "gzip")])
async def test_zipkin_takes_a_span_and_shows_it_unaltered(bench, start_server, epoch, compression):
    url = start_server("zipkin")["zipkin"].url()
    canary = canary_of(Signal.TRACES, epoch=epoch)
    (receipt,) = await bench.send("zipkin", canary, url=url, compression=compression)
    assert (receipt.sent, receipt.reason) == (Sent.ACCEPTED, Reason.OK)

    async def found():
        answer = await bench.get(f"{url}/api/v2/trace/{canary.trace_id.hex()}")
        return answer if answer.status == 200 else None

    assert span_of(await until(found), canary) == canary.attributes


# Through a real Collector, into the built-in store.


def documented(page):
    """The receivers of the Collector's configs on a docs page, in its order."""
    blocks = (DOCS / page).read_text().split("```yaml otelcol\n")[1:]
    return [YAML(typ="safe").load(block.split("```")[0])["receivers"] for block in blocks]


def collector(receivers: Mapping[str, object], signal: Signal, target: str):
    """A Collector's config text that passes one signal on to an OTLP receiver."""

    def text(stack):
        ports = stack["agent"].ports
        written = json.loads(json.dumps(receivers).replace("@PORT@", str(ports["zipkin"])))
        return json.dumps(
            {
                "extensions": {"health_check": {"endpoint": f"127.0.0.1:{ports['health']}"}},
                "receivers": written,
                "exporters": {"otlp_http": {"endpoint": target}},
                "service": {
                    "extensions": ["health_check"],
                    "telemetry": {"logs": {"level": "warn"}, "metrics": {"level": "none"}},
                    "pipelines": {
                        str(signal): {"receivers": list(written), "exporters": ["otlp_http"]}
                    },
                },
            }
        )

    return Instance("otelcol", config=text, ports=("zipkin",))


@asynccontextmanager
async def built_in_store(bench):
    store = EmbeddedStore(bench.parts.clock, bench.parts.rng)
    await store.start()
    try:
        yield store
    finally:
        await store.stop()


@pytest.mark.parametrize("form", ["json", "text"])
async def test_a_collector_that_tails_the_file_passes_every_part_on_unaltered(
    bench, start_server, tmp_path, form
):
    """With the config of docs/injectors/file.md, before and after the file was renamed."""
    path = tmp_path / "canary.log"
    tailed = documented("file.md")[["json", "text"].index(form)]
    tailed["file_log"] |= {"include": [str(path)], "poll_interval": "50ms"}
    canaries = [canary_of(Signal.LOGS, seq, route=f"file-{form}") for seq in range(1, 31)]
    async with built_in_store(bench) as store:
        agent = collector(tailed, Signal.LOGS, store.url)
        await asyncio.to_thread(start_server, instances={"agent": agent})
        injector = bench.injector("file", path=str(path), format=form, max_bytes="4KiB", keep=9)
        for canary in canaries:
            receipt = await injector.send(canary, 5.0)
            assert (receipt.sent, receipt.reason) == (Sent.ACCEPTED, Reason.OK)
            for one in await bench.sightings("embedded", canary, url=store.url):
                assert (one.stamp_ns, one.body, one.copies) == (canary.stamp_ns, canary.body, 1)
                assert dict(canary.attributes).items() <= dict(one.attributes).items()
        query = {"signal": "logs", "id": canaries[-1].canary_id}
        answer = await bench.get(f"{store.url}/api/v1/records", **query)
        (record,) = json.loads(answer.body)["records"]
        assert record["trace_id"] == canaries[-1].trace_id.hex()
        assert (tmp_path / "canary.log.1").exists()


async def test_a_collectors_zipkin_receiver_takes_a_span_and_passes_it_on(bench, start_server):
    canary = canary_of(Signal.TRACES, route="zipkin-collector")
    async with built_in_store(bench) as store:
        receivers = {"zipkin": {"endpoint": "127.0.0.1:@PORT@"}}
        agent = collector(receivers, Signal.TRACES, store.url)
        stack = await asyncio.to_thread(start_server, instances={"agent": agent})
        url = stack["agent"].url("zipkin")
        (receipt,) = await bench.send("zipkin", canary, url=url, compression="gzip")
        assert (receipt.sent, receipt.reason) == (Sent.ACCEPTED, Reason.OK)

        async def found():
            answer = await bench.get(
                f"{store.url}/api/v1/records", signal="traces", id=canary.canary_id
            )
            return json.loads(answer.body)["records"]

        (record,) = await until(found)
    assert record["trace_id"] == canary.trace_id.hex()
    assert record["stamp_ns"] == canary.stamp_ns // 1000 * 1000
    assert canary.attributes.items() <= record["attributes"].items()


# Scraped and pushed.


def scraping(own_port, *targets, **more):
    """Prometheus' config with one job, each of whose targets is scraped every 500 ms."""
    job = {"job_name": "coalmine", "scrape_interval": "500ms", "scrape_timeout": "400ms", **more}
    job["static_configs"] = [{"targets": [one.removeprefix("http://") for one in targets]}]
    # A server's listeners are those that its config names, be it in a comment.
    return json.dumps({"scrape_configs": [job]}) + f"\n# listens on {own_port}\n"


def unstamped(seq, route, epoch=7):
    key = CanaryKey(route, epoch, seq)
    return make_canary(
        INSTANCE, "tests", key, seq, Signal.METRICS, time.time_ns(), SERVICE, stamped=False
    )


@pytest.mark.parametrize("server", ["prometheus", "prometheus2"])
async def test_prometheus_scrapes_the_page_and_keeps_the_stamp_of_each_canary(
    bench, start_server, server
):
    port = free_ports(["page"])["page"]

    def scrape(stack):
        return scraping(stack["scraper"].ports["http"], f"127.0.0.1:{port}")

    scraper = Instance(server, config=scrape)
    stack = await asyncio.to_thread(start_server, instances={"scraper": scraper})
    url, sent = stack["scraper"].url(), []
    one = bench.injector("scrape", listen=f"127.0.0.1:{port}", scrape_every="500ms")
    two = bench.injector("scrape", listen=f"127.0.0.1:{port}", scrape_every="500ms")
    for seq in range(1, 4):
        pair = [canary_of(Signal.METRICS, seq, route=route) for route in ("one", "two")]
        receipts = await asyncio.gather(one.send(pair[0], 20.0), two.send(pair[1], 20.0))
        assert {receipt.sent for receipt in receipts} == {Sent.ACCEPTED}
        sent.append((pair[0].stamp_ns / 1e9, seq))
    # Two canaries in one second differ at one stamp: the store keeps the first.
    wanted = list({stamp: (stamp, value) for stamp, value in reversed(sent)}.values())[::-1]

    async def found():
        series = await bench.samples(url, 'coalmine_canary{coalmine_route="one"}[5m]')
        return series if series and len(series[0][1]) >= len(wanted) else None

    ((labels, samples),) = await until(found)
    assert samples == wanted
    assert labels["coalmine_instance"] == INSTANCE
    answer = await bench.get(f"{url}/api/v1/series", **{"match[]": "coalmine_canary"})
    assert len(json.loads(answer.body)["data"]) == 2


async def test_a_scraper_that_ignores_stamps_gives_its_own_and_no_canary_is_known_again(
    bench, start_server
):
    port = free_ports(["page"])["page"]

    def scrape(stack):
        own_port = stack["scraper"].ports["http"]
        return scraping(own_port, f"127.0.0.1:{port}", honor_timestamps=False)

    scraper = Instance("prometheus", config=scrape)
    stack = await asyncio.to_thread(start_server, instances={"scraper": scraper})
    canary = stamped_ago(30)
    injector = bench.injector("scrape", listen=f"127.0.0.1:{port}")
    # It may be seconds until a server that has just started scrapes at all.
    receipt = await injector.send(canary, 20.0)
    assert receipt.sent is Sent.ACCEPTED

    async def found():
        return await bench.samples(stack["scraper"].url(), "coalmine_canary[5m]")

    ((_, samples),) = await until(found)
    assert canary.stamp_ns / 1e9 not in {at for at, _ in samples}


async def test_a_pushgateway_shows_the_value_and_the_scraper_stamps_it(bench, start_server):
    def scrape(stack):
        own_port = stack["scraper"].ports["http"]
        return scraping(own_port, stack["pushgateway"].url(), honor_labels=True)

    scraper = Instance("prometheus2", config=scrape)
    stack = await asyncio.to_thread(start_server, "pushgateway", instances={"scraper": scraper})
    gateway, url = stack["pushgateway"].url(), stack["scraper"].url()
    # A gateway may remember what was put on it before it was started.
    epoch = time.time_ns() // 10**9 % 2**20
    for seq in (1, 2):
        canaries = [unstamped(seq, route, epoch) for route in ("one", "two")]
        receipts = await bench.send("pushgateway", *canaries, url=gateway)
        assert {receipt.sent for receipt in receipts} == {Sent.ACCEPTED}

        async def found(want=canaries[0].value):
            series = await bench.samples(url, 'coalmine_canary{coalmine_route="one"}[5m]')
            return [at for _, samples in series for at, value in samples if value == want]

        stamps = await until(found)
        assert stamps[0] >= canaries[0].stamp_ns / 1e9
        assert canaries[0].value == epoch * EPOCH_SPAN + seq
    series = await bench.samples(url, 'coalmine_canary{coalmine_route=~"one|two"}[5m]')
    assert {labels["coalmine_route"]: labels["instance"] for labels, _ in series} == {
        "one": f"coalmine-{INSTANCE}", "two": f"coalmine-{INSTANCE}",
    }  # fmt: skip
    assert {labels["job"] for labels, _ in series} == {SERVICE}


async def test_names_of_any_kind_make_a_group_of_a_real_pushgateway(bench, start_server):
    gateway = start_server("pushgateway")["pushgateway"].url()
    for job, instance in (("a/b c", "ü?&#%2F"), ("..", "x=1"), ("plain", "10.0.0.1:9090")):
        (receipt,) = await bench.send(
            "pushgateway", unstamped(1, "r"), url=gateway, job=job, instance=instance
        )
        assert (receipt.sent, receipt.detail) == (Sent.ACCEPTED, "")
        page = (await bench.get(f"{gateway}/metrics")).body.decode()
        assert f'coalmine_route="r",instance="{instance}",job="{job}"' in page


async def test_a_pushgateway_says_why_it_refuses(bench, start_server):
    gateway = start_server("pushgateway")["pushgateway"].url()
    (receipt,) = await bench.send("pushgateway", unstamped(1, "r"), url=f"{gateway}/nowhere")
    assert (receipt.sent, receipt.reason) == (Sent.REJECTED, Reason.INJECT)
    assert "404" in receipt.detail


# Between us and a real store: refused, lost on the way, stored without an answer, slow.


class Cable:
    """A proxy of toxiproxy before Loki, with one toxic or none."""

    def __init__(self, bench, api, url):
        self.bench, self.api, self.url = bench, api, url

    @classmethod
    async def laid(cls, bench, api, upstream):
        port = free_ports(["cable"])["cable"]
        proxy = {"name": f"cable-{port}", "listen": f"127.0.0.1:{port}", "enabled": True}
        cable = cls(bench, f"{api}/proxies", f"http://127.0.0.1:{port}")
        await cable._post("", {**proxy, "upstream": upstream.removeprefix("http://")})
        cable.api += f"/{proxy['name']}"
        return cable

    async def poison(self, kind, stream, **attributes):
        await self._post("/toxics", {"type": kind, "stream": stream, "attributes": attributes})

    async def cut(self):
        await self._post("", {"enabled": False})

    async def _post(self, path, written):
        body, headers = json.dumps(written).encode(), (("Content-Type", "application/json"),)
        request = Request("POST", self.api + path, 5.0, headers=headers, body=body)
        answer = await self.bench.parts.outbound.fetch(request)
        assert isinstance(answer, Response), answer
        assert answer.status in {200, 201}, answer.body


@pytest.fixture
async def cable(bench, start_server, loki):
    api = start_server("toxiproxy")["toxiproxy"].url()
    return await Cable.laid(bench, api, loki)


async def stored(bench, loki, canary):
    """How often the line is in Loki; it shows what it took within milliseconds."""
    reader = BACKENDS.load("loki")
    built = reader.build(reader.options_model(url=loki, tenant=TENANT), bench.parts)
    reading = await built.read(question_of(canary), built.declaration.paths[0], 5.0)
    assert reading.complete
    return len(reading.sightings)


async def pushed(bench, cable, name, deadline_s=2.0):
    canary = canary_of(Signal.LOGS, route=f"cable-{name}")
    injector = bench.injector("loki_push", url=cable.url, tenant=TENANT)
    return canary, await injector.send(canary, deadline_s)


async def test_a_cable_that_is_cut_is_a_rejection(bench, cable, loki):
    await cable.cut()
    canary, receipt = await pushed(bench, cable, "cut")
    assert (receipt.sent, receipt.reason, receipt.tries) == (Sent.REJECTED, Reason.REFUSED, 3)
    assert await stored(bench, loki, canary) == 0


async def test_what_is_lost_on_the_way_is_unknown_and_silent(bench, cable, loki):
    await cable.poison("timeout", "upstream", timeout=0)
    canary, receipt = await pushed(bench, cable, "lost", 1.0)
    assert (receipt.sent, receipt.reason, receipt.silent) == (Sent.MAYBE, Reason.MAYBE_SENT, True)
    assert await stored(bench, loki, canary) == 0


async def test_what_is_stored_without_an_answer_is_unknown_and_not_rejected(bench, cable, loki):
    await cable.poison("timeout", "downstream", timeout=0)
    canary, receipt = await pushed(bench, cable, "stored", 1.0)
    assert (receipt.sent, receipt.reason, receipt.silent) == (Sent.MAYBE, Reason.MAYBE_SENT, True)
    assert await stored(bench, loki, canary) == 1


async def test_mode_22_every_answer_reset_is_tried_again_and_never_called_rejected(
    bench, cable, loki
):
    await cable.poison("reset_peer", "downstream", timeout=0)
    canary, receipt = await pushed(bench, cable, "reset")
    assert (receipt.sent, receipt.reason, receipt.silent) == (Sent.MAYBE, Reason.MAYBE_SENT, False)
    assert receipt.tries == 3
    assert await stored(bench, loki, canary) == 1


async def test_a_slow_cable_is_accepted_within_its_deadline(bench, cable, loki):
    await cable.poison("latency", "upstream", latency=400)
    canary, receipt = await pushed(bench, cable, "slow")
    assert (receipt.sent, receipt.tries) == (Sent.ACCEPTED, 1)
    assert receipt.elapsed_s >= 0.4
    assert await stored(bench, loki, canary) == 1
