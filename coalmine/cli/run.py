"""`coalmine run`: the service, until SIGTERM."""

import argparse
import asyncio
import gc
import json
import logging
import os
import random
import sys
from typing import TYPE_CHECKING

from coalmine.cli import add_config_option, help_line
from coalmine.output import print_note

if TYPE_CHECKING:
    from coalmine.cli import Commands
    from coalmine.config.parsed import Config

# These log URLs and payloads at DEBUG.
_QUIET = ("httpx", "httpcore", "opentelemetry", "apscheduler", "asyncio", "uvicorn", "alembic")

# A scrape is pure computing in a thread of its own. At Python's 5 ms a turn, every probe that
# comes back from a system call meanwhile would wait that long for the interpreter.
_SWITCH_S = 0.0005
# Python's own 700 is for programs that hold little; a route's rows and envelopes come and go.
_GC = (10_000, 10, 10)


def add(commands: "Commands") -> None:
    """Add the command of this module."""
    parser = commands.add_parser("run", help=help_line("run"))
    add_config_option(parser)
    parser.add_argument("--verbose", action="store_true", help="log at INFO, not only trouble")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0 after SIGTERM or SIGINT; 2 when something of ours is broken for good; 3 for a bad config.

    Prints one JSON line with the API's address once everything runs.
    """
    # httpx brings its own command line along, and with that rich and pygments: 4 MiB for nothing.
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # the way to bar a module
    from coalmine.config.load import load_config

    _set_up_logging(verbose=args.verbose)
    sys.setswitchinterval(_SWITCH_S)
    config = load_config(args.config)
    for warning in config.warnings:
        print_note(f"warning: {warning}")
    return asyncio.run(_serve(config))


async def _serve(config: "Config") -> int:
    from coalmine.wiring.service import Service
    from core.clock import SystemClock

    service = Service(config, SystemClock(), random.Random())
    service.listen()
    url = await service.start()
    # What was built to stay need not be looked through for garbage again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC)
    sys.stdout.write(json.dumps({"ready": True, "api": url, "pid": os.getpid()}) + "\n")
    sys.stdout.flush()
    try:
        return await service.run()
    finally:
        await service.stop()


def _set_up_logging(*, verbose: bool) -> None:
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        stream=sys.stderr,
    )
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
