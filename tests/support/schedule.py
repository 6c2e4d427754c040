"""Which tests run in which worker: those on one server in one, so that it is started once."""

import itertools
import re
from pathlib import PurePath

from xdist.scheduler import LoadScopeScheduling

from selfcheck.backends.protocol import BACKENDS

# Modules whose tests share servers of their own.
_OWN_SERVERS = re.compile(r"^tests/stack/|/test_real_|/test_otlp_collector\.py$")
_STORE = re.compile("|".join(sorted(BACKENDS.entries, key=len, reverse=True)))
_LONGEST = re.compile(r"/test_fault_table\.py$|/test_kill_")
# Rows of half a minute each, most of it waiting: two workers, each with servers of its own.
_SPLIT = {"tests/stack/test_fault_table.py": 2}


def turn(nodeid: str) -> int:
    """When a test has its turn: the longest, other stacks, stores, and the many others."""
    path = nodeid.partition("::")[0]
    if _LONGEST.search(path):
        return 0
    if path.startswith("tests/stack/"):
        return 1
    return 2 if group(nodeid) else 3


def group(nodeid: str) -> str:
    """What a test shares with others: the servers of its module, or a store; nothing is empty."""
    path, _, test = nodeid.partition("::")
    if _OWN_SERVERS.search(path):
        return path
    store = _STORE.search(test.partition("[")[2]) or _STORE.search(PurePath(path).stem)
    return store[0] if store else ""


class Scopes:
    """The scope of each test: its group, a part of one that is split, or the test alone."""

    def __init__(self) -> None:
        self._turns = {path: itertools.cycle(range(parts)) for path, parts in _SPLIT.items()}
        self._rows: dict[str, str] = {}

    def of(self, nodeid: str) -> str:
        """The same at every call; rows of what is split take turns."""
        path = nodeid.partition("::")[0]
        if path not in _SPLIT:
            return group(nodeid) or nodeid
        if nodeid not in self._rows:
            self._rows[nodeid] = f"{path} {next(self._turns[path])}"
        return self._rows[nodeid]


class ByServer(LoadScopeScheduling):
    """Hands a worker all tests of one scope at once."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self._scopes = Scopes()

    def _split_scope(self, nodeid: str) -> str:
        return self._scopes.of(nodeid)
