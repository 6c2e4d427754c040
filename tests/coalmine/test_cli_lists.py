"""Tables of the board: aligned, bounded, and honest about what is not known."""

import dataclasses
from datetime import UTC, datetime

import pytest

from coalmine.cli.lists import TABLES, aligned
from coalmine.cli.status import exit_of, lines
from coalmine.exits import Exit
from core.verdict import Verdict
from scheduler.readmodel import Board, CostRow, RouteRow, TroubleLine, VolumeRow

ROUTE = RouteRow(
    name="gw-logs", signal="logs", title="", verdict=Verdict.FAIL, reason="silent_loss",
    detail="2 lost of the last 6", hops=(), sent=10, outcomes={"ok": 6, "lost": 2, "pending": 2},
    balanced=True, duplicates="none", delay_p50_s=0.25, delay_p99_s=None, deadline_s=30.0,
    finding="gateway: lost without a counter, 2 of 6", evidence=(), age_s=1.0, strip=(),
)  # fmt: skip
UNPRICED = CostRow(
    meter="traces", signal="traces", book="b", point="", grade="", unit="", quantity_hour=None,
    per_gb=None, hour=None, to_date=None, low=None, likely=None, high=None, currency="",
    note="unpriced: no entry for this signal",
)  # fmt: skip
BOARD = Board(
    at=datetime(2026, 11, 21, tzinfo=UTC), namespace="t", source="live", generation=1, troubles=(),
    vitals=(), incidents=(), checks=(), routes=(ROUTE,), balance=(), sources=(),
    costs=(UNPRICED,), log=(),
)  # fmt: skip


def test_columns_are_aligned_and_outside_text_is_made_safe():
    """A control character in a check's detail cannot move the cursor."""
    lines = aligned([("A", "B"), ("long cell", "\x1b[2J")])
    assert lines == ["A          B", "long cell  ␛[2J"]


def test_a_route_shows_its_outcomes_and_where_the_loss_lies():
    """sent = ok + late + lost + rejected + pending + other, and the finding instead of the bare detail."""
    head, rows = TABLES["routes"][1](BOARD)
    row = dict(zip(head, rows[0], strict=True))
    assert (row["SENT"], row["OK"], row["LATE"], row["LOST"]) == ("10", "6", "0", "2")
    assert (row["REJECTED"], row["PENDING"], row["OTHER"]) == (
        "0", "2", "0",
    )  # fmt: skip
    assert row["P99"] == "-"
    assert row["DETAIL"] == ROUTE.finding


def test_a_route_shows_what_it_uses_up_itself_today():
    """In a line of its own, under the backend that is read."""
    shown = dataclasses.replace(ROUTE, volume=VolumeRow("loki", 5120, 12, 90000, 400))
    head, rows = TABLES["routes"][1](dataclasses.replace(BOARD, routes=(shown,)))
    own = dict(zip(head, rows[1], strict=True))
    assert own["ROUTE"] == "  at loki"
    assert own["DETAIL"] == "5120 bytes of canaries and 12 reads today (UTC)"
    assert (own["VERDICT"], own["SENT"]) == ("", "")


def test_an_unpriced_meter_is_never_zero():
    """What no book prices says so."""
    head, rows = TABLES["cost"][1](BOARD)
    row = dict(zip(head, rows[0], strict=True))
    assert row["NEXT MONTH"] == "unpriced"
    assert row["HOUR"] == "-"


@pytest.mark.parametrize("name", sorted(TABLES))
def test_an_empty_board_yields_no_rows(name: str):
    """Nothing is invented."""
    empty = dataclasses.replace(BOARD, routes=(), costs=())
    assert TABLES[name][1](empty)[1] == []


def test_any_trouble_line_is_at_least_not_proven():
    fine = dataclasses.replace(BOARD, routes=(dataclasses.replace(ROUTE, verdict=Verdict.OK),))
    trouble = (TroubleLine("EXPORT", "stuck", 1.0, None),)
    assert exit_of(fine) == Exit.OK
    assert exit_of(dataclasses.replace(fine, troubles=trouble)) == Exit.NOT_PROVEN
    assert exit_of(dataclasses.replace(BOARD, troubles=trouble)) == Exit.FAIL


def test_a_route_of_which_nothing_is_counted_ends_without_a_comma():
    idle = dataclasses.replace(ROUTE, sent=0, outcomes={}, finding="")
    assert lines(dataclasses.replace(BOARD, routes=(idle,)))[-1].endswith(" · sent 0")
