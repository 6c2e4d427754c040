"""`coalmine verify` end to end: every exit code over the embedded gateway and store."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from coalmine.cli import main
from coalmine.demo.config import JUDGING
from selfcheck.embedded.faults import FaultKind
from tests.fakes.embedded_thread import embedded_stack

# Whole services over real sockets: `make test` runs them, `make check` does not.
pytestmark = pytest.mark.slow

CONFIG = """\
coalmine: 1
namespace: tests
allow_empty: true
{judging}
backends:
  store: {{kind: embedded, url: "{read}"}}
routes:
{routes}
checks:
{checks}
receivers:
  pager: {{kind: webhook, url: "http://127.0.0.1:9/"}}
pages:
  - {{to: pager, allow_single: true}}
"""
ROUTE = """\
  - {{name: {name}, signal: logs, every: 1s, read: store,
     inject: {{kind: otlp_http, url: "{url}"}}}}
"""
CHECK = """\
  - {{name: {name}, probe: http, url: "{url}", every: 30s, timeout: 2s, expect: {{status: 200}}}}
"""


@pytest.fixture
def stack(tmp_path):
    with embedded_stack(tmp_path) as running:
        yield running


@pytest.fixture
def closed_port():
    """A port on which nobody listens, for as long as it is held."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def config(folder, *, read, routes=(), checks=()):
    path = folder / "coalmine.yaml"
    path.write_text(
        CONFIG.format(
            judging=JUDGING,
            read=read,
            routes="".join(ROUTE.format(name=n, url=u) for n, u in routes) or "  []\n",
            checks="".join(CHECK.format(name=n, url=u) for n, u in checks) or "  []\n",
        )
    )
    return str(path)


def verified(capsys, *arguments):
    """The exit code and the JSON report."""
    code = main(["verify", *arguments, "--json"])
    out, err = capsys.readouterr()
    assert out, err
    report = json.loads(out)
    assert report["exit"] == code
    return code, report


def test_a_healthy_gateway_store_and_page_are_0_and_leave_no_file(stack, tmp_path, capsys):
    path = config(
        tmp_path,
        read=stack.store.url,
        routes=[("gw", stack.gateway.url), ("direct", stack.store.url)],
        checks=[("page", f"{stack.gateway.url}/metrics")],
    )
    code, report = verified(capsys, "-c", path, "--cycles", "2")
    assert code == 0, report
    assert [(one["name"], one["standing"]) for one in report["routes"]] == [
        ("gw", "ok"),
        ("direct", "ok"),
    ]
    assert [(one["name"], one["verdict"]) for one in report["checks"]] == [("page", "ok")]
    for one in report["routes"]:
        assert (one["sent"], one["outcomes"]["ok"], one["imbalance"]) == (2, 2, "")
        assert [path["name"] for path in one["paths"]]
        assert one["deadline_s"] > 0
    assert not (tmp_path / "coalmine-data").exists()


def test_the_table_is_on_stdout_and_progress_on_stderr(stack, tmp_path, capsys):
    path = config(tmp_path, read=stack.store.url, routes=[("direct", stack.store.url)])
    assert main(["verify", "-c", path, "--cycles", "2"]) == 0
    out, err = capsys.readouterr()
    assert "direct" in out
    assert out.splitlines()[-1].endswith("(exit 0)")
    assert "0 of 1 judged, " in err
    assert "s of 5m" in err
    assert "judged" not in out


def test_a_source_is_asked_for_once_and_one_without_a_record_proves_nothing(
    stack, closed_port, tmp_path, capsys
):
    path = Path(config(tmp_path, read=stack.store.url, routes=[("direct", stack.store.url)]))
    sources = 'sources:\n  - {name: app, backend: store, select: "logs:app", quiet_after: 60s}\n'
    path.write_text(path.read_text() + sources)
    code, report = verified(capsys, "-c", str(path), "--cycles", "1")
    (source,) = report["checks"]
    assert (code, source["name"], source["standing"]) == (2, "source:app", "unproven"), report
    assert "no record of app yet" in source["detail"]
    path.write_text(path.read_text().replace(stack.store.url, f"http://127.0.0.1:{closed_port}"))
    code, report = verified(capsys, "-c", str(path), "source:app")
    assert (code, report["checks"][0]["reason"], report["routes"]) == (2, "readback", [])


def test_a_store_that_drops_is_1(tmp_path, capsys):
    # With this seed the store takes the first canary and loses one after it.
    with embedded_stack(tmp_path, seed=1) as stack:
        stack.fault(FaultKind.DROP, share=0.5)
        path = config(tmp_path, read=stack.store.url, routes=[("direct", stack.store.url)])
        code, report = verified(capsys, "-c", path, "--cycles", "4")
    (route,) = report["routes"]
    assert (code, route["standing"]) == (1, "fail"), report
    assert route["outcomes"]["lost"] >= 1


def test_an_altering_gateway_is_1(stack, tmp_path, capsys):
    stack.fault(FaultKind.ALTER, gateway=True)
    path = config(tmp_path, read=stack.store.url, routes=[("gw", stack.gateway.url)])
    code, report = verified(capsys, "-c", path, "--cycles", "1")
    assert (code, report["routes"][0]["outcomes"]["altered"]) == (1, 1), report


def test_a_store_that_stores_nothing_is_2_as_it_may_be_the_wrong_one(stack, tmp_path, capsys):
    stack.fault(FaultKind.DROP)
    path = config(tmp_path, read=stack.store.url, routes=[("direct", stack.store.url)])
    code, report = verified(capsys, "-c", path, "--cycles", "1")
    assert code == 2, report
    assert report["routes"][0]["outcomes"]["unknown"] == 1
    assert "never seen one" in report["routes"][0]["detail"]


def test_a_store_whose_read_side_is_down_is_2(stack, tmp_path, capsys):
    stack.fault(FaultKind.READ_DOWN)
    path = config(tmp_path, read=stack.store.url, routes=[("direct", stack.store.url)])
    code, report = verified(capsys, "-c", path, "--cycles", "1")
    assert (code, report["routes"][0]["standing"]) == (2, "unproven"), report


def test_an_unreachable_read_api_is_2(stack, closed_port, tmp_path, capsys):
    path = config(
        tmp_path, read=f"http://127.0.0.1:{closed_port}", routes=[("direct", stack.store.url)]
    )
    code, report = verified(capsys, "-c", path, "--cycles", "1")
    assert (code, report["routes"][0]["standing"]) == (2, "unproven"), report


def test_an_endpoint_that_answers_200_with_html_is_1(stack, tmp_path, capsys, html_server):
    path = config(tmp_path, read=stack.store.url, routes=[("direct", html_server)])
    code, report = verified(capsys, "-c", path, "--cycles", "1")
    assert (code, report["routes"][0]["standing"]) == (1, "fail"), report


def test_an_endpoint_that_accepts_and_never_answers_is_1(stack, tmp_path, capsys):
    stack.fault(FaultKind.STALL)
    path = config(tmp_path, read=stack.store.url, routes=[("direct", stack.store.url)])
    code, report = verified(capsys, "-c", path, "--cycles", "1")
    assert (code, report["routes"][0]["standing"]) == (1, "fail"), report
    assert "without an answer" in report["routes"][0]["detail"]


def test_an_endpoint_that_refuses_connections_is_1(stack, closed_port, tmp_path, capsys):
    path = config(
        tmp_path, read=stack.store.url, routes=[("direct", f"http://127.0.0.1:{closed_port}")]
    )
    code, report = verified(capsys, "-c", path, "--cycles", "1")
    assert (code, report["routes"][0]["outcomes"]["rejected"]) == (1, 1), report


def test_known_bad_wins_over_unknown_and_the_junit_file_tells_them_apart(
    stack, closed_port, tmp_path, capsys
):
    path = config(
        tmp_path,
        read=f"http://127.0.0.1:{closed_port}",
        routes=[("blind", stack.store.url)],
        checks=[("down", f"http://127.0.0.1:{closed_port}/"), ("up", f"{stack.store.url}/metrics")],
    )
    junit = tmp_path / "report.xml"
    code, report = verified(capsys, "-c", path, "--cycles", "1", "--junit", str(junit))
    assert code == 1, report
    suite = ET.parse(junit).getroot()[0]
    assert (suite.attrib["tests"], suite.attrib["failures"]) == ("3", "1")
    told = {case.attrib["name"]: [part.tag for part in case] for case in suite}
    assert told == {"blind": ["error"], "down": ["failure"], "up": []}


def test_named_entries_alone_are_run(stack, closed_port, tmp_path, capsys):
    path = config(
        tmp_path,
        read=stack.store.url,
        checks=[("down", f"http://127.0.0.1:{closed_port}/"), ("up", f"{stack.store.url}/metrics")],
    )
    code, report = verified(capsys, "up", "-c", path)
    assert (code, [one["name"] for one in report["checks"]]) == (0, ["up"])


def test_a_duplicating_store_is_0_with_a_warning_and_1_when_strict(stack, tmp_path, capsys):
    stack.fault(FaultKind.DUPLICATE, gateway=True)
    path = config(tmp_path, read=stack.store.url, routes=[("gw", stack.gateway.url)])
    code, report = verified(capsys, "-c", path, "--cycles", "1")
    assert (code, report["routes"][0]["standing"]) == (0, "warning"), report
    assert verified(capsys, "-c", path, "--cycles", "1", "--strict")[0] == 1


def test_time_out_before_all_were_sent_is_2(stack, tmp_path, capsys):
    path = config(tmp_path, read=stack.store.url, routes=[("direct", stack.store.url)])
    code, report = verified(capsys, "-c", path, "--cycles", "500", "--timeout", "2s")
    assert (code, report["routes"][0]["standing"]) == (2, "unproven"), report
    assert "of 500 were sent in time" in report["routes"][0]["detail"]


def test_a_signal_ends_it_with_2_and_what_is_known_is_told(stack, tmp_path, capsys):
    path = config(tmp_path, read=stack.store.url, routes=[("direct", stack.store.url)])
    sent = threading.Timer(2.0, os.kill, (os.getpid(), signal.SIGTERM))
    sent.start()
    try:
        code, report = verified(capsys, "-c", path, "--cycles", "500")
    finally:
        sent.cancel()
        sent.join()
    assert (code, report["interrupted"]) == (2, True), report
    assert report["routes"][0]["sent"] >= 1


def test_a_closed_terminal_is_never_0(stack, tmp_path):
    path = config(tmp_path, read=stack.store.url, checks=[("up", f"{stack.store.url}/metrics")])
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "coalmine", "verify", "-c", path]
    try:
        ended = subprocess.run(
            command, check=False, stdout=writing, stderr=subprocess.PIPE, timeout=25
        )
    finally:
        os.close(writing)
    assert ended.returncode not in {0, 1}, ended.stderr.decode()


def test_nothing_selected_is_2(stack, tmp_path, capsys):
    path = config(tmp_path, read=stack.store.url)
    code, report = verified(capsys, "-c", path)
    assert (code, report["standing"]) == (2, "unproven")


def test_an_unknown_name_is_3(stack, tmp_path, capsys):
    path = config(tmp_path, read=stack.store.url, routes=[("direct", stack.store.url)])
    assert main(["verify", "drect", "-c", path]) == 3
    assert "drect" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--cycles", "0"], ["--cycles", "x"], ["--timeout", "5"], ["--no-such"]]
)
def test_a_usage_error_is_3(arguments, tmp_path):
    assert main(["verify", *arguments, "-c", str(tmp_path / "none.yaml")]) == 3


def test_a_config_with_mistakes_or_none_at_all_is_3(tmp_path, capsys):
    path = tmp_path / "coalmine.yaml"
    path.write_text("coalmine: 1\nnamespace: tests\nroutes: 7\n")
    assert main(["verify", "-c", str(path)]) == 3
    assert main(["verify", "-c", str(tmp_path / "none.yaml")]) == 3
    assert "cannot be read" in capsys.readouterr().err


def test_a_missing_credential_is_3(stack, tmp_path, capsys):
    path = config(tmp_path, read=stack.store.url)
    with Path(path).open("a") as file:
        file.write('database: {url: "env:COALMINE_TEST_NOT_SET"}\n')
    assert main(["verify", "-c", path]) == 3
    assert "COALMINE_TEST_NOT_SET" in capsys.readouterr().err


@pytest.fixture
def html_server():
    """A server that answers 200 and an HTML page to whatever is posted."""

    class Page(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            body = b"<html><body>Sign in</body></html>"
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Nothing to say."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()
