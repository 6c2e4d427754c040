"""`coalmine status`: what is so, as text; the terminal's counts without a terminal."""

import argparse
import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from coalmine.cli import add_config_option, help_line
from coalmine.exits import Exit
from coalmine.output import print_json, print_note, print_result
from core.verdict import Verdict, worst
from scheduler.readmodel import Board

if TYPE_CHECKING:
    from coalmine.cli import Commands


def add(commands: "Commands") -> None:
    """Add the command of this module."""
    parser = commands.add_parser("status", help=help_line("status"))
    add_config_option(parser)
    parser.add_argument("--url", default="", help="ask this instance instead of the config's own")
    parser.add_argument("--token-file", type=Path, default=None, metavar="FILE")
    parser.add_argument("--json", action="store_true", help="the whole board on stdout")
    parser.set_defaults(run=status)


def status(args: argparse.Namespace) -> int:
    """0 when all is ok, 1 when something fails, 2 when something cannot be told."""
    from coalmine.reach import reach
    from scheduler.api.app import board_json

    with closing(reach(args.config, args.url, args.token_file)) as model:
        board = model.board()
    if args.json:
        print_json(json.loads(board_json(board)))
    else:
        for line in lines(board):
            print_result(line)
        print_note(f"read from: {board.source}")
    verdicts = [row.verdict for row in board.checks] + [row.verdict for row in board.routes]
    overall = worst(verdicts)
    return {Verdict.OK: Exit.OK, Verdict.DEGRADED: Exit.OK, Verdict.FAIL: Exit.FAIL}.get(
        overall, Exit.NOT_PROVEN
    )


def lines(board: Board) -> list[str]:
    """The board as plain lines, worst first."""
    out = [f"coalmine {board.namespace} at {board.at:%Y-%m-%dT%H:%M:%SZ}"]
    out += [f"{line.word} {line.text}" for line in board.troubles]
    out += [f"{row.severity.upper()} {row.title}: {row.summary}" for row in board.incidents]
    out += [
        f"route {row.name}: {row.verdict.value} {row.detail} {row.finding}".rstrip()
        + f" · sent {row.sent}, "
        + ", ".join(f"{name} {count}" for name, count in row.outcomes.items() if count)
        for row in board.routes
    ]
    out += [f"source {row.name}: {row.verdict.value} {row.detail}" for row in board.sources]
    out += [
        f"check {row.name}: {row.verdict.value} {row.detail}".rstrip()
        for row in board.checks
        if row.kind not in {"canary", "source", "self"}
    ]
    return out
