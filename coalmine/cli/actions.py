"""`coalmine ack` and `coalmine mute`: what the terminal's keys do, for scripts."""

import argparse
import getpass
import uuid
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from coalmine.cli import add_config_option, help_line
from coalmine.exits import Exit
from coalmine.output import print_note, print_result
from core.clock import SystemClock
from core.options import parse_duration
from scheduler.readmodel import ActionRequest, ReadModel

if TYPE_CHECKING:
    from coalmine.cli import Commands

_ACK_S = 4 * 3600.0
_MUTE_MAX_S = 30 * 86400.0


def add(commands: "Commands") -> None:
    """Add the commands of this module."""
    for name in ("ack", "mute"):
        parser = commands.add_parser(name, help=help_line(name))
        add_config_option(parser)
        parser.add_argument("subject", help="name of a check or route, or an incident's key")
        parser.add_argument("--for", dest="duration", type=_duration, default=None,
                            metavar="DURATION", help="how long, such as 30m or 4h")  # fmt: skip
        parser.add_argument("--reason", default="", help="why")
        parser.add_argument("--url", default="", help="a remote instance's API")
        parser.add_argument("--token-file", type=Path, default=None, metavar="FILE")
        parser.set_defaults(run=act, action=name)


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def act(args: argparse.Namespace) -> int:
    """Append the action to the open incident of `subject`; 2 when there is none."""
    from coalmine.reach import reach

    if args.action == "mute" and (args.duration is None or not args.reason.strip()):
        print_note("coalmine mute: needs --for and --reason: every mute has an end and a why")
        return Exit.USAGE
    if args.duration is not None and args.duration > _MUTE_MAX_S:
        print_note("coalmine: at most 30d")
        return Exit.USAGE
    with closing(reach(args.config, args.url, args.token_file)) as model:
        return _append(args, model)


def _append(args: argparse.Namespace, model: ReadModel) -> int:
    board = model.board()
    keys = [row.key for row in board.incidents if args.subject in {row.key, row.subject}]
    if not keys:
        print_note(f"no open incident of {args.subject}")
        return Exit.NOT_PROVEN
    until = SystemClock().utc() + timedelta(seconds=args.duration or _ACK_S)
    for key in keys:
        request = ActionRequest(
            str(uuid.uuid4()), args.action, key, getpass.getuser(), args.reason, until
        )
        model.act(request)
        print_result(f"{args.action} {key} until {until:%Y-%m-%dT%H:%M:%SZ}")
    if board.source == "files":
        print_note("kept, but no service is running: it takes effect when one does")
    return Exit.OK
