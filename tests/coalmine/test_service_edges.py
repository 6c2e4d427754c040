"""The joined service at its edges: start, end, actions, metrics, secrets, heartbeats."""

import http.server
import logging
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from coalmine.cli import main
from coalmine.exits import Exit
from core.errors import CoalmineError
from selfcheck.embedded.faults import FaultKind
from tests.coalmine.service_rig import (
    TOKEN,
    Board,
    Rig,
    Running,
    all_ok,
    get,
    incidents,
    post,
    rig,
    series,
)

# Whole services over real sockets: `make test` runs them, `make check` does not.
pytestmark = pytest.mark.slow

WAY, DIRECT = "logs-gateway", "logs-direct"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path) as made:
        yield made


def healthy(stage: Rig, *routes: str, more: str = "") -> Running:
    """A service of which every route is ok."""
    running = stage.service(stage.top() + stage.routes(*(routes or (DIRECT,))) + more)
    running.until("all ok", all_ok)
    return running


# Start and end


def test_a_start_that_fails_leaves_nothing_behind(stage):
    threads = set(threading.enumerate())
    with http.server.HTTPServer(("127.0.0.1", stage.port), http.server.BaseHTTPRequestHandler):
        with pytest.raises(CoalmineError, match="cannot listen"):
            stage.service(stage.top() + stage.routes(DIRECT))
        left = {one for one in set(threading.enumerate()) - threads if one.is_alive()}
        assert not {one.name for one in left if "asyncio" not in one.name}
    healthy(stage)


@pytest.mark.parametrize(
    ("line", "told", "code"),
    [
        ("data_dir: token/x", "cannot be the data folder", Exit.NOT_PROVEN),
        (
            "data_dir: data\ncost: {price_books: [none.yaml]}",
            "'none.yaml' cannot be read",
            Exit.USAGE,
        ),
    ],
)
def test_a_start_that_cannot_be_says_why_in_one_line(stage, line, told, code, capsys):
    stage.write(stage.top().replace("data_dir: data", line) + stage.routes(DIRECT))
    assert main(["run", "--config", str(stage.config)]) == code
    said = capsys.readouterr().err
    assert told in said
    assert "Traceback" not in said


def test_fault_009_sigterm_ends_the_process_with_0_and_a_second_start_is_free(stage):
    stage.write(stage.top() + stage.routes(WAY, DIRECT))
    stage.fault(stage.stack.gateway, FaultKind.STALL)
    command = [sys.executable, "-m", "coalmine", "run", "--config", str(stage.config)]
    for _ in range(2):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            try:
                assert b"ready" in process.stdout.readline()
                process.send_signal(signal.SIGTERM)
                _, said = process.communicate(timeout=10)
            finally:
                process.kill()  # else a failure here waits for its end without end
            assert process.returncode == 0, said.decode()
            assert b"Traceback" not in said


# Actions


def test_ack_and_mute_are_folded_within_a_second_and_need_the_token(stage, capfd):
    running = healthy(stage, WAY, DIRECT)
    stage.fault(stage.stack.gateway, FaultKind.DROP)
    key = stage.page(lambda p: p["data"]["subject"] == WAY)["data"]["dedup_key"]
    url = f"{running.url}/api/v1/actions"
    until = (datetime.now(UTC) + timedelta(seconds=3)).isoformat()
    body = {"kind": "mute", "subject": key, "author": "eve", "reason": "known", "until": until}
    assert post(url, body, "wrong")[0] == 401
    assert post(url, {**body, "reason": ""})[0] == 400
    assert post(url, body)[0] == 202

    def muted(board: Board) -> str:
        who: str = incidents(board, WAY)[0]["muted_by"]
        return who

    running.until("muted", muted, limit_s=1.5)
    running.until("lapsed", lambda b: not muted(b), limit_s=6)
    assert main(["ack", WAY, "--config", str(stage.config), "--reason", "on it"]) == Exit.OK
    running.until("acked", lambda b: incidents(b, WAY)[0]["acked_by"], limit_s=1.5)
    assert post(url, {"kind": "unack", "subject": key, "author": "eve"})[0] == 202
    running.until("unacked", lambda b: not incidents(b, WAY)[0]["acked_by"], limit_s=1.5)
    assert key in capfd.readouterr().out


# Metrics and secrets


def test_every_scrape_balances_and_holds_what_the_alert_rules_ask_for(stage):
    running = healthy(stage, WAY, DIRECT)
    for _ in range(20):
        text = running.metrics()
        sent = series(text, "coalmine_canary_sent_total")
        states = series(text, "coalmine_canary_state")
        for name, total in sent.items():
            assert sum(value for who, value in states.items() if who[:2] == name) == total
        runs = series(text, "coalmine_check_runs")
        for who, due in ((who, value) for who, value in runs.items() if who[2] == "due"):
            rest = [v for other, v in runs.items() if other[:2] == who[:2] and other[2] != "due"]
            assert sum(rest) == due
    assert set(series(text, "coalmine_vital_ok").values()) == {1.0}
    assert "coalmine_page_dwell_seconds" not in [line.split(" ")[0] for line in text.splitlines()]


def test_no_secret_is_in_any_page_log_board_scrape_or_file(stage, caplog):
    caplog.set_level(logging.DEBUG)
    secret = "planted-header-secret-2342"
    more = (
        "checks:\n  - {name: site, probe: http, every: 2s, timeout: 1s, "
        f'url: "{stage.stack.store.url}/healthz", headers: {{authorization: env:RIG_SECRET}}}}\n'
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RIG_SECRET", secret)
        running = healthy(stage, WAY, DIRECT, more=more)
        stage.fault(stage.stack.gateway, FaultKind.DROP)
        stage.page(lambda p: p["data"]["subject"] == WAY)
        seen = [running.metrics(), get(f"{running.url}/api/v1/status").decode(), caplog.text]
        running.stop()
    seen.append(str(stage.pages))
    seen += [
        file.read_bytes().decode("latin-1")
        for file in (stage.folder / "data").rglob("*") if file.is_file()
    ]  # fmt: skip
    for planted in (secret, TOKEN, "planted-webhook-secret", "cGxhbnRlZC13ZWJob29r"):
        assert not [text[:80] for text in seen if planted in text], planted


# Heartbeats


class Watcher:
    """A Healthchecks-like server: `pings` yields path and body of each ping."""

    def __init__(self) -> None:
        pings = self.pings = queue.SimpleQueue[tuple[str, str]]()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                pings.put((self.path, body.decode()))
                self.send_response(200)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"OK")

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/beat"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def next(self, path: str) -> str:
        """The body of the next ping to `path`."""
        while True:
            came, body = self.pings.get(timeout=15)
            if came == path:
                return body

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    made = Watcher()
    yield made
    made.close()


def test_fault_006_a_blocked_probing_loop_fails_the_heartbeat_and_stops_no_page(
    stage, watcher, monkeypatch
):
    monkeypatch.setenv("RIG_BEAT", watcher.url)
    more = "heartbeats: {outbound: [{url: 'env:RIG_BEAT', every: 1s}]}\n"
    running = healthy(stage, more=more)
    assert watcher.next("/beat") == ""
    freed = threading.Event()
    running.loop.call_soon_threadsafe(freed.wait, 12)
    try:
        assert "scheduler: no tick" in watcher.next("/beat/fail")
        board = running.board()
        vitals = {one["part"]: one["verdict"] for one in board["vitals"]}
        assert vitals == {"scheduler": "fail", "paging": "ok", "database": "ok", "ledger": "ok"}
    finally:
        freed.set()
    running.until("all ok", all_ok)
    account = series(running.metrics(), "coalmine_check_runs")
    assert account[DIRECT, "canary", "skipped"] > 0, "what was not run is told"
    assert watcher.next("/beat") == ""
    running.stop()
    assert "planned stop" in watcher.next("/beat/log")
