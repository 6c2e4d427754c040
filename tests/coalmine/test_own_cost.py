"""What Coalmine's own canaries use up and cost: from the wire to `/metrics`, the API, the tables."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from coalmine.cli import main
from coalmine.exits import Exit
from tests.coalmine.service_rig import Board, Rig, all_ok, get, rig, route, series

# Whole services over real sockets: `make test` runs them, `make check` does not.
pytestmark = pytest.mark.slow

BOOK = """\
price_book: 1
entries:
  - id: our-logs/2026-11
    vendor: our-vendor
    meter: logs.ingest
    unit: GB
    rule: {kind: bytes_sum, which_bytes: serialized, period: month, rounding: none}
    region: eu
    currency: EUR
    tiers: [{up_to: "100", price: "0"}, {price: "1000000"}]
    source: {page: "contract of 2026, annex 2", seen_on: 2026-11-01}
    grade: user
"""
LOGS, TRACES = "logs-direct", "traces-direct"
WHO = ("store", "logs", "ours", "EUR", "user")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path) as made:
        (tmp_path / "ours.yaml").write_text(BOOK)
        yield made


def own(board: Board) -> dict[str, Board]:
    """Rows of our own canaries by signal."""
    return {one["signal"]: one for one in board["costs"] if one["own"]}


def test_our_own_canaries_are_metered_counted_and_priced_from_the_config_s_book(stage, capsys):
    text = stage.top() + stage.routes(LOGS, TRACES) + "cost: {price_books: [ours.yaml]}\n"
    running = stage.service(text)
    running.until("all ok", all_ok)
    board = running.until("priced", lambda b: len(own(b)) == 2)

    logs, traces = own(board)["logs"], own(board)["traces"]
    assert (logs["own"], logs["meter"], logs["currency"]) == (
        "store",
        "self store logs.ingest",
        "EUR",
    )
    assert logs["point"] == "M1 canaries"
    assert logs["note"].startswith("Coalmine's own canaries as sent")
    # A canary a second: its bytes at the dearest tier, though 100 GB are free.
    assert float(logs["hour"]) == pytest.approx(logs["quantity_hour"] / 1e9 * 1e6, rel=0.01)
    assert 100 * 3600 < logs["quantity_hour"] < 10_000 * 3600
    assert (traces["hour"], traces["likely"]) == (None, None)
    assert traces["note"].startswith("unpriced: no entry for this signal")
    # Nothing flows through the gateway: what flows is not made of canaries.
    real = [one["hour"] for one in board["costs"] if not one["own"]]
    assert len(real) == 3
    assert set(real) <= {None, "0"}

    before = route(board, LOGS)["volume"]
    scraped = running.metrics()
    assert series(scraped, "coalmine_canary_cost_hour") == {WHO: float(logs["hour"])}
    assert series(scraped, "coalmine_canary_cost_unpriced") == {("store", "traces", "ours"): 1}
    assert set(series(scraped, "coalmine_cost_hour").values()) <= {0.0}
    counted = series(scraped, "coalmine_canary_bytes_total")
    assert set(counted) == {(LOGS, "logs", "store"), (TRACES, "traces", "store")}
    assert counted[LOGS, "logs", "store"] >= before["bytes_ever"] > 0
    assert series(scraped, "coalmine_canary_reads_total")[LOGS, "logs", "store"] > 0
    sent = series(scraped, "coalmine_canary_sent_total")[LOGS, "logs"]
    each = counted[LOGS, "logs", "store"] / sent
    assert 100 < each < 10_000

    assert json.loads(get(f"{running.url}/api/v1/cost"))
    main(["cost", "--config", str(stage.config)])
    main(["routes", "--config", str(stage.config)])
    said = capsys.readouterr().out
    assert "self store logs.ingest" in said
    assert "bytes of canaries and" in said


def test_what_canaries_came_to_is_kept_over_a_restart_apart_from_what_hops_measured(stage):
    text = stage.top() + stage.routes(LOGS) + "cost: {price_books: [ours.yaml]}\n"
    running = stage.service(text)
    board = running.until("priced", own)
    spent = float(own(board)["logs"]["to_date"])
    bytes_before = route(running.until("more", all_ok), LOGS)["volume"]["bytes_ever"]
    running.stop()
    again = stage.service()
    # Known at once: the hours were stored, and the counters begin anew.
    board = again.until("priced", own, limit_s=4)
    assert float(own(board)["logs"]["to_date"]) >= spent > 0
    assert route(board, LOGS)["volume"]["bytes_ever"] < bytes_before


def test_a_config_without_a_book_prices_nothing(stage, capsys):
    running = stage.service(stage.top() + stage.routes(LOGS))
    board = running.until("all ok", all_ok)
    assert route(board, LOGS)["volume"]["bytes_ever"] > 0
    assert board["costs"] == []
    assert main(["cost", "--config", str(stage.config)]) == Exit.OK
    assert "no cost to show" in capsys.readouterr().err
