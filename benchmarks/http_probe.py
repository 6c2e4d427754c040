"""CPU per HTTP probe beside blackbox_exporter: new connection each, full verified handshake.

Both probe the same server on loopback, in turn. Ours is the whole probe (resolver, guard, libcurl,
facts, assertions), theirs its /probe endpoint. Goals: at most 0.5 x for HTTP, 0.75 x for HTTPS.
"""

import asyncio
import contextlib
import os
import random
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from core.clock import SystemClock
from core.egress import Egress
from core.kinds import Parts
from core.outbound.client import CurlOutbound
from core.resolve import Resolver
from core.verdict import Verdict
from probes.http import HttpOptions, HttpProbe
from probes.protocol import RunContext

PROBES = 1000
PARALLEL = 20
GOALS = {"http": 0.5, "https": 0.75}
PEER = "prometheus-blackbox-exporter"
TRACE = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"


def serve(folder: str) -> None:
    """The target: prints its HTTP and HTTPS ports, answers until its input closes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nWelcome")
            await writer.drain()
        writer.close()

    async def both() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{folder}/leaf.pem")
        plain = await asyncio.start_server(answer, "127.0.0.1", 0)
        secure = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
        ports = [server.sockets[0].getsockname()[1] for server in (plain, secure)]
        print(*ports, flush=True)
        await asyncio.to_thread(sys.stdin.read)
        os._exit(0)

    asyncio.run(both())


@contextlib.contextmanager
def target(folder: Path) -> Iterator[dict[str, str]]:
    """URLs by scheme of a server in a process of its own, its authority in `ca.pem`."""
    import trustme

    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    leaf = authority.issue_cert("127.0.0.1")
    leaf.private_key_and_cert_chain_pem.write_to_path(str(folder / "leaf.pem"))
    command = [sys.executable, "-m", "benchmarks.http_probe", str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        plain, secure = server.stdout.readline().split()
        try:
            yield {
                "http": f"http://127.0.0.1:{plain}/",
                "https": f"https://127.0.0.1:{secure}/",
            }
        finally:
            server.kill()


async def ours_ms(url: str, folder: Path) -> float:
    """CPU milliseconds of this process per probe."""
    clock = SystemClock()
    outbound = CurlOutbound(clock, Resolver(), Egress(()))
    parts = Parts(outbound, clock, random.Random(1), folder, folder, "0a1b2c3d", "bench")
    options = {"url": url, "expect": {"status": 200, "body_contains": "Welcome"}}
    if url.startswith("https:"):
        options["tls"] = {"ca_file": "ca.pem"}
    probe = HttpProbe.build(HttpOptions.model_validate(options), parts)
    context = RunContext("bench", 10.0, TRACE)

    async def work(count: int) -> None:
        for _ in range(count):
            result = await probe.run(context)
            assert result.verdict is Verdict.OK, result

    await work(PARALLEL)
    before = os.times()
    await asyncio.gather(*(work(PROBES // PARALLEL) for _ in range(PARALLEL)))
    after = os.times()
    await outbound.close()
    return (after.user + after.system - before.user - before.system) * 1000 / PROBES


def theirs_ms(url: str, folder: Path) -> float:
    """CPU milliseconds of blackbox_exporter per probe."""
    (folder / "blackbox.yml").write_text(
        "modules:\n  bench:\n    prober: http\n    timeout: 10s\n    http:\n"
        "      preferred_ip_protocol: ip4\n      fail_if_body_not_matches_regexp: [Welcome]\n"
        f"      tls_config: {{ca_file: {folder / 'ca.pem'}}}\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = f"--config.file={folder / 'blackbox.yml'}"
    command = [PEER, config, f"--web.listen-address=127.0.0.1:{port}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as peer:
        try:
            assert peer.stderr is not None
            while "Listening" not in (line := peer.stderr.readline()):
                assert line, "blackbox_exporter did not start"
            query = f"http://127.0.0.1:{port}/probe?module=bench&target={url}"
            _scrape(query, PARALLEL)
            before = _cpu_s(peer.pid)
            _scrape(query, PROBES)
            return (_cpu_s(peer.pid) - before) * 1000 / PROBES
        finally:
            peer.kill()


def _scrape(query: str, count: int) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(count):
        with opener.open(query) as answer:
            assert b"\nprobe_success 1" in answer.read()


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run() -> list[str]:
    """One line per scheme: ours, theirs, ratio, goal. Without the peer, ours alone."""
    lines = []
    with tempfile.TemporaryDirectory() as name, target(Path(name)) as urls:
        for scheme, url in urls.items():
            ours = asyncio.run(ours_ms(url, Path(name)))
            if shutil.which(PEER) is None:
                lines.append(f"{scheme:5} probe: {ours:.3f} ms CPU; {PEER} is not installed")
                continue
            theirs = theirs_ms(url, Path(name))
            goal = GOALS[scheme]
            lines.append(
                f"{scheme:5} probe: {ours:.3f} ms CPU, blackbox_exporter {theirs:.3f} ms,"
                f" ratio {ours / theirs:.2f} (goal {goal:.2f}:"
                f" {'met' if ours / theirs <= goal else 'missed'})"
            )
    return lines


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(sys.argv[1])
    else:
        print("\n".join(run()))
