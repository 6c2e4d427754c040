"""A service and its peer as processes: started, scraped, and what /proc says they cost."""

import contextlib
import http.client
import os
import re
import socket
import statistics
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.http_probe import PEER
from coalmine.demo.ports import free_port
from coalmine.demo.processes import Process
from core.clock import SystemClock

_LABEL = re.compile(r'(\w+)="([^"]*)"')
_CHECK = """\
  - {{name: c{number}, probe: http, url: "{url}c{number}", every: {every}s, timeout: 5s,
     expect: {{status: 200, body_contains: Welcome}}{tls}}}
"""


@dataclass(frozen=True, slots=True)
class Running:
    """A service that is ready: its process, API, data; when it was started and what that took."""

    pid: int
    url: str
    data: Path
    began: datetime
    ready_s: float
    ready_cpu_s: float


def cpu_s(pid: int) -> float:
    """CPU seconds of a process, all its threads and its ended children, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid: int) -> float:
    """Resident memory now."""
    status = Path(f"/proc/{pid}/status").read_text()
    kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    return int(kib) / 1024


def load() -> str:
    """The machine's load: what else ran decides how far a figure can be trusted."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def checks_config(folder: Path, url: str, count: int, every_s: int) -> Path:
    """A config of `count` HTTP checks of one server; `ca.pem` is used for https."""
    tls = ", tls: {ca_file: ca.pem}" if url.startswith("https") else ""
    lines = [
        _CHECK.format(number=number, url=url, every=every_s, tls=tls) for number in range(count)
    ]
    head = (
        f"coalmine: 1\nnamespace: bench\ndata_dir: {folder / 'data'}\n"
        f'api: {{listen: "127.0.0.1:{free_port()}"}}\n'
    )
    config = folder / "coalmine.yaml"
    config.write_text(head + "checks:\n" + "".join(lines))
    return config


@contextlib.contextmanager
def service(config: Path) -> Iterator[Running]:
    """`coalmine run` until the block ends; whatever it told on stderr is kept in `coalmine.log`."""
    began, began_s = datetime.now(UTC), time.monotonic()
    process = Process("coalmine", ["run", "-c", str(config)], config.parent, SystemClock())
    try:
        told = process.ready()
        ready_s = time.monotonic() - began_s
        pid = int(told["pid"])
        yield Running(pid, str(told["api"]), config.parent / "data", began, ready_s, cpu_s(pid))
    finally:
        process.stop()


def scrape(url: str) -> str:
    """One scrape of a service's /metrics."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{url}/metrics", timeout=30) as answer:
        text: str = answer.read().decode()
        return text


def samples(text: str, name: str) -> list[tuple[dict[str, str], float]]:
    """Labels and value of each series called `name`; for labels without escapes."""
    found = []
    for line in text.splitlines():
        if line.startswith(f"{name}{{"):
            labels, _, value = line.removeprefix(f"{name}{{").rpartition("} ")
            found.append((dict(_LABEL.findall(labels)), float(value)))
    return found


def states(text: str) -> dict[str, float]:
    """Due runs of all checks by what became of them."""
    found: dict[str, float] = {}
    for labels, value in samples(text, "coalmine_check_runs"):
        found[labels["state"]] = found.get(labels["state"], 0) + value
    return found


def p99(values: list[float]) -> float:
    """The 99th percentile."""
    return statistics.quantiles(values, n=100)[98]


@contextlib.contextmanager
def blackbox(folder: Path) -> Iterator[tuple[int, int]]:
    """The peer's process id and port; its module `bench` asks what our checks ask."""
    (folder / "blackbox.yml").write_text(
        "modules:\n  bench:\n    prober: http\n    timeout: 5s\n    http:\n"
        "      preferred_ip_protocol: ip4\n      fail_if_body_not_matches_regexp: [Welcome]\n"
        f"      tls_config: {{ca_file: {folder / 'ca.pem'}}}\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = f"--config.file={folder / 'blackbox.yml'}"
    command = [PEER, config, f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as peer:
        try:
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.05)
            yield peer.pid, port
        finally:
            peer.kill()


@contextlib.contextmanager
def probed(port: int, url: str, per_s: float) -> Iterator[Callable[[], int]]:
    """The peer probes `url` at a fixed rate over a kept connection; yields the count so far."""
    count, stopped = 0, threading.Event()

    def work() -> None:
        nonlocal count
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        began_s = time.monotonic()
        while not stopped.wait(max(0.0, began_s + count / per_s - time.monotonic())):
            connection.request("GET", f"/probe?module=bench&target={url}c{count % 5000}")
            answer = connection.getresponse().read()
            assert b"\nprobe_success 1" in answer, answer[-500:]
            count += 1
        connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield lambda: count
    finally:
        stopped.set()
        thread.join()
