"""`make test` starts a server in one worker only, and the longest tests first."""

from collections import Counter

import pytest

from selfcheck.backends.protocol import BACKENDS
from tests.contracts.backends.openings import OPENINGS
from tests.support.schedule import Scopes, group, turn

SUITE = "tests/contracts/backends/test_backend_edges.py::test_row_09"
ROWS = [f"tests/stack/test_fault_table.py::test_{name}[logs]" for name in "abcdefg"]


@pytest.mark.parametrize("name", sorted(OPENINGS))
def test_every_case_of_a_kind_is_in_one_group(name):
    assert group(f"{SUITE}[expired-{name}]") == OPENINGS[name].kind
    assert group(f"{SUITE}[{name}--60]") == OPENINGS[name].kind


@pytest.mark.parametrize("kind", sorted(BACKENDS.entries))
def test_a_kinds_own_tests_are_with_its_cases(kind):
    assert group(f"tests/selfcheck/backends/test_{kind}.py::test_it") == kind


def test_what_shares_nothing_is_in_no_group_and_comes_last():
    assert group("tests/coalmine/test_verify.py::test_it[1]") == ""
    modules = ("stack/test_kill_loop", "stack/test_joins", "deploy/test_real_servers", "a/test_b")
    assert [turn(f"tests/{module}.py::test_it") for module in modules] == [0, 1, 2, 3]


def test_two_workers_share_the_fault_rows_and_each_row_stays_where_it_is():
    scopes = Scopes()
    first = [scopes.of(row) for row in ROWS]
    assert sorted(Counter(first).values()) == [3, 4]
    assert [scopes.of(row) for row in reversed(ROWS)] == first[::-1]
