"""`coalmine demo`: see it happen, on this machine, with nothing installed beside Coalmine."""

import argparse
import asyncio
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from coalmine.cli import help_line
from coalmine.exits import Exit
from coalmine.output import print_note, print_result
from core.clock import SystemClock

if TYPE_CHECKING:
    from coalmine.cli import Commands
    from coalmine.demo.stage import DemoStage
    from coalmine.demo.story import Event


def add(commands: "Commands") -> None:
    """Add the command of this module."""
    parser = commands.add_parser("demo", help=help_line("demo"))
    parser.add_argument("--headless", action="store_true",
                        help="no terminal screen: tell the story as lines (the default when stdout"
                             " is no terminal)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="one JSON object per event; headless")
    parser.add_argument("--receiver-refuses", action="store_true",
                        help="the pager refuses every page: the story must then fail")  # fmt: skip
    parser.set_defaults(run=demo)


def demo(args: argparse.Namespace) -> int:
    """0 when every fault was found, located, paged and resolved, and clean time raised nothing."""
    from coalmine.demo.config import JUDGING
    from coalmine.demo.stage import DemoStage
    from probes.browser.options import find_chromium

    chromium = find_chromium(None, os.environ)
    if chromium is None:
        print_note("no Chromium found: the demo runs without its browser check")
    print_note("times used, as they would stand in a config:\n")
    for line in JUDGING.splitlines():
        print_note(line)
    headless = args.headless or args.json or not sys.stdout.isatty()
    clock = SystemClock()
    for number in (signal.SIGHUP, signal.SIGTERM):
        # A closed terminal must end the demo's parts, not leave them behind.
        signal.signal(number, _leave)
    with DemoStage(clock, refuses=args.receiver_refuses, browser=chromium is not None) as stage:
        if headless:
            return _play(stage, as_json=args.json)
        return _show(stage)


def _leave(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def _play(stage: "DemoStage", *, as_json: bool) -> int:
    from coalmine.demo.story import Story

    def tell(event: "Event") -> None:
        print_result(event.line() if as_json else text(event))
        sys.stdout.flush()

    story = Story(stage, stage.faults(), SystemClock(), tell)
    return Exit.OK if asyncio.run(story.play()) else Exit.FAIL


def _show(stage: "DemoStage") -> int:
    """The story plays in a thread while the terminal shows what an on-call engineer would see."""
    from coalmine.demo.hold import Visitor
    from coalmine.demo.story import Story
    from core.secrets import Secret
    from tui.app import CoalmineApp
    from tui.client import ApiReadModel

    visitor = Visitor(SystemClock())
    model = ApiReadModel(stage.url, Secret.inline(stage.token))
    app = CoalmineApp(model, SystemClock(), next_step=visitor.next)
    told: list[str] = []
    verdict: list[bool] = []

    def tell(event: "Event") -> None:
        told.append(text(event))
        # The bar is one line: no room for columns.
        app.tell(" ".join(text(event).split()))

    def play() -> None:
        story = Story(stage, stage.faults(), SystemClock(), tell, hold=visitor.hold)
        verdict.append(asyncio.run(story.play()))

    thread = threading.Thread(target=play, name="demo-story", daemon=True)
    thread.start()
    app.run()
    for line in told:
        print_result(line)
    if not verdict:
        print_note("left before the story ended")
        return Exit.NOT_PROVEN
    return Exit.OK if verdict[0] else Exit.FAIL


def text(event: "Event") -> str:
    """An event as one line for people."""
    where = " ".join(filter(None, (event.fault, event.route or event.signal, event.hop)))
    return f"{event.at[11:19]}Z {event.event:<9} {where:<44} {event.detail}".rstrip()
