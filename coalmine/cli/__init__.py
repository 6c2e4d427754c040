"""The command line: one module per group of commands, imported only when its command is named.

A group module has `add(commands) -> None`, which adds its parsers and sets `run` on each, a
function `(args) -> int` that returns an exit code. Adding a command is one line in `COMMANDS`.
"""

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from coalmine.exits import Exit
from coalmine.output import print_note
from core.errors import CoalmineError, ConfigError

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction["Parser"]  # noqa: SLF001  argparse names it no other way

# Command -> its module and the line that `coalmine --help` shows.
COMMANDS: dict[str, tuple[str, str]] = {
    "check-config": ("coalmine.cli.config", "judge a config: every mistake at once"),
    "config": ("coalmine.cli.config", "the config's JSON Schema"),
    "run": ("coalmine.cli.run", "the service: probes, canaries, pages, API and metrics"),
    "verify": ("coalmine.cli.verify", "run once to judgement: for CI, before and after an upgrade"),
    "status": ("coalmine.cli.status", "what is so, as text or JSON"),
    "checks": ("coalmine.cli.lists", "every check with its verdict and the account of its runs"),
    "routes": ("coalmine.cli.lists", "every route: outcomes, delays, where a loss lies"),
    "incidents": ("coalmine.cli.lists", "what is open, since when, who has it"),
    "cost": ("coalmine.cli.lists", "what the telemetry costs: now, to date, next month"),
    "ack": ("coalmine.cli.actions", "a human is on it"),
    "mute": ("coalmine.cli.actions", "do not tell, until a stated end"),
    "tui": ("coalmine.cli.tui", "the on-call terminal"),
    "dashboards": ("coalmine.cli.generated", "Grafana board and alert rules as files"),
    "docs": ("coalmine.cli.generated", "reference pages made from the declarations"),
    "demo": ("coalmine.cli.demo", "an embedded stack, three faults, and what becomes of them"),
}


class Parser(argparse.ArgumentParser):
    """An argument parser whose usage errors exit with our own code."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong on stderr and exit with `Exit.USAGE`."""
        self.print_usage(sys.stderr)
        print_note(f"{self.prog}: {message}")
        raise SystemExit(int(Exit.USAGE))


def add_config_option(parser: argparse.ArgumentParser) -> None:
    """`-c/--config FILE`; without it $COALMINE_CONFIG, then ./coalmine.yaml."""
    parser.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        type=Path,
        default=default_config(),
        help="the config (default: $COALMINE_CONFIG, else ./coalmine.yaml)",
    )


def default_config() -> Path:
    """The config that is meant when none is named."""
    return Path(os.environ.get("COALMINE_CONFIG") or "coalmine.yaml")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. A crash of ours is `Exit.NOT_PROVEN`."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        args = _parser(arguments).parse_args(arguments)
        return int(args.run(args))
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else int(Exit.OK)
    except ConfigError as exc:
        for problem in exc.problems:
            print_note(str(problem))
        return Exit.USAGE
    except KeyboardInterrupt:
        return Exit.NOT_PROVEN
    except CoalmineError as exc:
        print_note(f"coalmine: {exc}")
        return Exit.NOT_PROVEN
    except Exception:  # noqa: BLE001  the last door: the code must say that nothing was proven
        traceback.print_exc()
        return Exit.NOT_PROVEN


def _parser(arguments: Sequence[str]) -> Parser:
    parser = Parser(prog="coalmine", description="Can I trust my telemetry right now?")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    named = next((word for word in arguments if word in COMMANDS), None)
    modules = dict.fromkeys(module for module, _ in COMMANDS.values())
    wanted = COMMANDS[named][0] if named else None
    for module in modules:
        if module == wanted:
            importlib.import_module(module).add(commands)
            continue
        for command, (home, line) in COMMANDS.items():
            if home == module:
                commands.add_parser(command, help=line)
    return parser


def help_line(command: str) -> str:
    """What `coalmine --help` says of `command`."""
    return COMMANDS[command][1]
