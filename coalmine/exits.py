"""The exit codes of every command, and the only place that knows them.

`NOT_PROVEN` also stands for a crash of ours: nothing was proven, so it is never 0 and never 1.
"""

from enum import IntEnum


class Exit(IntEnum):
    """What a command says to the shell (docs/design.md, "What a user touches")."""

    OK = 0
    FAIL = 1
    NOT_PROVEN = 2
    USAGE = 3
    # 128 + SIGPIPE, as of any program whose reader went away.
    PIPE = 141
