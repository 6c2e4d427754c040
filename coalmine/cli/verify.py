"""`coalmine verify`: run once to judgement, for CI and before and after an upgrade."""

import argparse
import asyncio
import contextlib
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from coalmine.cli import add_config_option, help_line
from coalmine.exits import Exit
from coalmine.output import print_json, print_note, print_result
from core.options import parse_duration

if TYPE_CHECKING:
    from coalmine.cli import Commands
    from coalmine.config.parsed import Config
    from coalmine.wiring.verified import Verified
    from coalmine.wiring.verify import Limits

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def add(commands: "Commands") -> None:
    """Add the command of this module."""
    parser = commands.add_parser("verify", help=help_line("verify"))
    parser.add_argument("names", nargs="*", metavar="NAME",
                        help="checks, routes, joins and source:NAME (default: all)")  # fmt: skip
    add_config_option(parser)
    parser.add_argument("--cycles", type=_cycles, default=3, metavar="N",
                        help="canaries per route (default: 3)")  # fmt: skip
    parser.add_argument("--timeout", type=_duration, default=300.0, metavar="DURATION",
                        help="how long all of it may take (default: 5m)")  # fmt: skip
    parser.add_argument("--strict", action="store_true", help="a warning is a failure")
    parser.add_argument("--json", action="store_true", help="the report as JSON on stdout")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="also write a JUnit report")
    parser.set_defaults(run=verify)


def _cycles(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 1 <= number <= 1000:
        raise argparse.ArgumentTypeError("expected a number from 1 to 1000")
    return number


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def verify(args: argparse.Namespace) -> int:
    """0 all ok, 1 something failed or was lost, 2 something is not proven, 3 config or usage."""
    from coalmine.cli.report import as_data, as_junit, as_lines, exit_of
    from coalmine.config.load import load_config
    from coalmine.wiring.verify import Limits, select

    config = load_config(args.config)
    for warning in config.warnings:
        print_note(f"warning: {warning}")
    try:
        chosen = select(config, args.names)
    except KeyError as exc:
        print_note(f"coalmine verify: no check, route, join or source is named {exc.args[0]}")
        return Exit.USAGE
    found = asyncio.run(_run(chosen, Limits(args.cycles, args.timeout)))
    code = exit_of(found, strict=args.strict)
    if args.junit is not None:
        try:
            args.junit.write_text(as_junit(found, strict=args.strict), encoding="utf-8")
        except OSError as exc:
            print_note(f"coalmine verify: {args.junit} cannot be written: {exc.strerror}")
            code = max(code, Exit.NOT_PROVEN) if code is not Exit.FAIL else code
    if args.json:
        print_json(as_data(found, code))
    else:
        for line in as_lines(found, code):
            print_result(line)
    return code


async def _run(config: "Config", limits: "Limits") -> "Verified":
    from coalmine.wiring.verify import verify as run
    from core.clock import SystemClock

    stop = asyncio.Event()
    with _stopped_by_signals(stop):
        return await run(config, SystemClock(), random.Random(), limits, stop, print_note)


@contextlib.contextmanager
def _stopped_by_signals(stop: asyncio.Event) -> Iterator[None]:
    """A signal ends the run early, so that what is known by then is still told."""
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
