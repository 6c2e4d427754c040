"""`coalmine ack` and `coalmine mute`: what the terminal's keys do, for scripts."""

import argparse
import getpass
import uuid
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

from coalmine.cli import add_reach_options, help_line
from coalmine.config.located import nearest
from coalmine.exits import Exit
from coalmine.output import print_note, print_result
from core.clock import SystemClock
from core.options import parse_duration
from scheduler.readmodel import ActionRequest, Board, ReadModel

if TYPE_CHECKING:
    from coalmine.cli import Commands

_ACK_S = 4 * 3600.0
_MUTE_MAX_S = 30 * 86400.0


def add(commands: "Commands") -> None:
    """Add the commands of this module."""
    for name in ("ack", "mute"):
        parser = commands.add_parser(name, help=help_line(name))
        add_reach_options(parser)
        parser.add_argument(
            "subject",
            metavar="NAME",
            help="a check, route or source with an open incident, or its key",
        )
        muting = name == "mute"
        parser.add_argument("--for", dest="duration", type=_duration, required=muting,
                            default=_ACK_S, metavar="DURATION",
                            help="how long, such as 30m or 4h, at most 30d"
                                 f" ({'required' if muting else 'default: 4h'})")  # fmt: skip
        parser.add_argument("--reason", required=muting, default="", metavar="TEXT",
                            help=f"why{' (required)' if muting else ''}")  # fmt: skip
        parser.set_defaults(run=act, action=name)


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def act(args: argparse.Namespace) -> int:
    """Append the action to the open incident of `subject`; 2 when there is none, 3 unknown."""
    from coalmine.reach import reach

    if args.action == "mute" and not args.reason.strip():
        print_note("coalmine mute: --reason: every mute has a why")
        return Exit.USAGE
    if args.duration > _MUTE_MAX_S:
        print_note("coalmine: at most 30d")
        return Exit.USAGE
    with closing(reach(args.config, args.url, args.token_file)) as model:
        return _append(args, model)


def _append(args: argparse.Namespace, model: ReadModel) -> int:
    board = model.board()
    keys = [row.key for row in board.incidents if args.subject in {row.key, row.subject}]
    if not keys:
        return _nothing_open(args.action, args.subject, board)
    until = SystemClock().utc() + timedelta(seconds=args.duration)
    for key in keys:
        request = ActionRequest(
            str(uuid.uuid4()), args.action, key, getpass.getuser(), args.reason, until
        )
        model.act(request)
        print_result(f"{args.action} {key} until {until:%Y-%m-%dT%H:%M:%SZ}")
    if board.source == "files":
        print_note("kept, but no service is running: it takes effect when one does")
    return Exit.OK


def _nothing_open(action: str, name: str, board: Board) -> Exit:
    known = {row.name for row in board.checks} | {row.name for row in board.routes}
    if name not in known:
        remedy = nearest(name, known | {row.subject for row in board.incidents})
        print_note(f"coalmine {action}: nothing is named {name}"
                   f"; {remedy or 'coalmine checks lists every name'}")  # fmt: skip
        return Exit.USAGE
    print_note(f"coalmine {action}: {name} has no open incident; nothing can be told ahead of one")
    subjects = sorted({row.subject for row in board.incidents})
    if subjects:
        print_note(f"open: {', '.join(subjects)}")
    else:
        print_note("no incident is open; to keep quiet what is known, change pages: in the config")
    return Exit.NOT_PROVEN
