"""OTLP out, against a real receiver on loopback, a dead one, and one that never answers."""

import contextlib
import json
import queue
import random
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from core.clock import SystemClock
from core.verdict import Verdict
from scheduler.export.otlp import OtlpExport, OtlpSettings
from scheduler.export.points import Internals
from tests.support.clock import VirtualClock
from tests.support.envelopes import FixedModel, board, check, envelope, route

INTERNALS = Internals(True, 0, 0, 0, 0, 0.0, None, {}, {})
MESSAGES = {
    "/v1/logs": ExportLogsServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
    "/v1/traces": ExportTraceServiceRequest,
}


class Receiver:
    """Takes OTLP over HTTP; requests wait in one queue per path."""

    def __init__(self):
        self.taken = {path: queue.Queue() for path in MESSAGES}
        self.headers = []
        taken, headers = self.taken, self.headers

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers.append(self.headers)
                taken[self.path].put(MESSAGES[self.path].FromString(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                """Nothing to say."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(autouse=True)
def no_thread_is_left():
    """What `stop` left behind at its limit would disturb other tests."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(20)
        assert not thread.is_alive(), thread.name


@pytest.fixture
def receiver():
    running = Receiver()
    yield running
    running.close()


def export_to(url, clock, *, every_s=60.0, ok_share=0.0, shown=None):
    settings = OtlpSettings(url, {"x-tenant": "tests"}, every_s, ok_share)
    model = FixedModel(shown or board(clock, checks=(check(),), routes=(route(sent=7),)))
    return OtlpExport(settings, model, lambda: INTERNALS, clock, random.Random(1), "tests")


def test_results_become_logs_when_they_change_and_spans_when_they_are_bad(receiver):
    clock = SystemClock()
    export = export_to(receiver.url, clock)
    for verdict in (Verdict.OK, Verdict.OK, Verdict.FAIL, Verdict.FAIL, Verdict.OK):
        export.publish(envelope(clock, "shop", verdict, verdict.value))
    export.stop(10)
    (scope,) = receiver.taken["/v1/logs"].get(timeout=5).resource_logs[0].scope_logs
    bodies = [record.body.string_value for record in scope.log_records]
    assert bodies == ["shop: ok ok", "shop: fail fail", "shop: fail fail", "shop: ok ok"]
    (scope,) = receiver.taken["/v1/traces"].get(timeout=5).resource_spans[0].scope_spans
    assert [span.name for span in scope.spans] == ["http shop"] * 2
    told = {one.key: one.value.string_value for one in scope.spans[0].attributes}
    assert told["coalmine.verdict"] == "fail"
    assert all(headers["x-tenant"] == "tests" for headers in receiver.headers)


def test_metrics_are_those_of_the_board(receiver):
    clock = SystemClock()
    export = export_to(receiver.url, clock)
    export.stop(10)
    (resource,) = receiver.taken["/v1/metrics"].get(timeout=5).resource_metrics
    named = {one.key: one.value.string_value for one in resource.resource.attributes}
    assert (named["service.name"], named["service.namespace"]) == ("coalmine", "tests")
    found = {metric.name: metric for metric in resource.scope_metrics[0].metrics}
    assert found["coalmine_up"].gauge.data_points[0].as_int == 1
    sent = found["coalmine_canary_sent"].sum
    assert sent.is_monotonic
    (point,) = sent.data_points
    assert point.as_int == 7
    assert {one.key: one.value.string_value for one in point.attributes} == {
        "route": "logs",
        "signal": "logs",
    }
    assert "coalmine_canary_delay_seconds" not in found


def test_all_ok_runs_become_spans_when_the_share_is_one(receiver):
    clock = SystemClock()
    export = export_to(receiver.url, clock, ok_share=1.0)
    for _ in range(5):
        export.publish(envelope(clock))
    export.stop(10)
    (scope,) = receiver.taken["/v1/traces"].get(timeout=5).resource_spans[0].scope_spans
    assert len(scope.spans) == 5


def test_the_vital_ages_from_the_last_success(receiver):
    clock = VirtualClock()
    export = export_to(receiver.url, clock, every_s=10.0)
    try:
        assert export.vital().verdict is Verdict.OK
        clock.move(31)
        vital = export.vital()
        assert (vital.part, vital.verdict, vital.age_s) == ("export", Verdict.DEGRADED, 31.0)
        assert vital.detail == "otlp not exported for 31s"
    finally:
        export.stop(10)


@contextlib.contextmanager
def endpoint(*, refuses):
    """A port that refuses, or one that accepts and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if not refuses:
            listener.listen(50)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


# A process of its own: what `stop` gives up at its limit goes on in threads of the SDK, and must
# not keep the process from ending.
PROGRAM = """
import json, logging, sys, time
from core.clock import SystemClock
from core.verdict import Verdict
from tests.scheduler.export.test_otlp_export import export_to
from tests.support.envelopes import envelope

logging.disable(logging.CRITICAL)
clock = SystemClock()
export = export_to(sys.argv[1], clock, every_s=0.1)
begun = time.monotonic()
for number in range(5000):
    export.publish(envelope(clock, f"shop-{number}", Verdict.FAIL))
published = time.monotonic()
export.stop(1.0)
stopped = time.monotonic()
print(json.dumps([published - begun, stopped - published]))
"""


@pytest.mark.parametrize("refuses", [True, False], ids=["refuses", "never-answers"])
def test_a_dead_endpoint_blocks_nothing_and_stop_keeps_its_limit(refuses):
    with endpoint(refuses=refuses) as url:
        ended = subprocess.run(
            [sys.executable, "-c", PROGRAM, url],
            check=True, capture_output=True, timeout=25, cwd=Path(__file__).parents[3],
        )  # fmt: skip
    published, stopped = json.loads(ended.stdout)
    # A blocking exporter would need 5000 time-outs; a queue takes them in a few seconds.
    assert published < 10
    assert stopped < 3
