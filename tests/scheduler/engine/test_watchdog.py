"""The watchdog ends a process whose loop stands still, and no other."""

import subprocess
import sys

import pytest

from scheduler.engine.watchdog import Watchdog

PROGRAM = """
import asyncio, sys, threading
from core.clock import SystemClock
from scheduler.engine.lag import LagMeter
from scheduler.engine.watchdog import Watchdog

frozen = sys.argv[1]
clock = SystemClock()
hold = threading.Event()

async def beating(meter, block):
    for turn in range(12):
        if block and turn == 3:
            hold.wait(20)
        await clock.sleep(await meter.beat())

mine, other = LagMeter(clock), LagMeter(clock)
thread = threading.Thread(
    target=lambda: asyncio.run(beating(other, frozen == "other")), daemon=True)
thread.start()

async def main():
    dog = Watchdog((lambda: mine.beats, lambda: other.beats), limit_s=0.8)
    async def watch():
        while True:
            await clock.sleep(await dog.step())
    watching = asyncio.create_task(watch())
    if frozen == "other":
        await clock.sleep(15)
    await beating(mine, frozen == "mine")
    watching.cancel()
    dog.stop()
    print("orderly end")

asyncio.run(main())
"""


def _outcome(frozen):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, frozen],
        capture_output=True, text=True, timeout=25, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("frozen", ["mine", "other"])
def test_fault_007_a_frozen_loop_dumps_all_stacks_and_exits_non_zero(frozen):
    """Either loop: the watchdog is re-armed only while both beat."""
    done = _outcome(frozen)
    assert done.returncode == 1
    assert "Timeout" in done.stderr
    assert "in beating" in done.stderr
    assert "orderly end" not in done.stdout


def test_a_process_whose_loops_beat_ends_in_order():
    """Longer than the limit, and with the watchdog disarmed at the end."""
    done = _outcome("none")
    assert (done.returncode, done.stdout.strip()) == (0, "orderly end"), done.stderr


def test_a_watchdog_without_anything_to_watch_is_refused():
    """It would bark at once or never."""
    with pytest.raises(ValueError, match="something to watch"):
        Watchdog(())
