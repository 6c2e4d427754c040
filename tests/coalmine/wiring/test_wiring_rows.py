"""From a route's life to rows of the ReadModel and to evidence for localisation."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

import pytest

from coalmine.wiring.money import money
from coalmine.wiring.picture import balance_rows, finding_facts, hop_cells, route_row
from coalmine.wiring.pipeline import Pipeline, evidence
from core.clock import instant
from core.reason import Reason
from core.verdict import Verdict
from paging.model import Incident, IncidentState, Severity
from paging.store import Action
from scheduler.latest import LatestTable
from scheduler.told import incident_rows, log_rows
from selfcheck.hops.finding import Cause, Confidence, Finding
from selfcheck.hops.protocol import HopCounters
from tests.fakes.route import RouteRig
from tests.fakes.store import Faults
from tests.selfcheck.hops.scrapes import RECEIVED, SENT, scrape
from tests.support.clock import VirtualClock
from tests.support.envelopes import envelope

LOST = Finding(
    route="logs-gw", start="send", end="logs", hop="gateway", lost=2, of=6,
    cause=next(iter(Cause)), confidence=Confidence.HIGH, evidence=("queue full", "b"),
    missing=("no counters of logs",), time_to_loss_s=12.0,
)  # fmt: skip


async def lived(seconds, faults=None):
    """The status of a route after some time."""
    rig = RouteRig(faults=faults)
    await rig.run(seconds)
    return rig.cycle.status()


async def test_a_healthy_route_is_ok_at_every_hop_and_its_account_balances():
    status = await lived(60)
    row = route_row(status, "Logs", None)
    assert (row.name, row.title, row.verdict) == ("logs-gw", "Logs", Verdict.OK)
    assert row.sent == sum(row.outcomes.values()) > 0
    assert row.balanced
    assert {cell.verdict for cell in row.hops} == {Verdict.OK}
    assert row.hops[-1].delay_s == row.delay_p50_s
    assert (row.finding, row.evidence) == ("", ())


async def test_a_located_loss_is_ok_before_its_hop_and_unknown_behind_it():
    status = replace(await lived(60), verdict=Verdict.FAIL, reason=Reason.SILENT_LOSS, losses=3)
    cells = {cell.hop: cell for cell in hop_cells(status, LOST)}
    assert [cell.verdict for cell in cells.values()] == [
        Verdict.OK,
        Verdict.FAIL,
        Verdict.BLIND,
        Verdict.BLIND,
    ]
    assert cells["gateway"].lost_share == 3 / len(status.rows)


@pytest.mark.parametrize("finding", [None, replace(LOST, hop="")], ids=["none", "unplaced"])
async def test_a_loss_that_is_not_located_leaves_every_hop_unknown(finding):
    status = replace(await lived(60), verdict=Verdict.FAIL, reason=Reason.SILENT_LOSS)
    assert {cell.verdict for cell in hop_cells(status, finding)} == {Verdict.BLIND}


async def test_a_route_before_its_first_read_is_blind_with_an_account_of_nothing():
    row = route_row(RouteRig().cycle.status(), "", None)
    assert (row.verdict, row.sent, row.balanced) == (Verdict.BLIND, 0, False)
    assert {cell.verdict for cell in row.hops} == {Verdict.BLIND}


def test_the_facts_of_a_finding_are_those_that_paging_reads():
    facts = finding_facts(LOST)
    assert (facts["hop"], facts["finding"], facts["confidence"]) == (
        "gateway",
        LOST.sentence(),
        Confidence.HIGH.value,
    )
    assert (facts["evidence_1"], facts["evidence_2"]) == ("queue full", "b")
    assert (facts["missing"], facts["time_to_loss_s"]) == ("no counters of logs", 12.0)
    bare = finding_facts(replace(LOST, hop="", confidence=Confidence.NONE, time_to_loss_s=None))
    assert not {"hop", "confidence", "time_to_loss_s"} & set(bare)


async def test_evidence_counts_what_the_newest_canaries_came_to():
    told = evidence(await lived(300, Faults(reject=Reason.REFUSED)))
    assert told.rejected == told.of > 0
    assert told.refused_connection
    assert told.never_seen
    assert told.read_broken is None


async def test_a_read_side_that_cannot_be_read_is_told_as_such():
    told = evidence(await lived(300, Faults(read_error=Reason.READBACK)))
    assert told.verdict is Verdict.BLIND
    assert told.read_broken is Reason.READBACK
    assert told.lost == 0


async def test_evidence_says_when_canaries_were_sent_that_passed_or_were_missed():
    passing = await lived(300)
    told = evidence(passing)
    assert told.missed_from is None
    assert [at * 1e9 for at in told.passed_at] == [row.canary.stamp_ns for row in passing.rows]
    refused = await lived(300, Faults(reject=Reason.REFUSED))
    told = evidence(refused)
    assert told.passed_at == ()
    assert told.missed_from == refused.rows[-1].canary.stamp_ns / 1e9


async def test_a_trouble_is_dated_from_its_first_missed_canary_until_the_route_is_ok():
    """Rows of a long trouble begin with its middle: a route that sends rarely passes it by then."""
    pipeline = Pipeline({}, 10.0, VirtualClock(), lambda *_: None)
    dated = pipeline._dated
    refused = await lived(300, Faults(reject=Reason.REFUSED))
    first = evidence(refused).missed_from
    later = replace(refused, rows=refused.rows[:2])
    assert evidence(later).missed_from > first
    assert dated(refused).missed_from == first
    assert dated(later).missed_from == first
    passing = await lived(300)
    assert dated(replace(passing, spec=refused.spec)).missed_from is None
    assert dated(later).missed_from > first


class ScriptedReader:
    """A hop reader whose counters are given."""

    def __init__(self, *scrapes):
        self.scrapes, self.closed = list(scrapes), False

    async def read(self, _deadline_s) -> HopCounters:
        return self.scrapes.pop(0)

    async def close(self):
        self.closed = True


def counted():
    """Scrapes 10 s apart in which 10 come in and 4 go out."""
    return ScriptedReader(*(scrape(10.0 * n, {RECEIVED: 10 * n, SENT: 4 * n}) for n in range(4)))


async def test_pairs_of_scrapes_are_heard_and_make_the_balance():
    heard = []
    reader = counted()
    pipeline = Pipeline({"gateway": reader}, 10.0, VirtualClock(), lambda *pair: heard.append(pair))
    assert pipeline.newest("gateway") is None
    for _ in range(3):
        assert await pipeline.scrape("gateway") == 10.0
    assert {row.came_in for row in balance_rows(pipeline.states())} == {None}
    await pipeline.refresh(["gateway", "has-no-reader"])
    scrapes = pipeline.scrapes("gateway")
    assert heard == list(pairwise(scrapes))
    assert pipeline.newest("gateway") is scrapes[-1]
    rows = {row.signal: row for row in balance_rows(pipeline.states())}
    assert (rows["logs"].came_in, rows["logs"].went_out) == (30, 12)
    # A signal that no counter mentions has figures of nobody.
    assert rows["traces"].came_in is None
    await pipeline.close()
    assert reader.closed


async def test_a_new_plan_takes_over_the_scrapes_of_hops_that_it_still_has():
    pipeline = Pipeline({"gateway": counted()}, 10.0, VirtualClock(), lambda *_: None)
    await pipeline.scrape("gateway")
    readers = {"gateway": counted(), "new": counted()}
    successor = Pipeline(readers, 10.0, VirtualClock(), lambda *_: None)
    successor.inherit(pipeline)
    assert successor.scrapes("gateway") == pipeline.scrapes("gateway")
    assert successor.scrapes("new") == ()


def test_a_hop_that_was_never_read_has_no_row():
    pipeline = Pipeline({"gateway": counted()}, 10.0, VirtualClock(), lambda *_: None)
    assert balance_rows(pipeline.states()) == ()


@pytest.mark.parametrize(
    ("amount", "text"),
    [("0", "0"), ("0.000", "0"), ("12345.678", "12346"), ("1.2345", "1.23"), ("0.00012345", "0.000123"),
     ("1E-15", "0.000000000"), ("1E+5", "100000")],
)  # fmt: skip
def test_money_has_three_digits_and_no_exponent(amount, text):
    assert money(Decimal(amount)) == text


def incident(clock, name, severity=Severity.CRITICAL, **changes):
    now = instant(clock)
    given = {
        "fingerprint": name, "episode": 1, "rule": "fail", "subject": name, "severity": severity,
        "state": IncidentState.FIRING, "title": name, "summary": "", "hop": "", "evidence": (),
        "since": now, "opened": now, "changed": now, "resolved": None, "group": name,
        "acked_by": "", "acked_until": None, "muted_by": "",
    }  # fmt: skip
    return Incident(**{**given, **changes})


def test_incidents_are_critical_first_then_oldest_and_name_who_they_carry():
    clock = VirtualClock()
    table = LatestTable(clock)
    warning = incident(clock, "warn", Severity.WARNING)
    clock.move(10)
    leader, member = incident(clock, "lead"), incident(clock, "part", group="lead")
    table.update(envelope(clock, "lead", Verdict.FAIL))
    clock.move(3)
    rows = incident_rows((warning, leader, member), (), table.get, "tests", clock)
    assert [row.fingerprint for row in rows] == ["lead", "part", "warn"]
    assert rows[0].members == ("part",)
    assert (rows[0].key, rows[0].seen_age_s) == ("tests:lead:1", 3.0)
    assert rows[1].seen_age_s is None
    assert (
        incident_rows((incident(clock, "b", rule="blind"),), (), table.get, "tests", clock)[
            0
        ].verdict
        is Verdict.BLIND
    )


def test_an_action_is_in_force_only_once_it_was_folded_in():
    clock = VirtualClock()
    until = clock.utc() + timedelta(hours=1)
    actions = [
        Action(name, "ack", "tests:lead:1", "ada", "on it", until, instant(clock))
        for name in ("one", "two")
    ]
    rows = log_rows((), actions, frozenset({"one"}))
    assert {(row.answer, row.who_action, row.verdict) for row in rows} == {
        ("in force", "one", Verdict.OK),
        ("stored", "", None),
    }
