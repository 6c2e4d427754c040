"""Runs one journey in a child process and writes its verdict, whatever becomes of the child."""

import asyncio
import contextlib
import os
import secrets
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from core.reason import Reason
from core.result import Result
from core.text import safe_text
from probes.browser.report import Order, Report

# Child limit < supervisor limit < deadline: there is always time left to write a result.
CHILD_SHARE: Final = 0.7
KEEP_SHARE: Final = 0.1
SUPERVISOR_SHARE: Final = 0.95
_MARK: Final = "COALMINE_BROWSER_RUN"
_REPORT_CAP: Final = 1 << 20
# How often what a run left is looked for, and how long the end of what was killed is waited for.
_LOOKS: Final = 5
_END_S: Final = 1.0
_TARGETS_DOING: Final = frozenset(
    {Reason.NAVIGATION, Reason.ASSERTION, Reason.TIMEOUT, Reason.PROTOCOL}
)
_ROOT: Final = Path(__file__).resolve().parents[2]


async def supervise(order: Order, deadline_s: float) -> Result:
    """The verdict on one journey; no process of it is left when this returns."""
    token = secrets.token_hex(8)
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "probes.browser.child",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=_ROOT,
        env={**os.environ, _MARK: token},
        start_new_session=True,
        limit=_REPORT_CAP,
    )
    try:
        async with asyncio.timeout(deadline_s * SUPERVISOR_SHARE):
            out, err = await child.communicate(order.to_json())
    except TimeoutError:
        # The child has a limit of its own: that it did not keep it is no doing of the target.
        return Result.blind(Reason.HARNESS, "the browser's driver hangs: killed")
    finally:
        await _kill_all(child.pid, token)
        await _closed(child)
    return verdict_of(out, err, child.returncode)


def verdict_of(out: bytes, err: bytes, returncode: int | None) -> Result:
    """What a child's report means; without one it is `blind`."""
    try:
        report = Report.from_json(out)
        if report.happened == "ok":
            return Result.ok(report.facts)
        reason = Reason(report.happened)
    except (ValueError, TypeError, KeyError):
        words = safe_text(err.decode(errors="replace").strip().rpartition("\n")[2], 200)
        if returncode == -signal.SIGKILL:
            return Result.blind(Reason.BROWSER_CRASH, "killed from outside: out of memory?")
        return Result.blind(Reason.DRIVER, f"no report, exit code {returncode}: {words}")
    make = Result.fail if reason in _TARGETS_DOING else Result.blind
    return make(reason, safe_text(report.detail, 300), report.facts)


async def _kill_all(group: int, token: str) -> None:
    """Kill the child's group, then what left it: the driver starts Chromium in a session apart.

    A process that was being started while the others were listed shows at the next look, so looks
    go on until one finds nothing.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    for _ in range(_LOOKS):
        left = survivors(token)
        if not left:
            return
        await _kill_and_wait(left)


async def _closed(child: asyncio.subprocess.Process) -> None:
    """Wait for the child's end and for its pipes: one left unread stays open with its transport."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_END_S):
            # What the kernel does not let go of may hold a pipe's other end for ever.
            await child.communicate()
    await child.wait()


async def _kill_and_wait(pids: Iterable[int]) -> None:
    """Kill these and wait for their ends; one that the kernel holds is not waited for longer."""
    loop = asyncio.get_running_loop()
    ends = []
    with contextlib.ExitStack() as opened:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                handle, ended = os.pidfd_open(pid), asyncio.Event()
                opened.callback(os.close, handle)
                loop.add_reader(handle, ended.set)
                opened.callback(loop.remove_reader, handle)
                ends.append(ended.wait())
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                await asyncio.gather(*ends)


def survivors(token: str) -> list[int]:
    """Processes of a run, known by the mark they inherit in their environment."""
    wanted = f"{_MARK}={token}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found
