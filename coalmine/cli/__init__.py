"""The command line: one module per group of commands, imported only when its command is named.

A group module has `add(commands) -> None`, which adds its parsers and sets `run` on each, a
function `(args) -> int` that returns an exit code. Adding a command is one line in `COMMANDS`.
"""

import argparse
import importlib
import os
import sys
import tomllib
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from coalmine.exits import Exit
from coalmine.output import print_note, print_result
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
    "canary": ("coalmine.cli.canary", "the life of one canary: every read and its answer"),
    "ack": ("coalmine.cli.actions", "a human is on it"),
    "mute": ("coalmine.cli.actions", "do not tell, until a stated end"),
    "tui": ("coalmine.cli.tui", "the on-call terminal"),
    "dashboards": ("coalmine.cli.generated", "Grafana board and alert rules as files"),
    "docs": ("coalmine.cli.generated", "reference pages made from the declarations"),
    "demo": ("coalmine.cli.demo", "an embedded stack, three faults, and what becomes of them"),
}


_SHOWN = "0 shown; 2 nothing or not all of it could be told; 3 config or usage"
_MADE = "0 done, or all current; 1 a file differs (check); 2 could not be written; 3 usage"

# Command -> what its exit codes mean; stands below its help.
EXITS: dict[str, str] = {
    "check-config": "0 usable; 3 not usable (with --strict also when warned of), or usage",
    "config": "0 printed; 3 usage",
    "run": "0 ended by a signal; 2 something of ours is broken for good; 3 config or usage",
    "verify": "0 all ok, with warnings unless --strict; 1 something failed or was lost;"
    " 2 something is not proven; 3 config or usage",
    "status": "0 all ok or degraded; 1 something fails; 2 something cannot be told, or any"
    " trouble line stands; 3 config or usage",
    "checks": _SHOWN,
    "routes": _SHOWN,
    "incidents": _SHOWN,
    "cost": _SHOWN,
    "canary": "0 shown; 2 no such canary, or it could not be told; 3 no id, config or usage",
    "ack": "0 kept; 2 no open incident, or not kept; 3 unknown name, config or usage",
    "mute": "0 kept; 2 no open incident, or not kept; 3 unknown name, config or usage",
    "tui": "0 left by its user; 2 cannot be shown; 3 config or usage; without a terminal those"
    " of status",
    "dashboards": _MADE,
    "docs": _MADE,
    "demo": "0 every fault found, paged and resolved; 1 not so; 2 left early; 3 usage",
}


class Parser(argparse.ArgumentParser):
    """An argument parser whose usage errors exit with our own code."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong on stderr and exit with `Exit.USAGE`."""
        self.print_usage(sys.stderr)
        print_note(f"{self.prog}: {message}")
        raise SystemExit(int(Exit.USAGE))


class _Version(argparse.Action):
    """Prints the version that is installed."""

    def __init__(self, option_strings: Sequence[str], dest: str, **named: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **named)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print_result(f"coalmine {_version()}")
        parser.exit()


def _version() -> str:
    """Of the installed package; of a plain checkout what its pyproject.toml says."""
    # Slow to import, and needed by nobody else.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("coalmine")
    except PackageNotFoundError:
        project = Path(__file__).parents[2] / "pyproject.toml"
        return str(tomllib.loads(project.read_text())["project"]["version"])


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


def add_reach_options(parser: argparse.ArgumentParser) -> None:
    """Which instance is asked: the config's own, or the one at `--url`."""
    add_config_option(parser)
    parser.add_argument("--url", default="", metavar="URL",
                        help="ask this instance's API instead of the config's own")  # fmt: skip
    parser.add_argument("--token-file", type=Path, default=None, metavar="FILE",
                        help="file with the API's token (default: the config's)")  # fmt: skip


def default_config() -> Path:
    """The config that is meant when none is named."""
    return Path(os.environ.get("COALMINE_CONFIG") or "coalmine.yaml")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. A crash of ours is `Exit.NOT_PROVEN`."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        args = build_parser(arguments).parse_args(arguments)
        code = int(args.run(args))
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_stdout()
        return Exit.PIPE
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
    return code


def _forget_stdout() -> None:
    """Nobody reads it any more: what is still buffered must not fail once again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def build_parser(arguments: Sequence[str]) -> Parser:
    """The parser, complete for the command that `arguments` name and a line for each other."""
    parser = Parser(prog="coalmine", description="Can I trust my telemetry right now?",
                    epilog="exit codes: see coalmine COMMAND --help")  # fmt: skip
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser,
                                     help="what to do")  # fmt: skip
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
    for command, one in commands.choices.items():
        _describe(one, COMMANDS[command][1], f"exit codes: {EXITS[command]}")
    return parser


def _describe(parser: argparse.ArgumentParser, line: str, exits: str) -> None:
    """Say what the command and each command below it is for, and its exit codes."""
    parser.description, parser.epilog = parser.description or line, exits
    for group in parser._actions:  # noqa: SLF001  argparse offers no list of them
        if isinstance(group, argparse._SubParsersAction):  # noqa: SLF001  named no other way
            lines = {one.dest: one.help or "" for one in group._choices_actions}  # noqa: SLF001
            for name, one in group.choices.items():
                _describe(one, lines[name], exits)


def help_line(command: str) -> str:
    """What `coalmine --help` says of `command`."""
    return COMMANDS[command][1]
