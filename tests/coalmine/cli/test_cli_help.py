"""Help of every command: nothing without a word, and every exit code stated."""

import argparse
import os
import subprocess
import sys

import pytest

from coalmine.cli import COMMANDS, build_parser, main
from coalmine.exits import Exit


def below(parser):
    """The parser and all below it."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                yield from below(one)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_argument_is_explained_and_every_command_states_its_exit_codes(command):
    for parser in below(build_parser([command])):
        assert parser.description, parser.prog
        assert "exit codes:" in parser.epilog, parser.prog
        assert not [one.dest for one in parser._actions if not one.help], parser.prog


def test_the_version_is_told(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("coalmine ")


def test_ack_shows_its_default_and_mute_what_it_requires(capsys):
    main(["ack", "--help"])
    assert "default: 4h" in capsys.readouterr().out
    main(["mute", "--help"])
    assert capsys.readouterr().out.count("(required)") == 2
    assert main(["mute", "name"]) == Exit.USAGE


def test_a_reader_that_went_away_is_no_traceback_and_never_0():
    command = [sys.executable, "-m", "coalmine", "config", "schema"]
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False, timeout=25)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (Exit.PIPE, b"")


def test_a_folder_that_cannot_be_written_is_one_line_and_2(capsys):
    assert main(["docs", "build", "--to", "/proc/x"]) == Exit.NOT_PROVEN
    (line,) = capsys.readouterr().err.splitlines()
    assert "/proc/x cannot be written" in line
