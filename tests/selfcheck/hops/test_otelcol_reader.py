"""The Collector's counters as recorded from version 0.159.0, and what trouble looks like."""

import contextlib
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.kinds import Parts
from core.outbound.protocol import Request, Response, Trouble
from core.reason import Reason
from selfcheck.canary.model import Signal
from selfcheck.hops.dictionary import canonical
from selfcheck.hops.otelcol import OtelcolOptions, parse
from selfcheck.hops.protocol import HOP_READERS, Direction, Meter
from tests.support.clock import VirtualClock

RECORDED = Path(__file__).parent / "recorded"
NORMAL = (RECORDED / "otelcol-0.159.0-normal.txt").read_text()
DETAILED = (RECORDED / "otelcol-0.159.0-detailed.txt").read_text()
IDLE = (RECORDED / "otelcol-0.159.0-idle.txt").read_text()


class CannedOutbound:
    """Answers every request with one value and keeps the request."""

    def __init__(self, answer):
        self.answer, self.asked = answer, None

    async def fetch(self, request: Request) -> Response | Trouble:
        self.asked = request
        return self.answer

    async def close(self) -> None:
        """Nothing is open."""


def page(text: str, status: int = 200) -> Response:
    return Response(status, (), text.encode(), (), 0.01)


def reader(answer, **options):
    given = OtelcolOptions(metrics="http://127.0.0.1:8888/metrics", **options)
    parts = Parts(
        CannedOutbound(answer), VirtualClock(), random.Random(1), Path(), Path(), "i", "n"
    )
    return HOP_READERS.load("otelcol").build(given, parts, "gateway")


def test_the_recorded_scrape_gives_each_signal_its_counters():
    meters = parse(NORMAL).meters
    assert meters[Meter("receiver", "otlp/drop", Direction.IN, Signal.TRACES)] == 50
    assert meters[Meter("receiver", "otlp", Direction.REFUSED, Signal.TRACES)] == 50
    assert meters[Meter("exporter", "otlp_http/gone", Direction.DROPPED, Signal.TRACES)] == 50
    assert meters[Meter("exporter", "debug", Direction.OUT, Signal.METRICS)] == 15
    assert meters[Meter("exporter", "otlp_http/dead", Direction.STORED, Signal.LOGS)] == 1
    assert meters[Meter("exporter", "otlp_http/dead", Direction.CAPACITY, Signal.LOGS)] == 20
    assert meters[Meter("processor", "filter/drop", Direction.IN, Signal.LOGS)] == 50
    assert meters[Meter("processor", "filter/drop", Direction.OUT, Signal.LOGS)] == 0


def test_the_recorded_scrape_tells_what_was_dropped_on_purpose():
    intended = {m: v for m, v in parse(NORMAL).meters.items() if m.direction is Direction.INTENDED}
    by = {(m.component_id, m.signal): v for m, v in intended.items()}
    assert by == {
        ("filter/drop", Signal.LOGS): 50,
        ("filter/drop", Signal.TRACES): 50,
        ("filter/drop", Signal.METRICS): 15,
        ("probabilistic_sampler", Signal.LOGS): 20,
        ("probabilistic_sampler", Signal.TRACES): 23,
        ("tail_sampling", Signal.TRACES): 50,
    }


def test_an_exporter_that_never_sent_has_no_sent_counter_and_no_zero():
    assert (
        Meter("exporter", "otlp_http/dead", Direction.OUT, Signal.LOGS) not in parse(NORMAL).meters
    )


def test_bytes_are_there_at_level_detailed_and_absent_below():
    meter = Meter("exporter", "otlp_http/dead", Direction.BYTES_IN, Signal.LOGS)
    assert parse(DETAILED).meters[meter] == 2100
    assert meter not in parse(NORMAL).meters
    received = Meter("receiver", "http", Direction.BYTES_IN, Signal.TRACES)
    assert parse(DETAILED).meters[received] == 3 * 9150


def test_a_collector_that_saw_no_traffic_has_no_receiver_series_and_is_read():
    scrape = parse(IDLE)
    assert not scrape.unread
    assert all(meter.component == "exporter" for meter in scrape.meters)


def test_names_with_total_dots_and_units_mean_the_same():
    renamed = NORMAL.replace(
        "otelcol_receiver_accepted_spans{", "otelcol_receiver_accepted_spans_total{"
    )
    renamed = renamed.replace(
        "# TYPE otelcol_receiver_accepted_spans ", "# TYPE otelcol_receiver_accepted_spans_total "
    )
    assert parse(renamed).meters == parse(NORMAL).meters
    assert canonical("otelcol.receiver.accepted.spans") == "receiver_accepted_spans"
    assert canonical("otelcol_receiver_accepted_spans__spans__total") == "receiver_accepted_spans"
    assert canonical("otelcol_process_uptime_seconds_total") == "process_uptime"
    assert canonical("receiver_refused_spans_ratio_total") == "receiver_refused_spans"


@pytest.mark.parametrize("bad", ["NaN", "+Inf", "-3"])
def test_a_counter_that_is_no_count_is_named_and_unread(bad):
    scrape = parse(
        NORMAL.replace(
            'receiver="otlp/drop",transport="http"} 50',
            f'receiver="otlp/drop",transport="http"}} {bad}',
        )
    )
    assert scrape.unread
    assert "receiver_accepted_log_records" in scrape.unread[0]


def test_a_page_that_is_not_the_collectors_is_unread():
    assert parse("<html>hello</html>").unread == (
        "no otelcol_ series: is this the Collector's own metrics page?",
    )


@given(st.text(max_size=200))
def test_no_text_breaks_the_parser_other_than_by_value_error(text):
    with contextlib.suppress(ValueError):
        assert parse(text).unread or "otelcol" in text or "http_server" in text


async def test_a_scrape_carries_the_boot_time_at_which_the_process_started():
    counters = await reader(page(NORMAL)).read(5.0)
    assert counters.reachable
    assert counters.reason is Reason.OK
    assert counters.started_s == pytest.approx(1000.0 - 3.183936475)


async def test_only_the_named_receivers_and_exporters_count():
    chosen = reader(page(NORMAL), receivers=("otlp",), exporters=("otlp_http/dead",))
    meters = (await chosen.read(5.0)).meters
    ids = {(m.component, m.component_id) for m in meters if m.component != "processor"}
    assert ids == {("receiver", "otlp"), ("exporter", "otlp_http/dead")}


@pytest.mark.parametrize("reason", [Reason.REFUSED, Reason.TIMEOUT])
async def test_refused_and_accepted_but_silent_are_told_apart(reason):
    trouble = Trouble(reason, "what happened", False, reason is Reason.TIMEOUT, None, (), 5.0)
    counters = await reader(trouble).read(5.0)
    assert (counters.reachable, counters.reason) == (False, reason)
    assert counters.unread == ("metrics of gateway: what happened",)
    assert not counters.meters


async def test_an_answer_that_is_no_success_leaves_the_hop_unread():
    counters = await reader(page("busy", 503)).read(5.0)
    assert (counters.reachable, counters.reason) == (True, Reason.STATUS)
    assert counters.unread == ("metrics of gateway: answered 503",)


async def test_a_cut_page_leaves_the_hop_unread():
    cut = 'otelcol_receiver_accepted_spans{receiver="otl'
    counters = await reader(page(cut)).read(5.0)
    assert counters.reason is Reason.BACKEND_PROTOCOL
    assert counters.unread
