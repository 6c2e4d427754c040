"""While a store is stopped, what passes the gateway is held there: its own counter says so."""

import re
import urllib.request
from collections.abc import Iterator

import pytest

from coalmine.demo.receiver import PageReceiver
from tests.stack.rig import Rig, watched

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def rig(tmp_path_factory) -> Iterator[Rig]:
    rig = Rig(tmp_path_factory.mktemp("queue"))
    try:
        with rig.stack:
            yield rig
    finally:
        rig.close()


@pytest.fixture
def pager() -> Iterator[PageReceiver]:
    pager = PageReceiver(refuses=False)
    yield pager
    pager.close()


def queued(rig: Rig, exporter: str) -> int:
    """Batches that one exporter of the gateway holds, as the gateway counts them."""
    with urllib.request.urlopen(f"{rig.stack['otelcol'].url('metrics')}/metrics", timeout=5) as got:
        text = got.read().decode()
    found = re.search(
        rf'^otelcol_exporter_queue_size{{[^}}]*exporter="{exporter}"[^}}]*}} (\d+)',
        text,
        re.MULTILINE,
    )
    assert found, "the gateway does not tell the size of this queue"
    return int(found[1])


def test_fault_001_the_gateways_queue_grows_while_the_store_is_stopped_and_empties_after(
    rig, pager, tmp_path
):
    with watched(rig.document(pager.url, tmp_path), tmp_path, pager) as watch:
        watch.until_all_ok()
        rig.stop_store("loki")
        watch.until_verdict("gw-logs", "blind", "readback")
        first = queued(rig, "otlp_http/logs")
        watch.until("the queue grows", lambda: queued(rig, "otlp_http/logs") >= max(2, 2 * first))
        assert queued(rig, "otlp_http/traces") <= 1
        assert watch.route("gw-logs")["verdict"] == "blind", watch.told()
        assert watch.route("gw-logs")["outcomes"]["lost"] == 0, watch.told()
        rig.start_store("loki")
        watch.until("the queue is empty", lambda: queued(rig, "otlp_http/logs") == 0)
        watch.until_all_ok()
        assert watch.route("gw-logs")["outcomes"]["lost"] == 0, watch.told()
