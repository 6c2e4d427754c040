"""`coalmine demo`: the story on a scripted stage, and the whole of it as a visitor runs it."""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections import deque

import pytest

from coalmine.demo.hold import LIMIT_S, Visitor
from coalmine.demo.story import Event, Fault, Story
from tests.support.clock import VirtualClock

EVENTS = ["fault_on", "found", "located", "paged", "cost", "fault_off", "recovered", "resolved"]


class ScriptedStage:
    """A board that does what a fault makes of it; `broken` leaves out one part of the answer."""

    def __init__(self, without: str = "", noise: bool = False) -> None:
        self.on, self.lost, self.without = False, 0, without
        self.arrived: deque[int] = deque()
        self.costs: list[dict[str, object]] = []
        self.muted_by = ""
        self.pages = deque([page("triggered", "metrics-direct")] if noise else [])

    def switch(self, on: bool) -> None:
        self.on = on
        if self.without != "pages":
            self.pages.append(page("triggered" if on else "resolved", "logs-gateway"))

    def board(self):
        if self.on and self.without != "losses":
            self.lost += 1
        named = "" if self.without == "hop" else "gateway: lost without a counter, 2 of 6"
        return {
            "routes": [
                {
                    "name": "logs-gateway",
                    "signal": "logs",
                    "verdict": "fail" if self.on else "ok",
                    "outcomes": {
                        "ok": self.arrived.popleft() if self.arrived else 5,
                        "lost": self.lost,
                    },
                    "finding": named if self.on else "",
                }
            ],
            "checks": [],
            "sources": [],
            "incidents": [{"subject": "logs-gateway", "members": (), "muted_by": self.muted_by}],
            "costs": self.costs,
        }

    def page(self):
        return self.pages.popleft() if self.pages else None


def page(kind: str, subject: str) -> dict[str, object]:
    data = {"subject": subject, "title": f"{subject}: bad", "summary": "2 of 6", "members": []}
    return {"type": f"incident.{kind}", "data": data}


async def play(stage: ScriptedStage, hold=None) -> tuple[bool, list[Event]]:
    clock, told = VirtualClock(), []
    fault = Fault("logs-dropped", "drops", "logs", "logs-gateway", "gateway", stage.switch)
    story = Story(stage, (fault,), clock, told.append, hold=hold)
    task = asyncio.create_task(story.play())
    while not task.done():
        await clock.advance(0.5)
    return await task, told


async def test_a_fault_that_is_found_located_paged_and_resolved_makes_a_good_story():
    """Every event, in order, once."""
    good, told = await play(ScriptedStage())
    assert good
    assert [event.event for event in told] == ["started", "ok", *EVENTS, "done"]
    located = next(event for event in told if event.event == "located")
    assert (located.route, located.hop, located.signal) == ("logs-gateway", "gateway", "logs")


@pytest.mark.parametrize("missing", ["losses", "hop", "pages"])
async def test_a_story_in_which_something_does_not_happen_fails(missing: str):
    """A loss that is not found, a hop that is not named, a page that does not come."""
    good, told = await play(ScriptedStage(without=missing))
    assert not good
    assert told[-1].event == "done"
    assert told[-1].detail.startswith("FAILED")


async def test_a_page_in_clean_time_fails_the_story():
    """False alarms are failures."""
    good, told = await play(ScriptedStage(noise=True))
    assert not good
    assert "clean time" in told[-1].detail


async def test_an_ok_is_told_only_once_a_canary_has_come_home():
    """A route that has judged nothing yet is not proven to work."""
    stage = ScriptedStage()
    stage.arrived = deque([0, 0, 3])
    _, told = await play(stage)
    assert [event.detail for event in told if event.event == "ok"] == ["3 canaries ok"]


def meter(name: str, note: str) -> dict[str, object]:
    figures = dict.fromkeys(("per_gb", "hour", "to_date", "likely"), "0.5")
    return {"meter": name, "book": "b", "signal": name, "currency": "USD", "note": note, **figures}


async def test_a_price_tells_what_it_stands_on_and_what_holds_for_all_once():
    """A modelled month must not pass for a measured one."""
    stage = ScriptedStage()
    stage.costs = [
        meter("logs", "list price; 490 h of this month were not measured: modelled"),
        meter("traces", "list price; measured at M3"),
        {**meter("profiles", "unpriced: no entry"), "likely": None},
    ]
    _, told = await play(stage)
    shared, logs, traces, _ = (e.detail for e in told if e.event == "cost" and not e.fault)
    assert shared == "all prices: list price"
    assert logs.endswith("USD; 490 h of this month were not measured: modelled")
    assert traces.endswith("USD; measured at M3")


async def test_a_held_fault_stays_on_until_the_hold_ends():
    """The visitor acks and mutes what is still broken."""
    stage, seen = ScriptedStage(), []

    async def hold() -> None:
        seen.append(stage.on)

    good, told = await play(stage, hold)
    assert good
    assert seen == [True]
    events = [event.event for event in told]
    assert events[events.index("waits") + 1] == "fault_off"
    assert "press n" in told[events.index("waits")].detail


async def test_a_fault_that_the_visitor_muted_needs_no_page_of_its_end():
    """A mute keeps the pager quiet, it does not fail the story."""
    stage = ScriptedStage()

    async def hold() -> None:
        stage.muted_by, stage.without = "ana", "pages"

    good, told = await play(stage, hold)
    assert good
    assert next(event.detail for event in told if event.event == "resolved").startswith("muted")


async def test_a_visitor_goes_on_by_key_and_else_after_a_minute():
    """A key that nothing waits for says so, and does not count for the next fault."""
    clock = VirtualClock()
    visitor = Visitor(clock)
    assert not visitor.next()
    held = asyncio.create_task(visitor.hold())
    await clock.advance(1.0)
    assert visitor.next()
    await clock.advance(1.0)
    assert held.done()
    held = asyncio.create_task(visitor.hold())
    await clock.advance(LIMIT_S - 1.0)
    assert not held.done()
    await clock.advance(2.0)
    assert held.done()
    assert not visitor.next()


def run_demo(*args: str) -> tuple[int, list[dict[str, str]]]:
    done = subprocess.run(
        [sys.executable, "-m", "coalmine", "demo", "--headless", "--json", *args],
        capture_output=True, text=True, timeout=180, check=False, stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_the_demo_finds_locates_pages_and_resolves_every_fault():
    """The README's first command, headless: exit code 0, and each fault's events in order."""
    code, events = run_demo()
    assert code == 0, events[-1]
    for name in ("logs-dropped", "traces-stalled", "shop-silent"):
        assert [event["event"] for event in events if event["fault"] == name] == EVENTS
    hops = {event["fault"]: event["hop"] for event in events if event["event"] == "located"}
    assert hops == {
        "logs-dropped": "gateway", "traces-stalled": "gateway", "shop-silent": "source:shop",
    }  # fmt: skip
    assert set(events[0]) == {"at", "event", "signal", "route", "fault", "hop", "detail"}


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_the_demo_fails_when_the_pager_refuses():
    """A story without a page is no success."""
    code, events = run_demo("--receiver-refuses")
    assert code == 1
    assert "no trigger page" in events[-1]["detail"]


@pytest.mark.slow
def test_a_killed_demo_leaves_no_part_behind(tmp_path):
    """Its parts end with it, however it ends: seen by the end of their output."""
    code = (
        "import sys, pathlib\nfrom coalmine.demo.processes import Process\n"
        "from core.clock import SystemClock\n"
        "part = Process('selfcheck.embedded', [], pathlib.Path(sys.argv[1]), SystemClock())\n"
        "print(part.ready()['store'], flush=True)\nsys.stdin.read()"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env,
    ) as demo:  # fmt: skip
        port = int(demo.stdout.readline().strip().rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as held:
            demo.kill()
            held.settimeout(20)
            # A connection that the part had not accepted yet is reset by its end.
            with contextlib.suppress(ConnectionResetError):
                assert held.recv(1) == b"", "the part has closed its connections"
