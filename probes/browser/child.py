"""The child that makes one journey; the only importer of Playwright. Reports, never judges.

Run as `python -m probes.browser.child`: order on standard input, report on standard output.
"""

import asyncio
import contextlib
import ctypes
import importlib.util
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

from playwright.async_api import Browser, Error, Page, Response, async_playwright
from playwright.async_api import TimeoutError as PlaywrightTimeout

from core.clock import SystemClock
from core.egress import Egress
from core.resolve import Resolver
from core.result import Fact
from probes.browser.proxy import REFUSED, EgressProxy
from probes.browser.report import Order, Report

_PR_SET_PDEATHSIG = 1
_LOG_CAP = 255 << 10
_DETAIL_CAP = 300
_GONE = ("crashed", "has been closed", "Connection closed", "Browser closed")
_ARGS = (
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
)
# Vitals that did not occur stay undefined, and are left out.
_OBSERVE = """(() => { const v = window.__vitals = {};
new PerformanceObserver(l => { for (const e of l.getEntries()) v.lcp = e.startTime / 1000; })
  .observe({type: 'largest-contentful-paint', buffered: true});
v.cls = 0; new PerformanceObserver(l => { for (const e of l.getEntries())
  if (!e.hadRecentInput) v.cls += e.value; }).observe({type: 'layout-shift', buffered: true});
})()"""
_COLLECT = """() => { const v = {...(window.__vitals || {})};
const n = performance.getEntriesByType('navigation')[0];
if (n && n.responseStart > 0) v.ttfb = n.responseStart / 1000;
if (n && n.loadEventEnd > 0) v.load = n.loadEventEnd / 1000;
const f = performance.getEntriesByName('first-contentful-paint')[0];
if (f) v.fcp = f.startTime / 1000; return v; }"""

Journey = Callable[[Page, Callable[[str], Any]], Awaitable[None]]  # a context manager factory


class Run:
    """One journey: its steps, its console, how it ended."""

    def __init__(self, order: Order) -> None:
        """Nothing is started yet."""
        self.order = order
        self.steps: dict[str, float] = {}
        self.step = ""
        self.crashed = asyncio.Event()
        self.strayed = False
        self._clock = SystemClock()
        self._console: list[str] = []
        self._console_bytes = 0

    @contextlib.asynccontextmanager
    async def timed(self, name: str) -> AsyncIterator[None]:
        """`async with step("login"):` names and times a part of the journey."""
        self.step, started = name, self._clock.monotonic()
        yield
        self.steps[name] = self._clock.monotonic() - started
        self.step = ""

    @property
    def left_s(self) -> float:
        """Seconds until the journey must end, the start of the browser counted in."""
        return max(0.0, self.order.ends_boot_s - self._clock.monotonic())

    def log(self, line: str) -> None:
        """Keep a console line, up to 255 KiB in all."""
        self._console_bytes += len(line) + 1
        if self._console_bytes <= _LOG_CAP:
            self._console.append(line)

    def answered(self, response: Response) -> None:
        """Notice a page that is not the target's but the guard's refusal."""
        if REFUSED in response.headers and response.request.is_navigation_request():
            self.strayed = True

    def crash(self, *_: object) -> None:
        """The page or the browser went away by itself."""
        self.crashed.set()

    async def keep_artifacts(self, page: Page) -> None:
        """Screenshot (inputs masked) and console, best effort within two seconds."""
        folder = Path(self.order.artifacts)
        _keep(folder / "console.log", "\n".join(self._console))
        try:
            async with asyncio.timeout(self.order.keep_s):
                mask = [page.locator("input, textarea")]
                await page.screenshot(path=folder / "screenshot.png", mask=mask)
        except (Error, TimeoutError) as exc:
            _keep(folder / "screenshot.missing", str(exc))

    def facts(self, refused: int) -> dict[str, Fact]:
        """What was measured so far."""
        facts: dict[str, Fact] = {
            "steps_done": len(self.steps),
            "steps": " ".join(f"{name}={spent:.3f}" for name, spent in self.steps.items()),
            "requests_refused": refused,
            "sandboxed": self.order.sandbox,
        }
        if self.step:
            facts["step_in_progress"] = self.step
        return facts


async def make(order: Order) -> Report:
    """The report of one journey; raises nothing that a journey or a browser can cause."""
    run, resolver = Run(order), Resolver()
    proxy = EgressProxy(Egress(order.allow), resolver, _written(order))
    try:
        async with async_playwright() as playwright:
            try:
                browser = await playwright.chromium.launch(
                    executable_path=order.executable,
                    chromium_sandbox=order.sandbox,
                    args=list(_ARGS),
                    proxy={"server": await proxy.start(), "bypass": "<-loopback>"},
                )
            except Error as exc:
                return Report("launch", _short(exc))
            report = await _browse(browser, run, proxy)
            await browser.close()
            return report
    finally:
        await proxy.close()
        await resolver.close()


async def _browse(browser: Browser, run: Run, proxy: EgressProxy) -> Report:
    browser.on("disconnected", run.crash)
    context = await browser.new_context(
        base_url=run.order.base_url or None,
        service_workers="block",
        accept_downloads=False,
        extra_http_headers={"traceparent": run.order.traceparent},
    )
    await context.add_init_script(_OBSERVE)
    page = await context.new_page()
    page.on("crash", run.crash)
    page.on("response", run.answered)
    page.on("console", lambda message: run.log(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: run.log(f"error: {error}"))
    page.set_default_timeout(max(1.0, run.left_s * 1000))
    happened, detail = await _travel(page, run)
    facts = run.facts(len(proxy.refused))
    if happened == "ok" and not run.strayed:
        return Report("ok", "", facts | await _vitals(page, run))
    await run.keep_artifacts(page)
    if run.crashed.is_set():
        happened = "browser_crash"
    elif run.strayed and not proxy.refused:
        happened, detail = "protocol", f"the target sent {REFUSED}, which is the guard's"
    elif proxy.refused:
        # What the guard kept back may be why the page is wrong: that is not the target's doing.
        happened, detail = proxy.refused[0].reason, proxy.refused[0].detail
    return Report(happened, detail, facts)


async def _travel(page: Page, run: Run) -> tuple[str, str]:
    try:
        journey = _load(Path(run.order.journey))
    except Exception as exc:  # noqa: BLE001  a journey is foreign code: what it raises is evidence
        return "harness", f"journey cannot be loaded: {_short(exc)}"
    # Playwright leaves some calls waiting for ever when their page is gone.
    crash = asyncio.ensure_future(run.crashed.wait())
    travel = asyncio.ensure_future(journey(page, run.timed))
    try:
        done, _ = await asyncio.wait(
            {travel, crash}, timeout=run.left_s, return_when=asyncio.FIRST_COMPLETED
        )
        if travel in done:
            return _outcome(travel.exception())
        if crash in done:
            return "browser_crash", "the page crashed"
        return "timeout", "the journey did not end in time"
    finally:
        for task in (travel, crash):
            task.cancel()
        await asyncio.wait({travel, crash}, timeout=run.order.keep_s)


def _outcome(raised: BaseException | None) -> tuple[str, str]:
    """How a journey ended, by what it raised."""
    if raised is None:
        return "ok", ""
    words = _short(raised)
    if isinstance(raised, AssertionError):
        return "assertion", words or "assertion"
    if isinstance(raised, PlaywrightTimeout):
        return "timeout", words
    if isinstance(raised, Error):
        if any(mark in words for mark in _GONE):
            return "browser_crash", words
        return ("navigation", words) if "net::ERR_" in words else ("driver", words)
    return "harness", f"journey raised {type(raised).__name__}: {words}"


async def _vitals(page: Page, run: Run) -> dict[str, Fact]:
    try:
        async with asyncio.timeout(run.order.keep_s):
            found = cast("dict[str, float]", await page.evaluate(_COLLECT))
    except (Error, TimeoutError):
        return {}
    units = {"cls": "vital_cls"}
    return {units.get(name, f"vital_{name}_seconds"): value for name, value in found.items()}


def _keep(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _written(order: Order) -> str:
    """The text in which an origin may stand as written."""
    return f"{Path(order.journey).read_text()}\n{order.base_url}/"


def _load(path: Path) -> Journey:
    spec = importlib.util.spec_from_file_location("coalmine_journey", path)
    if spec is None or spec.loader is None:
        raise ImportError(str(path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return cast("Journey", module.journey)


def _short(exc: BaseException) -> str:
    return str(exc)[:_DETAIL_CAP]


def _die_with_parent() -> None:
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Read the order, make the journey, write the report."""
    _die_with_parent()
    # A journey may print; the report has a descriptor of its own.
    answer = os.dup(1)
    os.dup2(2, 1)
    order = Order.from_json(sys.stdin.buffer.read())
    report = asyncio.run(make(order))
    os.write(answer, report.to_json())


if __name__ == "__main__":
    main()
