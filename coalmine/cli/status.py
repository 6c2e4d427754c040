"""`coalmine status`: what is so, as text; the terminal's counts without a terminal."""

import argparse
import json
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING

from coalmine.cli import add_reach_options, help_line
from coalmine.exits import Exit
from coalmine.output import print_json, print_note, print_result
from core.verdict import Verdict, worst
from scheduler.readmodel import Board, CheckRow, IncidentRow, RouteRow

if TYPE_CHECKING:
    from coalmine.cli import Commands


def add(commands: "Commands") -> None:
    """Add the command of this module."""
    parser = commands.add_parser("status", help=help_line("status"))
    add_reach_options(parser)
    parser.add_argument("--json", action="store_true", help="the whole board on stdout")
    parser.set_defaults(run=status)


def status(args: argparse.Namespace) -> int:
    """Print the board; `exit_of` says what follows from it."""
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
    return exit_of(board)


def exit_of(board: Board) -> Exit:
    """Known bad wins over unknown; while any trouble line stands, something is unknown."""
    verdicts = [row.verdict for row in board.checks] + [row.verdict for row in board.routes]
    overall = worst(verdicts)
    if overall is Verdict.FAIL:
        return Exit.FAIL
    return Exit.NOT_PROVEN if overall is Verdict.BLIND or board.troubles else Exit.OK


def lines(board: Board) -> list[str]:
    """The board as plain lines, worst first."""
    out = [f"coalmine {board.namespace} at {board.at:%Y-%m-%dT%H:%M:%SZ}"]
    out += trouble_lines(board)
    out += [
        f"{row.severity.upper()} {row.title}: {row.summary}{_who_has_it(row)}"
        for row in board.incidents
    ]
    out += [
        f"route {row.name}: {row.verdict.value} {row.detail} {row.finding}".rstrip()
        + f" · {_counted(row)}"
        for row in board.routes
    ]
    out += [f"source {row.name}: {row.verdict.value} {row.detail}" for row in board.sources]
    out += [
        f"check {row.name}: {row.verdict.value} {detail_of(row)}".rstrip()
        for row in board.checks
        if row.kind not in {"canary", "source", "self"}
    ]
    return out


def trouble_lines(board: Board) -> list[str]:
    """What stands in the way of knowing."""
    return [f"{line.word} {line.text}" for line in board.troubles]


def detail_of(row: CheckRow) -> str:
    """The detail; of a result that is history also what it was."""
    if row.was is None:
        return row.detail
    return f"was {row.was.value}: {row.detail}".removesuffix(": ")


def _counted(row: RouteRow) -> str:
    counts = [f"{name} {count}" for name, count in row.outcomes.items() if count]
    return ", ".join([f"sent {row.sent}", *counts])


def _who_has_it(row: IncidentRow) -> str:
    told = [f"acked by {told_until(row.acked_by, row.acked_until)}"] if row.acked_by else []
    told += [f"muted by {told_until(row.muted_by, row.muted_until)}"] if row.muted_by else []
    return f" ({', '.join(told)})" if told else ""


def told_until(who: str, until: datetime | None) -> str:
    """Who, and when it ends."""
    return who if until is None else f"{who} until {until:%Y-%m-%dT%H:%M:%SZ}"
