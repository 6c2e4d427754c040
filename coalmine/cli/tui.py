"""`coalmine tui`: the on-call terminal, local or against a remote instance."""

import argparse
import sys
from typing import TYPE_CHECKING

from coalmine.cli import add_reach_options, help_line
from coalmine.exits import Exit

if TYPE_CHECKING:
    from coalmine.cli import Commands


def add(commands: "Commands") -> None:
    """Add the command of this module."""
    parser = commands.add_parser("tui", help=help_line("tui"))
    add_reach_options(parser)
    parser.add_argument("--readonly", action="store_true", help="grey out ack and mute")
    parser.add_argument("--glyphs", choices=("auto", "unicode", "ascii"), default="auto",
                        help="marks to draw with (default: auto, by the locale)")  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show the terminal; without one, print the same as text."""
    from coalmine.cli import status
    from coalmine.reach import reach

    if not sys.stdout.isatty():
        args.json = False
        return status.status(args)
    from core.clock import SystemClock
    from tui.app import CoalmineApp

    model = reach(args.config, args.url, args.token_file)
    CoalmineApp(model, SystemClock(), readonly=args.readonly, glyphs=args.glyphs).run()
    return Exit.OK
