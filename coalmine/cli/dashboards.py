"""`coalmine dashboards build · check`: boards and alert rules as files."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from coalmine.cli import help_line
from coalmine.exits import Exit
from coalmine.output import print_json, print_note, print_result

if TYPE_CHECKING:
    from coalmine.cli import Commands


def add(commands: "Commands") -> None:
    """Add the command of this module."""
    parser = commands.add_parser("dashboards", help=help_line("dashboards"))
    what = parser.add_subparsers(metavar="WHAT", required=True)
    build = what.add_parser("build", help="write board, alert rules and provisioning")
    build.add_argument("--to", type=Path, default=None, metavar="FOLDER",
                       help="where to write (default: the package's own generated/)")  # fmt: skip
    build.set_defaults(run=build_files)
    check = what.add_parser("check", help="compare the files with what would be built")
    check.add_argument("--json", action="store_true", help="differing names on stdout")
    check.set_defaults(run=check_files)


def build_files(args: argparse.Namespace) -> int:
    """Write every file and print its name."""
    from dashboards import build

    folder = args.to or build.GENERATED
    for name in build.write(folder):
        print_result(str(folder / name))
    return Exit.OK


def check_files(args: argparse.Namespace) -> int:
    """0 when the committed files are current, 1 otherwise."""
    from dashboards import build

    names = build.differences()
    if args.json:
        print_json(names)
    for name in names:
        print_note(f"{name} differs: run `coalmine dashboards build` and commit the result")
    return Exit.FAIL if names else Exit.OK
