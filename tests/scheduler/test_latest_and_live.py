"""The latest-result table and the live ReadModel: every verdict is aged when it is asked for."""

from dataclasses import replace

import pytest

from core.reason import Reason
from core.verdict import Verdict
from scheduler.latest import STRIP_CELLS, Fanout, LatestTable
from scheduler.live import (
    PICTURE_LIMIT_S,
    LiveParts,
    LiveReadModel,
    PagingPicture,
    Picture,
    PlanItem,
    check_row,
    troubles,
)
from scheduler.readmodel import ActionRequest, SourceRow, VitalLine
from tests.support.clock import VirtualClock
from tests.support.envelopes import envelope, route

SHOP = PlanItem("shop", "http", "The shop", 100.0)


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def table(clock):
    return LatestTable(clock)


def test_an_unknown_check_has_no_latest_result(table):
    assert table.get("shop") is None


def test_the_last_ok_stays_known_while_it_fails(clock, table):
    table.update(envelope(clock, "shop"))
    ok_at = clock.utc().timestamp()
    clock.move(30)
    table.update(envelope(clock, "shop", Verdict.FAIL))
    latest = table.get("shop")
    assert (latest.envelope.verdict, latest.last_ok_utc_s) == (Verdict.FAIL, ok_at)


def test_a_strip_holds_the_worst_of_each_minute_and_gaps_where_nothing_ran(clock, table):
    clock.move(60 - clock.monotonic() % 60)
    for verdict in (Verdict.FAIL, Verdict.OK):
        table.update(envelope(clock, "shop", verdict))
    clock.move(120)
    table.update(envelope(clock, "shop"))
    assert table.get("shop").strip[-4:] == (None, Verdict.FAIL, None, Verdict.OK)
    assert len(table.get("shop").strip) == STRIP_CELLS
    clock.move(60 * STRIP_CELLS)
    assert table.get("shop").strip == (None,) * STRIP_CELLS


def test_a_start_up_is_no_minute_of_the_strip(clock, table):
    """`blind` would win the cell over the ok of the same minute, and nothing was wrong."""
    clock.move(60 - clock.monotonic() % 60)
    starting = replace(envelope(clock, "shop", Verdict.BLIND), reason=Reason.STARTING)
    table.update(starting)
    assert table.get("shop").strip == (None,) * STRIP_CELLS
    assert table.get("shop").envelope is starting
    table.update(envelope(clock, "shop"))
    assert table.get("shop").strip[-1] is Verdict.OK


def test_checks_that_left_the_plan_are_forgotten(clock, table):
    table.update(envelope(clock, "shop"))
    table.update(envelope(clock, "gone"))
    table.retain(frozenset({"shop"}))
    assert table.get("shop")
    assert table.get("gone") is None


def test_every_consumer_hears_in_order(clock):
    heard = []
    fanout = Fanout((lambda e: heard.append(("a", e)), lambda e: heard.append(("b", e))), ())
    result = envelope(clock)
    fanout.publish(result)
    assert heard == [("a", result), ("b", result)]


def test_a_consumer_that_raises_keeps_no_other_from_hearing(clock):
    heard = []

    def broken(_):
        raise OSError("history")

    fanout = Fanout((broken, heard.append), (broken, heard.append))
    result = envelope(clock)
    with pytest.raises(OSError, match="history"):
        fanout.publish(result)
    with pytest.raises(OSError, match="history"):
        fanout.not_run(result)
    assert heard == [result, result]


def test_a_check_without_a_result_is_blind_and_has_no_age(clock):
    row = check_row(SHOP, None, clock, {"due": 1})
    assert (row.verdict, row.reason, row.age_s, row.was) == (Verdict.BLIND, "starting", None, None)
    assert row.account == {"due": 1}


def test_a_result_is_good_up_to_its_limit_and_blind_beyond_it(clock, table):
    table.update(envelope(clock, "shop", detail="200"))
    clock.move(SHOP.limit_s)
    row = check_row(SHOP, table.get("shop"), clock, {})
    assert (row.verdict, row.was, row.age_s) == (Verdict.OK, None, SHOP.limit_s)
    clock.move(0.001)
    row = check_row(SHOP, table.get("shop"), clock, {})
    assert (row.verdict, row.was) == (Verdict.BLIND, Verdict.OK)


def test_a_step_of_the_wall_clock_ages_nothing(clock, table):
    table.update(envelope(clock, "shop"))
    clock.step_wall(86400)
    assert check_row(SHOP, table.get("shop"), clock, {}).verdict is Verdict.OK


def test_trust_and_facts_stand_side_by_side(clock, table):
    table.update(envelope(clock, "shop", ttfb_s=0.25))
    facts = check_row(SHOP, table.get("shop"), clock, {}).facts
    assert (facts["ttfb_s"], facts["late_s"], facts["queue_s"], facts["lag_s"]) == (
        0.25,
        0.1,
        0.2,
        0.3,
    )


def test_troubles_are_our_own_parts_first_and_then_what_cannot_be_read():
    vitals = (
        VitalLine("paging", Verdict.FAIL, 9.0, "paging: no tick for 9s"),
        VitalLine("export", Verdict.DEGRADED, 95.0, "otlp not exported for 95s"),
        VitalLine("database", Verdict.OK, 1.0, ""),
    )
    routes = (
        route("logs", reason="readback", detail="503", age_s=4.0),
        route("new"),
        route("well", verdict=Verdict.OK),
    )
    assert [(line.word, line.text) for line in troubles(routes, vitals)] == [
        ("STOPPED", "paging: no tick for 9s"),
        ("EXPORT", "otlp not exported for 95s"),
        ("BLIND", "logs: 503"),
    ]


def live(clock, table, *, plan=(SHOP,), picture=None, appended=None):
    return LiveReadModel(
        LiveParts(
            namespace="tests", clock=clock, generation=lambda: 4, plan=lambda: plan, latest=table,
            account=lambda name: {"due": len(name)}, picture=lambda: picture or Picture(),
            paging=lambda: PagingPicture((), ()), vitals=lambda: (),
            append=(appended if appended is not None else []).append,
            done=lambda ids: frozenset(ids[:1]),
        )
    )  # fmt: skip


def test_a_board_lists_the_worst_check_first_and_every_one_of_the_plan(clock, table):
    plan = tuple(PlanItem(name, "http", "", 100.0) for name in ("a", "b", "c"))
    table.update(envelope(clock, "a"))
    table.update(envelope(clock, "c", Verdict.FAIL))
    board = live(clock, table, plan=plan).board()
    assert [(row.name, row.verdict) for row in board.checks] == [
        ("c", Verdict.FAIL),
        ("b", Verdict.BLIND),
        ("a", Verdict.OK),
    ]
    assert (board.source, board.generation, board.namespace) == ("live", 4, "tests")
    assert board.checks[0].account == {"due": 1}


def test_a_route_carries_age_and_strip_of_its_newest_result(clock, table):
    table.update(envelope(clock, "logs", kind="canary"))
    clock.move(5)
    rows = (route("logs"), route("new"))
    board = live(clock, table, picture=Picture(routes=rows)).board()
    assert [row.age_s for row in board.routes] == [5.0, None]
    assert Verdict.OK in board.routes[0].strip


def test_a_picture_that_nobody_paints_any_more_says_nothing_of_the_present(clock, table):
    rows = (route("logs", verdict=Verdict.OK),)
    sources = (SourceRow("shop", "logs", Verdict.OK, "ok", "", 1.0),)
    picture = Picture(routes=rows, sources=sources, painted_s=clock.monotonic())
    model = live(clock, table, picture=picture)
    clock.move(PICTURE_LIMIT_S)
    assert model.board().routes == rows
    clock.move(0.1)
    board = model.board()
    assert [(row.verdict, row.reason) for row in board.routes] == [(Verdict.BLIND, "stale")]
    assert [(row.verdict, row.newest_age_s) for row in board.sources] == [(Verdict.BLIND, None)]


def test_actions_are_appended_and_asked_after(clock, table):
    appended = []
    model = live(clock, table, appended=appended)
    request = ActionRequest("one", "ack", "key", "ada", "", None)
    model.act(request)
    assert appended == [request]
    assert model.done(["one", "two"]) == {"one"}
