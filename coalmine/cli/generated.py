"""`coalmine dashboards` and `coalmine docs`, `build · check`: files made from declarations."""

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from coalmine.cli import help_line
from coalmine.exits import Exit
from coalmine.output import print_json, print_note, print_result
from core.generated import Generated

if TYPE_CHECKING:
    from coalmine.cli import Commands


def add(commands: "Commands") -> None:
    """Add the commands of this module."""
    for name in ("dashboards", "docs"):
        parser = commands.add_parser(name, help=help_line(name))
        what = parser.add_subparsers(metavar="WHAT", required=True, help="what to do")
        build = what.add_parser("build", help="write every file")
        build.add_argument("--to", type=Path, default=None, metavar="FOLDER",
                           help="where to write (default: where they are committed)")  # fmt: skip
        build.set_defaults(run=partial(build_files, name))
        check = what.add_parser("check", help="compare the files with what would be built")
        check.add_argument("--json", action="store_true", help="differing names on stdout")
        check.set_defaults(run=partial(check_files, name))


def build_files(command: str, args: argparse.Namespace) -> int:
    """Write every file and print its name; 2 when they cannot be written."""
    generated = _files_of(command)
    folder = args.to or generated.folder
    try:
        names = generated.write(args.to)
    except OSError as exc:
        print_note(f"coalmine {command}: {folder} cannot be written: {exc.strerror}")
        return Exit.NOT_PROVEN
    for name in names:
        print_result(str(folder / name))
    return Exit.OK


def check_files(command: str, args: argparse.Namespace) -> int:
    """0 when the committed files are current, 1 otherwise."""
    names = _files_of(command).differences()
    if args.json:
        print_json(names)
    for name in names:
        print_note(f"{name} differs: run `coalmine {command} build` and commit the result")
    return Exit.FAIL if names else Exit.OK


def _files_of(command: str) -> Generated:
    if command == "docs":
        from coalmine import docs

        return docs.GENERATED
    from dashboards import build

    return build.GENERATED
