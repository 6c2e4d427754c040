"""`check-config` and `config schema`: a config judged, and its schema for editors."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from coalmine.cli import default_config, help_line
from coalmine.exits import Exit
from coalmine.output import print_json, print_note, print_result
from core.errors import ConfigError, Problem

if TYPE_CHECKING:
    from coalmine.cli import Commands


def add(commands: "Commands") -> None:
    """Add the commands of this module."""
    check = commands.add_parser("check-config", help=help_line("check-config"))
    check.add_argument(
        "file",
        nargs="?",
        type=Path,
        default=None,
        metavar="FILE",
        help="the config (default: $COALMINE_CONFIG, else ./coalmine.yaml)",
    )
    check.add_argument("-c", "--config", type=Path, default=None, metavar="FILE",
                       help="the same, as other commands take it")  # fmt: skip
    check.add_argument("--json", action="store_true", help="a list of problems on stdout")
    check.add_argument("--strict", action="store_true", help="a warning refuses the file too")
    check.set_defaults(run=check_config)
    config = commands.add_parser("config", help=help_line("config"))
    schema = config.add_subparsers(metavar="WHAT", required=True, help="what to print").add_parser(
        "schema", help="print the JSON Schema of the config"
    )
    schema.set_defaults(run=print_schema)


def check_config(args: argparse.Namespace) -> int:
    """0 when the file can be used, 3 otherwise; every problem is one line on stderr."""
    from coalmine.config.load import load_config

    path = args.file or args.config or default_config()
    errors: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    try:
        warnings = load_config(path).warnings
    except ConfigError as exc:
        errors = exc.problems
    if args.strict:
        errors, warnings = (*errors, *warnings), ()
    _tell(errors, warnings, as_json=args.json)
    if errors:
        return Exit.USAGE
    if not args.json:
        print_result(f"{path}: ok")
    return Exit.OK


def _tell(errors: tuple[Problem, ...], warnings: tuple[Problem, ...], *, as_json: bool) -> None:
    if as_json:
        print_json(
            [{"level": "error", **asdict(each)} for each in errors]
            + [{"level": "warning", **asdict(each)} for each in warnings]
        )
        return
    for error in errors:
        print_note(str(error))
    for warning in warnings:
        print_note(f"warning: {warning}")


def print_schema(_args: argparse.Namespace) -> int:
    """Print the schema; it holds every kind that this installation knows."""
    from coalmine.config.schema import config_schema

    print_json(config_schema())
    return Exit.OK
