"""Each row of the fault table names what it must, and nothing is ever named too surely."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.reason import Reason
from core.verdict import Verdict
from selfcheck.canary.model import Signal
from selfcheck.hops.evidence import HopState, Inputs
from selfcheck.hops.finding import Cause, Confidence
from selfcheck.hops.localise import localise, quiet_finding
from selfcheck.hops.suspects import proves
from tests.selfcheck.hops import scrapes as s

FAIL, BLIND, OK = Verdict.FAIL, Verdict.BLIND, Verdict.OK
DIRECT = ("send", "loki", "read")
GREEN = {s.RECEIVED: 100, s.SENT: 100, s.QUEUE: 0, s.CAPACITY: 1000}
HELD = {s.RECEIVED: 100, s.SENT: 0, s.QUEUE: 2, s.CAPACITY: 1000}


def direct(verdict=OK, reason=Reason.OK, **given):
    return s.route("direct-logs", DIRECT, verdict, reason, **given)


def find(*routes, hops=(), loopback=OK):
    inputs = Inputs(routes, {state.hop: state for state in hops}, loopback)
    return {finding.route: finding for finding in localise(inputs)}


def lost(lost_=6, of=6, **given):
    return s.route(verdict=FAIL, reason=Reason.SILENT_LOSS, lost=lost_, of=of, **given)


def test_a_stopped_store_refuses_writes_and_reads_on_every_route():
    found = find(
        s.route(verdict=BLIND, reason=Reason.READBACK, read_broken=Reason.READBACK, of=0),
        direct(
            FAIL, Reason.INJECT, rejected=6, refused_connection=True, read_broken=Reason.READBACK
        ),
        hops=[s.state(HELD)],
    )
    assert {f.hop for f in found.values()} == {"loki"}
    assert {f.cause for f in found.values()} == {Cause.STORE}
    assert found["direct-logs"].confidence is Confidence.HIGH
    assert found["gw-logs"].confidence is Confidence.MEDIUM


def test_a_read_side_that_is_down_is_named_and_nothing_is_called_lost():
    broken = {"verdict": BLIND, "reason": Reason.READBACK, "read_broken": Reason.READBACK, "of": 0}
    found = find(s.route(**broken), direct(**broken), hops=[s.state(GREEN)])
    assert {(f.hop, f.cause, f.lost) for f in found.values()} == {("loki", Cause.READ_SIDE, 0)}


def test_a_write_side_that_is_down_is_the_stores_ingest():
    found = find(
        lost(),
        direct(FAIL, Reason.INJECT, rejected=6, refused_connection=True),
        hops=[s.state(HELD)],
    )
    assert {(f.hop, f.cause) for f in found.values()} == {("loki", Cause.INGEST)}
    assert found["direct-logs"].confidence is Confidence.HIGH


def test_a_store_that_answers_no_to_one_signal_is_not_accused_for_another():
    metrics = s.route(
        "direct-metrics", DIRECT, FAIL, Reason.INJECT, rejected=6, signal=Signal.METRICS
    )
    found = find(lost(), direct(), metrics, hops=[s.state(GREEN)])
    assert found["gw-logs"].hop == "gateway"
    assert found["direct-metrics"].cause is Cause.INGEST


def test_a_stopped_collector_refuses_connections():
    found = find(
        s.route(verdict=FAIL, reason=Reason.INJECT, rejected=3, of=3, refused_connection=True),
        direct(),
        hops=[s.down("gateway", Reason.REFUSED)],
    )
    assert found.keys() == {"gw-logs"}
    finding = found["gw-logs"]
    assert (finding.hop, finding.cause) == ("gateway", Cause.REFUSES)
    assert finding.confidence is Confidence.HIGH
    assert "refuses connections" in finding.sentence()


def test_a_frozen_collector_accepts_and_never_answers():
    found = find(
        s.route(verdict=FAIL, reason=Reason.INJECT, maybe_silent=3, of=3),
        direct(),
        hops=[s.down("gateway", Reason.TIMEOUT)],
    )
    finding = found["gw-logs"]
    assert (finding.hop, finding.cause) == ("gateway", Cause.SILENT)
    assert finding.confidence is Confidence.HIGH


@pytest.mark.parametrize("settled", [True, False], ids=["as policy_drop", "still lost"])
def test_an_undeclared_filter_is_named_with_its_counter(settled):
    given = {"policy_dropped": 6} if settled else {"lost": 6}
    found = find(
        s.route(verdict=FAIL, reason=Reason.POLICY, **given),
        direct(),
        hops=[s.state({s.RECEIVED: 100, s.SENT: 0, s.FILTERED: 100})],
    )
    finding = found["gw-logs"]
    assert (finding.hop, finding.cause) == ("gateway", Cause.POLICY)
    assert finding.confidence is Confidence.HIGH
    assert finding.evidence == (
        "processor filter/drop removed 500 on purpose, as its counter says",
    )


def test_a_declared_sampler_that_works_needs_no_finding():
    assert not find(s.route(policy_dropped=5, drop_declared=True), direct())


def test_a_real_loss_beside_a_declared_sampler_is_the_gateways():
    found = find(
        lost(drop_declared=True),
        direct(),
        hops=[s.state({s.RECEIVED: 100, s.SENT: 5, s.FILTERED: 90, s.FAILED: 5})],
    )
    finding = found["gw-logs"]
    assert (finding.hop, finding.cause) == ("gateway", Cause.DROPPED)


def test_a_dead_exporter_holds_in_its_queue_until_it_loses():
    inputs_hops = [s.hop_state("gateway", s.steady(HELD, scrapes=20), 120.0)]
    finding = find(lost(), direct(), hops=inputs_hops)["gw-logs"]
    assert (finding.hop, finding.cause) == ("gateway", Cause.HELD)
    assert finding.confidence is Confidence.HIGH
    assert finding.evidence[0] == "exporter otlp_http: queue 38 of 1000, nothing sent"
    assert finding.time_to_loss_s == 120.0


def test_a_sink_with_green_counters_is_found_by_the_canaries_alone():
    finding = find(lost(), direct(), hops=[s.state(GREEN)])["gw-logs"]
    assert (finding.hop, finding.cause) == ("gateway", Cause.SILENT_LOSS)
    assert finding.confidence is Confidence.MEDIUM
    assert "the counters of gateway are green: a silent sink" in finding.evidence


def test_a_discarding_batch_processor_shows_as_a_residual():
    finding = find(lost(), direct(), hops=[s.state({s.RECEIVED: 100, s.SENT: 0})])["gw-logs"]
    assert (finding.hop, finding.cause) == ("gateway", Cause.SILENT_LOSS)
    assert finding.confidence is Confidence.HIGH


def test_a_wrong_token_on_reads_is_access_to_the_backend():
    broken = {"verdict": BLIND, "reason": Reason.AUTH, "read_broken": Reason.AUTH, "of": 0}
    found = find(s.route(**broken), direct(**broken), hops=[s.state(GREEN)])
    assert {(f.hop, f.cause) for f in found.values()} == {("loki", Cause.ACCESS)}


def test_a_wrong_tenant_that_looks_like_absence_is_access_to_the_backend():
    unseen = {"verdict": BLIND, "reason": Reason.STARTING, "never_seen": True, "ok_of": 0}
    found = find(s.route(**unseen), direct(**unseen), hops=[s.state(GREEN)])
    assert {(f.hop, f.cause) for f in found.values()} == {("loki", Cause.ACCESS)}
    assert "tenant, selector or path?" in found["gw-logs"].evidence[0]
    assert found["gw-logs"].lost == 0


def test_a_route_that_only_just_started_needs_no_finding():
    assert not find(s.route(verdict=BLIND, reason=Reason.STARTING, never_seen=True, of=0))


def test_a_quiet_source_is_named_as_itself():
    finding = quiet_finding("shop", "loki", ("newest record 9 min old",))
    assert finding.hop == "source:shop"


def test_a_red_loopback_route_puts_coalmine_itself_under_suspicion():
    finding = find(lost(), direct(), hops=[s.state(HELD)], loopback=FAIL)["gw-logs"]
    assert (finding.hop, finding.cause) == ("coalmine", Cause.SELF)


def test_without_counters_the_isolated_hop_is_low_and_says_what_is_missing():
    finding = find(lost(), direct())["gw-logs"]
    assert (finding.hop, finding.confidence) == ("gateway", Confidence.LOW)
    assert finding.missing == ("the counters of gateway",)


def test_without_a_parallel_route_the_interval_is_not_narrowed():
    finding = find(lost(), hops=[s.state(GREEN)])["gw-logs"]
    assert (finding.start, finding.end, finding.hop) == ("send", "read", "")
    assert finding.confidence is Confidence.NONE
    assert finding.missing[-1] == "a route straight to loki would narrow it"


def test_too_few_healthy_canaries_clear_nothing():
    sparse = direct(ok_of=2, of=2)
    assert not proves(sparse, lost(2, 6, ok_of=4))
    assert proves(direct(ok_of=8, of=8), lost(2, 6, ok_of=4))


def test_canaries_sent_before_the_fault_showed_clear_nothing():
    """A route beside it that has not noticed yet is no proof that its hops are well."""
    began = lost(3, 6, missed_from=100.0)
    assert not proves(direct(ok_of=6, passed_at=(50.0, 60.0, 70.0, 80.0, 90.0, 99.0)), began)
    assert proves(direct(ok_of=6, passed_at=(60.0, 70.0, 80.0, 90.0, 99.0, 100.0)), began)


def test_a_loss_now_and_then_takes_as_many_healthy_canaries_as_its_rate_asks_for():
    began = lost(2, 6, ok_of=2, missed_from=0.0, passed_at=(1.0, 2.0))
    assert began.rate == 0.5
    assert not proves(direct(ok_of=4), began)
    assert proves(direct(ok_of=5), began)


def test_one_lost_canary_makes_no_rate():
    assert not proves(direct(ok_of=6), lost(1, 6, ok_of=5))
    assert not proves(direct(ok_of=6), lost(1, 1))


def test_what_a_sampler_explains_dilutes_no_loss_beside_it():
    """Two lost and four dropped as declared: nothing that could have arrived did."""
    assert proves(direct(ok_of=3, of=3), lost(2, 6, drop_declared=True))
    assert not proves(direct(ok_of=3, of=3), lost(2, 6, ok_of=4))


@given(missed=st.integers(2, 12), passed=st.integers(0, 12), more=st.integers(1, 12))
def test_the_rate_of_a_loss_falls_with_each_canary_that_passes(missed, passed, more):
    one, other = (lost(missed, 24, ok_of=count).rate for count in (passed, passed + more))
    assert 0 < other < one <= 1


def test_a_healthy_route_of_another_signal_clears_nothing():
    finding = find(lost(), direct(signal=Signal.TRACES), hops=[s.state(GREEN)])["gw-logs"]
    assert finding.hop == ""


def test_a_route_that_enters_one_hop_later_puts_the_loss_before_it():
    long = s.route("agent-logs", ("agent", "gateway", "loki"), FAIL, Reason.SILENT_LOSS, lost=6)
    agent = s.state({s.RECEIVED: 100, s.SENT: 50, s.FAILED: 50}, hop="agent")
    finding = find(long, s.route(), direct(), hops=[agent, s.state(GREEN)])["agent-logs"]
    assert (finding.hop, finding.cause, finding.confidence) == (
        "agent",
        Cause.DROPPED,
        Confidence.HIGH,
    )


def test_two_faults_at_once_are_listed_and_not_guessed():
    filtered = s.state({s.RECEIVED: 100, s.SENT: 0, s.FILTERED: 100})
    refused = direct(FAIL, Reason.INJECT, rejected=6, refused_connection=True)
    finding = find(lost(), refused, hops=[filtered])["gw-logs"]
    assert (finding.hop, finding.cause) == ("", Cause.NOT_KNOWN)
    assert finding.confidence is Confidence.LOW
    assert "more than one trouble" in finding.missing[-1]


HEALTH = st.sampled_from(
    ["green", "held", "filtered", "dropping", "sink", "refuses", "silent", "none"]
)


def _state(hop: str, health: str) -> HopState | None:
    known = {
        "green": GREEN,
        "held": HELD,
        "filtered": {s.RECEIVED: 100, s.SENT: 0, s.FILTERED: 100},
        "dropping": {s.RECEIVED: 100, s.SENT: 50, s.FAILED: 50},
        "sink": {s.RECEIVED: 100, s.SENT: 20},
    }
    if health in known:
        return s.state(known[health], hop=hop)
    if health == "none":
        return None
    return s.down(hop, Reason.REFUSED if health == "refuses" else Reason.TIMEOUT)


@st.composite
def situations(draw):
    def one(name, hops):
        of = draw(st.integers(1, 40))
        kind = draw(st.sampled_from(["ok", "lost", "rejected", "silent", "policy", "readback"]))
        count = draw(st.integers(1, of))
        if kind == "ok":
            return s.route(name, hops, of=of, ok_of=of)
        given = {
            "lost": {"lost": count},
            "policy": {"policy_dropped": count},
            "rejected": {"rejected": count, "refused_connection": draw(st.booleans())},
            "silent": {"maybe_silent": count},
            "readback": {"read_broken": Reason.READBACK},
        }[kind]
        verdict, reason = (BLIND, Reason.READBACK) if kind == "readback" else (FAIL, Reason.INJECT)
        return s.route(name, hops, verdict, reason, of=of, ok_of=of - count, **given)

    routes = [
        one("agent-logs", ("agent", "gateway", "loki")),
        one("gw-logs", ("gateway", "loki")),
        one("gw-logs-2", ("gateway", "loki")),
        one("direct-logs", ("loki",)),
    ]
    states = [_state("agent", draw(HEALTH)), _state("gateway", draw(HEALTH))]
    hops = {state.hop: state for state in states if state}
    return Inputs(tuple(routes), hops, draw(st.sampled_from([None, OK])))


@given(situations())
def test_never_high_on_a_hop_that_a_healthy_route_exonerates(inputs):
    by_name = {route.name: route for route in inputs.routes}
    for finding in localise(inputs):
        route = by_name[finding.route]
        if finding.confidence is not Confidence.HIGH or not route.missed:
            continue
        at = route.path.index(finding.hop)
        for witness in inputs.routes:
            clears = witness.path[-len(route.path[at:]) :] == route.path[at:]
            assert not (witness is not route and clears and proves(witness, route))


@given(situations(), st.integers(0, 1000))
def test_the_order_of_the_routes_changes_nothing(inputs, seed):
    shuffled = list(inputs.routes)
    random.Random(seed).shuffle(shuffled)
    hops = dict(reversed(list(inputs.hops.items())))
    assert localise(Inputs(tuple(shuffled), hops, inputs.loopback)) == localise(inputs)


@given(situations())
def test_every_failing_or_blind_route_gets_exactly_one_finding(inputs):
    wanted = sorted(r.name for r in inputs.routes if r.verdict is not OK)
    assert [finding.route for finding in localise(inputs)] == wanted


BROKEN = st.sampled_from(["held", "filtered", "dropping", "sink"])


@given(BROKEN, BROKEN, st.integers(2, 6))
def test_two_broken_hops_that_no_route_tells_apart_are_never_high(agent, gateway, count):
    routes = (
        s.route("agent-logs", ("agent", "gateway", "loki"), FAIL, Reason.SILENT_LOSS, lost=count),
        direct(),
    )
    hops = {hop: _state(hop, health) for hop, health in (("agent", agent), ("gateway", gateway))}
    (finding,) = localise(Inputs(routes, hops, OK))
    assert finding.confidence in {Confidence.LOW, Confidence.NONE}


def test_a_store_that_loses_from_every_route_is_named_on_every_route():
    """One fault explains both: what the straight route proves is likely for the one beside it."""
    beside = direct(FAIL, Reason.SILENT_LOSS, lost=6, of=6)
    found = find(lost(), beside)
    assert {finding.hop for finding in found.values()} == {"loki"}
    (gateway_route,) = (one for name, one in found.items() if name != "direct-logs")
    assert gateway_route.confidence is Confidence.MEDIUM
    assert "direct-logs loses as much" in " ".join(gateway_route.evidence)


def test_a_small_loss_at_the_store_does_not_explain_a_great_one_before_it():
    """One in six there, six in six here: the gateway stays a candidate."""
    found = find(lost(), direct(FAIL, Reason.SILENT_LOSS, lost=1, of=6, ok_of=5))
    (gateway_route,) = (one for name, one in found.items() if name != "direct-logs")
    assert gateway_route.hop == ""


def test_two_ways_into_one_hop_fail_apart():
    """What enters the agent by OTLP arrives, what it should tail does not: its tail is suspect."""
    tailed = s.route(
        "file-logs", ("agent", "loki"), FAIL, Reason.SILENT_LOSS, of=6, lost=6, ok_of=0, by="file"
    )
    posted = s.route("agent-logs", ("agent", "loki"), of=6, ok_of=6, by="otlp_http")
    hops = {"agent": s.state(GREEN, hop="agent")}
    (found,) = localise(Inputs((tailed, posted), hops, None))
    assert (found.hop, found.confidence) == ("agent", Confidence.MEDIUM)
    assert "the way into agent by file" in " ".join(found.evidence)
