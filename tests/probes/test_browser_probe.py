"""A journey ends in one verdict and leaves no process behind."""

import asyncio
import os
import random
import signal
import sys
import textwrap
from pathlib import Path

import pytest

from core.clock import SystemClock
from core.egress import Egress
from core.errors import CoalmineError
from core.kinds import Parts
from core.reason import Reason
from core.result import Result
from core.verdict import Verdict
from probes.browser import BrowserOptions, BrowserProbe
from probes.browser.options import find_chromium
from probes.browser.proxy import EgressProxy
from probes.browser.report import Report
from probes.browser.supervisor import survivors, verdict_of
from probes.protocol import RunContext
from tests.fakes.http_server import reply, serving
from tests.support.network import client

PAGE = b"<html><body><h1>Welcome</h1><input value='x'></body></html>"
TRACE = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"


def parts(folder: Path, allow: tuple[str, ...] = ()) -> Parts:
    return Parts(
        None,  # type: ignore[arg-type]  # a browser has a way out of its own
        SystemClock(),
        random.Random(1),
        folder / "artifacts",
        folder,
        "0a1b2c3d",
        "test",
        Egress(allow),
    )


def probe(folder: Path, body: str, **options) -> BrowserProbe:
    code = "async def journey(page, step):\n" + textwrap.indent(textwrap.dedent(body), "    ")
    (folder / "journey.py").write_text(code)
    given = BrowserOptions.model_validate({"journey": "journey.py", **options})
    return BrowserProbe.build(given, parts(folder))


async def run(folder: Path, body: str, deadline_s: float = 25.0, **options) -> Result:
    return await probe(folder, body, **options).run(RunContext("login", deadline_s, TRACE))


@pytest.mark.browser
async def test_a_journey_that_ends_is_ok_and_has_vitals(tmp_path) -> None:
    body = """
    async with step("open"):
        await page.goto("/")
    assert await page.inner_text("h1") == "Welcome"
    """
    async with serving(reply(body=PAGE, content_type="text/html")) as server:
        result = await run(tmp_path, body, base_url=server.url())
        assert f"traceparent: {TRACE}" in server.heads[0]
    assert result.verdict is Verdict.OK, result
    assert result.facts["steps_done"] == 1
    assert float(result.facts["vital_ttfb_seconds"]) > 0
    assert set(result.facts) <= {spec.name for spec in BrowserProbe.facts}
    assert not (tmp_path / "artifacts").exists()


@pytest.mark.browser
async def test_a_broken_assertion_fails_and_keeps_screenshot_and_console(tmp_path) -> None:
    body = """
    await page.goto("/")
    async with step("greet"):
        await page.evaluate("console.log('seen')")
        assert await page.inner_text("h1") == "Goodbye", "no goodbye"
    """
    async with serving(reply(body=PAGE, content_type="text/html")) as server:
        result = await run(tmp_path, body, base_url=server.url())
    assert (result.verdict, result.reason) == (Verdict.FAIL, Reason.ASSERTION), result
    assert result.facts["step_in_progress"] == "greet"
    folder = Path(str(result.facts["artifacts"]))
    assert (folder / "screenshot.png").stat().st_size > 0
    assert "seen" in (folder / "console.log").read_text()


@pytest.mark.browser
async def test_a_target_that_is_not_there_fails_in_navigation(tmp_path) -> None:
    result = await run(tmp_path, "await page.goto('https://127.0.0.1:1/')")
    assert (result.verdict, result.reason) == (Verdict.FAIL, Reason.NAVIGATION), result


@pytest.mark.browser
async def test_a_redirect_to_where_the_guard_denies_is_blind(tmp_path) -> None:
    async with serving(reply(body=PAGE)) as inner:
        async with serving(reply(302, location=inner.url())) as outer:
            result = await run(tmp_path, "await page.goto('/')", base_url=outer.url())
        assert inner.connections == 0
    assert (result.verdict, result.reason) == (Verdict.BLIND, Reason.EGRESS), result
    assert result.facts["requests_refused"] == 1


@pytest.mark.browser
@pytest.mark.parametrize(
    ("body", "verdict", "reason"),
    [
        ("await page.goto('chrome://crash')", Verdict.BLIND, Reason.BROWSER_CRASH),
        ("import os; os.abort()", Verdict.BLIND, Reason.DRIVER),
        ("while True: pass", Verdict.BLIND, Reason.HARNESS),
        ("await page.wait_for_selector('#never')", Verdict.FAIL, Reason.TIMEOUT),
        ("raise ValueError('bug in the journey')", Verdict.BLIND, Reason.HARNESS),
    ],
    ids=["crash", "driver dies", "hang", "never appears", "bug"],
)
async def test_fault_046_a_browser_that_breaks_is_blind_and_leaves_nothing(
    tmp_path, monkeypatch, body: str, verdict: Verdict, reason: Reason
) -> None:
    token = os.urandom(8).hex()
    monkeypatch.setattr("probes.browser.supervisor.secrets.token_hex", lambda _n: token)
    result = await run(tmp_path, body, deadline_s=8.0)
    assert (result.verdict, result.reason) == (verdict, reason), result
    assert survivors(token) == []


SUPERVISOR = """
import asyncio, os, sys
from probes.browser.report import Order
from probes.browser import supervisor
supervisor.secrets.token_hex = lambda _n: sys.argv[1]
order = Order(sys.argv[2], sys.argv[3], False, "", sys.argv[4], (), float(sys.argv[5]), 1.0, "")
asyncio.run(supervisor.supervise(order, 60.0))
"""


@pytest.mark.browser
async def test_fault_047_a_killed_supervisor_takes_its_browser_along(tmp_path) -> None:
    token, started = os.urandom(8).hex(), tmp_path / "started"
    body = f"open({str(started)!r}, 'w').close(); await page.wait_for_selector('#never')"
    made = probe(tmp_path, body)
    ends = str(SystemClock().monotonic() + 50)
    files = (str(made.journey), str(made.executable), str(tmp_path / "artifacts"))
    arguments = (token, *files, ends)
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", SUPERVISOR, *arguments)
    async with asyncio.timeout(25):
        while not started.exists():
            await asyncio.wait({asyncio.ensure_future(parent.wait())}, timeout=0.05)
        assert len(survivors(token)) > 2
        parent.kill()
        await parent.wait()
        while survivors(token):
            await asyncio.wait({asyncio.get_running_loop().create_future()}, timeout=0.05)


def test_a_report_is_evidence_and_the_verdict_is_ours() -> None:
    cases = {
        "ok": (Verdict.OK, Reason.OK),
        "navigation": (Verdict.FAIL, Reason.NAVIGATION),
        "launch": (Verdict.BLIND, Reason.LAUNCH),
        "egress": (Verdict.BLIND, Reason.EGRESS),
        "nonsense": (Verdict.BLIND, Reason.DRIVER),
    }
    for happened, expected in cases.items():
        result = verdict_of(Report(happened, "x").to_json(), b"", 0)
        assert (result.verdict, result.reason) == expected
    assert verdict_of(b"", b"", -signal.SIGKILL).reason is Reason.BROWSER_CRASH
    assert verdict_of(b"{}", b"Traceback\nboom", 1).detail.endswith("boom")


@pytest.mark.parametrize("code", ["def journey(:", "x = 1", "def journey(page, step): pass"])
def test_input_50_a_journey_that_cannot_run_is_refused(tmp_path, monkeypatch, code: str) -> None:
    monkeypatch.setenv("CHROMIUM", "/bin/true")
    (tmp_path / "journey.py").write_text(code)
    given = BrowserOptions.model_validate({"journey": "journey.py"})
    with pytest.raises(CoalmineError, match="journey"):
        BrowserProbe.build(given, parts(tmp_path))
    missing = BrowserOptions.model_validate({"journey": "gone.py"})
    with pytest.raises(CoalmineError, match=r"gone\.py"):
        BrowserProbe.build(missing, parts(tmp_path))


def test_a_browser_is_found_by_option_environment_or_path(tmp_path) -> None:
    binary = tmp_path / "chromium"
    binary.write_text("")
    binary.chmod(0o755)
    nothing = {"PATH": "/nowhere", "PLAYWRIGHT_BROWSERS_PATH": "/nowhere"}
    assert find_chromium(binary, nothing) == binary
    assert find_chromium(None, {**nothing, "CHROMIUM": str(binary)}) == binary
    assert find_chromium(None, {**nothing, "PATH": str(tmp_path)}) == binary
    assert find_chromium(None, nothing) is None
    assert find_chromium(tmp_path / "absent", nothing) is None


async def test_the_proxy_lets_only_written_origins_reach_loopback() -> None:
    from core.resolve import Resolver

    async with serving(reply(body=b"inside")) as server, client() as _:
        for written, status in ((server.url(), b"200"), ("", b"403")):
            resolver = Resolver()
            proxy = EgressProxy(Egress(()), resolver, written)
            address = await proxy.start()
            answer = await _ask(int(address.rpartition(":")[2]), server.url())
            assert answer.split()[1] == status
            assert [item.reason for item in proxy.refused] == (
                [] if status == b"200" else [Reason.EGRESS]
            )
            await proxy.close()
            await resolver.close()


async def _ask(port: int, url: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {url} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer
