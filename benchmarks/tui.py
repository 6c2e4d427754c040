"""The terminal in a pseudo-terminal, 120x36, 1,000 checks: first useful frame, memory, idle cost.

A small loopback server stands for the instance. Peer: a Python that only imports Textual.
"""

import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import quantiles

from core.verdict import Verdict
from scheduler.api.app import board_json
from scheduler.readmodel import Board, CheckRow, IncidentRow, VitalLine

CHECKS, FAILING, RUNS, KEYS, IDLE_S = 1000, 9, 5, 60, 20.0
_DEADLINE_S = 20.0


def _board() -> Board:
    now = datetime.now(UTC)
    checks = tuple(
        CheckRow(
            f"check-{n:04}", "http", "", verdict := Verdict.FAIL if n < FAILING else Verdict.OK,
            None, verdict.value, "", 4.0, 0.1, {"status": 200}, {"due": 100, "ok": 100},
            (verdict,) * 30,
        )
        for n in range(CHECKS)
    )  # fmt: skip
    incidents = tuple(
        IncidentRow(
            f"bench:{row.name}:1", row.name, 1, "fail", row.name, "critical", "firing",
            Verdict.FAIL, row.name, "status 500", "", (), now, "", None, "", None, (), (),
            row.strip, 4.0,
        )
        for row in checks[:FAILING]
    )  # fmt: skip
    vitals = (VitalLine("scheduler", Verdict.OK, 1.0, ""),)
    return Board(now, "bench", "live", 1, (), vitals, incidents, checks, (), (), (), (), ())


class _Instance(BaseHTTPRequestHandler):
    """Serves the board with the present time in it."""

    board = _board()

    def do_GET(self) -> None:
        body = board_json(replace(self.board, at=datetime.now(UTC)))
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


class _Screen:
    """A child on a pseudo-terminal; `until` reads what it draws."""

    def __init__(self, command: list[str]) -> None:
        self.fd, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 36, 120, 0, 0))
        env = {**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True
        )
        os.close(slave)

    def until(self, wanted: str) -> float:
        """Seconds until `wanted` was drawn. Raises TimeoutError."""
        begun, drawn = time.perf_counter(), b""
        while wanted.encode() not in drawn:
            left = begun + _DEADLINE_S - time.perf_counter()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                raise TimeoutError(f"{wanted!r} was not drawn, but {drawn[-300:]!r}")
            drawn += os.read(self.fd, 65536)
        return time.perf_counter() - begun

    def drain(self, seconds: float) -> None:
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            if select.select([self.fd], [], [], left)[0]:
                os.read(self.fd, 65536)

    def rss_mib(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        os.write(self.fd, b"q")
        with contextlib.suppress(OSError):  # EIO: the child has closed its end
            self.drain(0.5)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.fd)


def run() -> list[str]:
    """The figures as lines."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Instance)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    command = [sys.executable, "-m", "coalmine", "tui", "--url", url]
    try:
        return [*_first_frames(command), *_at_work(command)]
    finally:
        server.shutdown()
        server.server_close()


def _first_frames(command: list[str]) -> list[str]:
    ours, peer = [], []
    wanted = f"●{CHECKS - FAILING}"
    # The first start fills the page cache: it is not counted.
    for _ in range(RUNS + 1):
        screen = _Screen(command)
        try:
            screen.until(wanted)
            ours.append(time.perf_counter() - screen.started)
        finally:
            screen.close()
        begun = time.perf_counter()
        code = "import textual.app, textual.scroll_view"
        subprocess.run([sys.executable, "-c", code], check=True)
        peer.append(time.perf_counter() - begun)
    ours, peer = sorted(ours[1:]), sorted(peer[1:])
    middle = RUNS // 2
    times = f"median {ours[middle]:.2f} s, worst {ours[-1]:.2f} s of {RUNS} (bar 1 s)"
    ratio = f"x{ours[middle] / peer[middle]:.1f} of importing Textual ({peer[middle]:.2f} s)"
    return [f"first frame with verdicts, {CHECKS} checks: {times}; {ratio}"]


def _at_work(command: list[str]) -> list[str]:
    screen = _Screen(command)
    try:
        screen.until(f"●{CHECKS - FAILING}")
        screen.drain(2.0)
        os.write(screen.fd, b"3")
        screen.until("CHECKS")
        screen.drain(1.0)
        delays = []
        for _ in range(KEYS):
            os.write(screen.fd, b"j")
            delays.append(screen.until("›"))
        p95_ms = quantiles(delays, n=20)[-1] * 1000
        before = screen.cpu_s()
        screen.drain(IDLE_S)
        share = (screen.cpu_s() - before) / IDLE_S
        return [
            f"key to painted row, {CHECKS} checks: p95 {p95_ms:.0f} ms of {KEYS} (bar 50 ms)",
            f"idle: {share:.1%} of a core over {IDLE_S:.0f} s (bar 5 %)",
            f"memory: {screen.rss_mib():.0f} MiB RSS (bar 100 MiB)",
        ]
    finally:
        screen.close()
