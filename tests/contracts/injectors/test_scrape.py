"""The scraped page: accepted once somebody has fetched what was put on it, and not before."""

import asyncio
import socket
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError

from core.errors import CoalmineError
from core.outbound.protocol import Request, Response
from core.reason import Reason
from deploy.stack.ports import free_ports
from selfcheck.backends.protocol import WriteRule
from selfcheck.canary.model import Sent, Signal
from selfcheck.injectors import exposition
from selfcheck.injectors.scrape import _FATES, ScrapeInjector, ScrapeOptions, address_of
from selfcheck.injectors.scrape.listener import Fate
from tests.support.canaries import canary_of
from tests.support.parts import real_parts


class Pages:
    """Injectors and a scraper in one event loop; what was built is closed at the end."""

    def __init__(self, parts):
        self.parts, self.built = parts, []

    def injector(self, listen="127.0.0.1:0", **options):
        chosen = ScrapeOptions(listen=listen, **options)
        self.built.append(ScrapeInjector.build(chosen, self.parts, None))
        return self.built[-1]

    async def fetch(self, url, method="GET"):
        answer = await self.parts.outbound.fetch(Request(method, url, 5.0))
        assert isinstance(answer, Response), answer
        return answer

    async def samples(self, url):
        answer = await self.fetch(url)
        assert answer.status == 200
        assert answer.header("content-type").startswith("text/plain; version=0.0.4")
        families = list(text_string_to_metric_families(answer.body.decode()))
        return [sample for family in families for sample in family.samples]


@pytest.fixture
async def pages(tmp_path):
    async with real_parts(tmp_path) as parts:
        opened = Pages(parts)
        yield opened
        for injector in opened.built:
            await injector.close()


@asynccontextmanager
async def sending(injector, canary, deadline_s=5.0):
    """A canary that is on the page while it waits to be fetched."""
    task = asyncio.create_task(injector.send(canary, deadline_s))
    await asyncio.sleep(0)
    yield task
    await task


async def test_a_sample_is_accepted_once_it_was_fetched(pages):
    injector, canary = pages.injector(), canary_of(Signal.METRICS, 42)
    async with sending(injector, canary) as task:
        assert not task.done()
        (sample,) = await pages.samples(injector.url)
        receipt = await task
    assert (receipt.sent, receipt.reason, receipt.tries) == (Sent.ACCEPTED, Reason.OK, 1)
    assert receipt.body_bytes > 0
    assert sample.value == 42
    assert sample.timestamp * 1e9 == canary.stamp_ns
    assert sample.labels == {
        "service_name": canary.service_name,
        "coalmine_instance": "ab12cd34",
        "coalmine_route": "r1",
    }


async def test_a_sample_stays_on_the_page_after_it_was_fetched(pages):
    injector = pages.injector()
    async with sending(injector, canary_of(Signal.METRICS, 7)):
        one, two = [await pages.samples(injector.url) for _ in range(2)]
    assert one == two


async def test_nobody_scraped_is_unknown_and_silent(pages):
    injector = pages.injector(scrape_every=0.1)
    receipt = await injector.send(canary_of(Signal.METRICS), 0.2)
    assert (receipt.sent, receipt.reason) == (Sent.MAYBE, Reason.MAYBE_SENT)
    assert receipt.silent
    assert "nobody scraped" in receipt.detail


async def test_a_deadline_shorter_than_the_scrapers_pace_is_our_own_mistake(pages):
    injector = pages.injector(scrape_every=15.0)
    receipt = await injector.send(canary_of(Signal.METRICS), 0.1)
    assert (receipt.sent, receipt.reason) == (Sent.MAYBE, Reason.HARNESS)
    assert receipt.silent is False
    assert "shorter than scrape_every" in receipt.detail


async def test_a_fetch_before_the_value_changed_counts_for_nothing(pages):
    injector = pages.injector(scrape_every=0.1)
    async with sending(injector, canary_of(Signal.METRICS, 1)) as first:
        await pages.samples(injector.url)
    second = await injector.send(canary_of(Signal.METRICS, 2), 0.2)
    assert (first.result().sent, second.sent) == (Sent.ACCEPTED, Sent.MAYBE)


async def test_a_value_that_was_replaced_unseen_is_known_not_to_have_been_taken(pages):
    injector = pages.injector()
    async with (
        sending(injector, canary_of(Signal.METRICS, 1)) as first,
        sending(injector, canary_of(Signal.METRICS, 2)) as second,
    ):
        (sample,) = await pages.samples(injector.url)
    assert sample.value == 2
    assert (first.result().sent, first.result().reason) == (Sent.REJECTED, Reason.INJECT)
    assert second.result().sent is Sent.ACCEPTED


@pytest.mark.parametrize(("method", "path", "status"), [
    ("HEAD", "", 200), ("POST", "", 405), ("DELETE", "", 405), ("GET", "/other", 404),
])  # fmt: skip
async def test_only_fetching_the_page_counts_as_a_scrape(pages, method, path, status):
    injector = pages.injector(scrape_every=0.1)
    async with sending(injector, canary_of(Signal.METRICS), 0.5) as task:
        answer = await pages.fetch(injector.url + path, method)
    assert answer.status == status
    assert task.result().sent is Sent.MAYBE


async def test_routes_share_an_address_and_a_page(pages):
    port = free_ports(["page"])["page"]
    one, two = pages.injector(f"127.0.0.1:{port}"), pages.injector(f"127.0.0.1:{port}")
    async with (
        sending(one, canary_of(Signal.METRICS, 1, route="r1")) as first,
        sending(two, canary_of(Signal.METRICS, 2, route="r2")) as second,
    ):
        found = await pages.samples(one.url)
    assert {(sample.labels["coalmine_route"], sample.value) for sample in found} == {
        ("r1", 1), ("r2", 2),
    }  # fmt: skip
    assert {first.result().sent, second.result().sent} == {Sent.ACCEPTED}


async def test_routes_of_one_address_may_have_pages_of_their_own(pages):
    port = free_ports(["page"])["page"]
    one = pages.injector(f"127.0.0.1:{port}", path="/one")
    two = pages.injector(f"127.0.0.1:{port}", path="/two", scrape_every=0.1)
    async with (
        sending(one, canary_of(Signal.METRICS, 1, route="r1")) as first,
        sending(two, canary_of(Signal.METRICS, 2, route="r2"), 0.5) as second,
    ):
        (sample,) = await pages.samples(one.url)
    assert sample.labels["coalmine_route"] == "r1"
    assert (first.result().sent, second.result().sent) == (Sent.ACCEPTED, Sent.MAYBE)


async def test_the_port_is_closed_with_the_last_route_and_can_be_opened_again(pages):
    port = free_ports(["page"])["page"]
    one, two = pages.injector(f"127.0.0.1:{port}"), pages.injector(f"127.0.0.1:{port}")
    for injector, route in ((one, "r1"), (two, "r2")):
        async with sending(injector, canary_of(Signal.METRICS, route=route)):
            await pages.samples(injector.url)
    await one.close()
    (left,) = await pages.samples(two.url)
    assert left.labels["coalmine_route"] == "r2"
    await two.close()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    again = pages.injector(f"127.0.0.1:{port}")
    async with sending(again, canary_of(Signal.METRICS)) as task:
        await pages.samples(again.url)
    assert task.result().sent is Sent.ACCEPTED


async def test_a_reload_hands_the_port_from_the_old_instance_to_the_new(pages):
    """The new plan is built whole before the old one is closed."""
    port = free_ports(["page"])["page"]
    old = pages.injector(f"127.0.0.1:{port}")
    async with sending(old, canary_of(Signal.METRICS, 1)):
        await pages.samples(old.url)
    new = pages.injector(f"127.0.0.1:{port}", scrape_every=2.0)
    await old.close()
    async with sending(new, canary_of(Signal.METRICS, 2)) as task:
        (sample,) = await pages.samples(new.url)
    assert (sample.value, task.result().sent) == (2, Sent.ACCEPTED)


async def test_a_page_that_is_closed_before_it_was_fetched_is_no_refusal(pages):
    injector = pages.injector()
    async with sending(injector, canary_of(Signal.METRICS)) as task:
        await injector.close()
    receipt = task.result()
    assert (receipt.sent, receipt.reason, receipt.silent) == (Sent.MAYBE, Reason.HARNESS, False)


def test_every_fate_of_a_sample_is_known():
    assert {fate.name for fate in Fate} == set(_FATES)


async def test_a_port_that_somebody_else_has_is_our_own_trouble_until_it_is_free(pages):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        injector = pages.injector(f"127.0.0.1:{taken.getsockname()[1]}")
        receipt = await injector.send(canary_of(Signal.METRICS), 1.0)
    assert (receipt.sent, receipt.reason) == (Sent.MAYBE, Reason.LAUNCH)
    assert "already in use" in receipt.detail
    assert receipt.silent is False
    async with sending(injector, canary_of(Signal.METRICS, 2)) as task:
        await pages.samples(injector.url)
    assert task.result().sent is Sent.ACCEPTED


async def test_mode_39_a_thousand_canaries_of_a_route_are_one_series(pages):
    injector, found = pages.injector(), set()
    for seq in range(1, 1001):
        canary = canary_of(Signal.METRICS, seq, epoch=7 + seq // 500)
        shown = injector.listener.show(injector, "/metrics", canary)
        if seq % 100 == 0:
            (sample,) = await pages.samples(injector.url)
            assert (sample.value, shown.fate.result()) == (seq, Fate.FETCHED)
            found.add(tuple(sample.labels.items()))
    assert len(found) == 1


@given(
    st.dictionaries(
        st.from_regex("[a-z][a-z_]*", fullmatch=True), st.text(max_size=30), max_size=4
    ),
    st.integers(min_value=1, max_value=2**53),
    st.integers(min_value=0, max_value=2**40),
)
def test_labels_of_any_text_come_back_unaltered(labels, value, second):
    text = exposition.page([(labels, float(value), second * 10**9)]).decode()
    (family,) = text_string_to_metric_families(text)
    (sample,) = family.samples
    assert (sample.labels, sample.value) == (labels, value)
    assert sample.timestamp == second


def test_sending_takes_as_long_as_the_scraper_may_stay_away():
    options = ScrapeOptions(listen="127.0.0.1:0", scrape_every="15s")
    assert ScrapeInjector.least_deadline_s(options) == 15


@pytest.mark.parametrize(
    "listen", ["9471", ":9471", "localhost:9471", "127.0.0.1:70000", "::1:9471", "127.0.0.1:", ""]
)
def test_an_address_that_is_none_is_refused(listen):
    with pytest.raises(ValidationError):
        ScrapeOptions(listen=listen)


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("127.0.0.1:9471", ("127.0.0.1", 9471)),
        ("[::1]:0", ("::1", 0)),
        ("0.0.0.0:1", ("0.0.0.0", 1)),
    ],
)
def test_an_address_is_read_as_it_is_written(written, address):
    assert address_of(written) == address


async def test_it_is_not_written_to_a_backend(tmp_path):
    rule = WriteRule("http://127.0.0.1:1", {}, frozenset({200}), empty_body=True)
    async with real_parts(tmp_path) as parts:
        with pytest.raises(CoalmineError, match="fetched by a scraper"):
            ScrapeInjector.build(ScrapeOptions(listen="127.0.0.1:0"), parts, rule)
