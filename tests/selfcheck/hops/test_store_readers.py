"""The stores' own counters as recorded from real servers, and what a finding makes of them."""

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.kinds import Parts
from core.outbound.protocol import Response, Trouble
from core.reason import Reason
from core.verdict import Verdict
from selfcheck.canary.model import Outcome, Signal
from selfcheck.hops.balance import hop_balance
from selfcheck.hops.evidence import Inputs
from selfcheck.hops.finding import Cause, Confidence, Finding
from selfcheck.hops.increase import Window
from selfcheck.hops.localise import localise
from selfcheck.hops.policy import explain_drops
from selfcheck.hops.protocol import HOP_READERS, Direction, Meter
from selfcheck.hops.stores import (
    CORTEX,
    LOKI,
    PROMETHEUS,
    VICTORIAMETRICS,
    StoreNames,
    parse,
)
from tests.selfcheck.hops import scrapes as s
from tests.selfcheck.hops.test_otelcol_reader import CannedOutbound
from tests.selfcheck.hops.test_policy_evidence import window
from tests.support.clock import VirtualClock

RECORDED = Path(__file__).parent / "recorded"
KINDS = {
    "loki": ("loki-3.7.8-discards", LOKI),
    "prometheus": ("prometheus-3.14.0-discards", PROMETHEUS),
    "cortex": ("cortex-1.21.1-discards", CORTEX),
    "victoriametrics": ("victoria-metrics-1.150.0-discards", VICTORIAMETRICS),
}
METRICS = Signal.METRICS
FAIL = Verdict.FAIL
DIRECT = ("send", "loki", "read")

TAKEN = Meter("store", "received", Direction.IN, s.LOGS)
TOO_LONG = Meter("store", "line_too_long", Direction.DROPPED, s.LOGS)
TOO_FAST = Meter("store", "rate_limited", Direction.DROPPED, s.LOGS)
BLOCKED = Meter("store", "blocked_ingestion", Direction.INTENDED, s.LOGS)
PASSING = {s.RECEIVED: 100, s.SENT: 100}


def recorded(name: str) -> str:
    return (RECORDED / f"{name}.txt").read_text()


def by_reason(name: str, names: StoreNames, direction=Direction.DROPPED, tenant: str = ""):
    meters = parse(recorded(name), names, tenant).meters
    return {m.component_id: v for m, v in meters.items() if m.direction is direction and v}


def reader(kind: str, answer: Response | Trouble, **options: str):
    made = HOP_READERS.load(kind)
    given_ = made.options_model.model_validate({"metrics": "http://127.0.0.1:9/metrics", **options})
    outbound = CannedOutbound(answer)
    parts = Parts(outbound, VirtualClock(), random.Random(1), Path(), Path(), "i", "n")
    return made.build(given_, parts, "store")


def page(text: str, status: int = 200) -> Response:
    return Response(status, (), text.encode(), (), 0.01)


def test_loki_tells_what_it_discarded_by_reason_and_tenant():
    assert by_reason("loki-3.7.8-discards", LOKI) == {
        "greater_than_max_sample_age": 2,
        "line_too_long": 1,
        "rate_limited": 40,
        "too_far_behind": 1,
        "too_far_in_future": 1,
    }
    ours = by_reason("loki-3.7.8-discards", LOKI, tenant="team-b")
    assert ours == {"greater_than_max_sample_age": 1}
    taken = by_reason("loki-3.7.8-discards", LOKI, Direction.IN, tenant="team-a")
    assert taken == {"received": 45}


def test_victoriametrics_tells_the_rows_that_it_ignored():
    assert by_reason("victoria-metrics-1.150.0-discards", VICTORIAMETRICS) == {
        "big_timestamp": 2,
        "small_timestamp": 2,
        "too_long_label_value": 1,
        "too_many_labels": 1,
    }
    taken = by_reason("victoria-metrics-1.150.0-discards", VICTORIAMETRICS, Direction.IN)
    assert taken == {"received": 9}


def test_prometheus_tells_the_samples_that_came_too_late():
    assert by_reason("prometheus-3.14.0-discards", PROMETHEUS) == {"too_old": 2}
    taken = by_reason("prometheus-3.14.0-discards", PROMETHEUS, Direction.IN)
    assert taken == {"received": 3}


def test_cortex_tells_its_reasons_with_dashes_or_underscores_alike():
    assert by_reason("cortex-1.21.1-discards", CORTEX) == {"sample_too_old": 2}
    assert by_reason("cortex-1.21.1-discards", CORTEX, Direction.IN, "team-a") == {"received": 7}


def test_a_limit_is_never_intent_and_a_rule_of_the_operators_is():
    for name, names in KINDS.values():
        assert not by_reason(name, names, Direction.INTENDED)
    relabelled = by_reason("victoria-metrics-1.150.0-relabel", VICTORIAMETRICS, Direction.INTENDED)
    assert relabelled == {"relabel": 3}
    blocked = by_reason("loki-3.7.8-blocked", LOKI, Direction.INTENDED, "team-a")
    assert blocked == {"blocked_ingestion": 4}


def test_the_block_of_some_tenant_is_no_intent_for_ours():
    assert not by_reason("loki-3.7.8-blocked", LOKI, Direction.INTENDED)
    assert by_reason("loki-3.7.8-blocked", LOKI)["blocked_ingestion"] == 4
    assert not by_reason("loki-3.7.8-blocked", LOKI, Direction.INTENDED, "team-b")


@pytest.mark.parametrize("kind", KINDS)
async def test_each_kind_reads_its_recorded_page_and_knows_when_the_process_began(kind):
    counters = await reader(kind, page(recorded(KINDS[kind][0]))).read(5.0)
    assert counters.reachable
    assert not counters.unread
    assert counters.started_s is not None
    assert {meter.component for meter in counters.meters} == {"store"}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_page_of_something_else_is_unread(kind):
    for text in ("<html>log in</html>", "", "go_goroutines 3\nprocess_start_time_seconds 1\n"):
        counters = await reader(kind, page(text)).read(5.0)
        assert counters.unread
        assert counters.reason is Reason.BACKEND_PROTOCOL
    refused = await reader(kind, page("", 404)).read(5.0)
    assert (refused.reachable, refused.reason) == (True, Reason.STATUS)


@pytest.mark.parametrize("bad", ["NaN", "+Inf", "-1"])
def test_a_count_that_is_none_makes_the_page_unread(bad):
    text = recorded("victoria-metrics-1.150.0-discards")
    broken = text.replace('reason="too_many_labels"} 1', f'reason="too_many_labels"}} {bad}')
    (told,) = parse(broken, VICTORIAMETRICS).unread
    assert told.startswith("series vm_rows_ignored_total says ")


def store(growth, hop="loki"):
    return s.state(growth, hop=hop)


def find(*routes, hops=()) -> dict[str, Finding]:
    inputs = Inputs(routes, {state.hop: state for state in hops}, Verdict.OK)
    return {finding.route: finding for finding in localise(inputs)}


def lost(**given_):
    return s.route(verdict=FAIL, reason=Reason.SILENT_LOSS, lost=6, **given_)


def direct(verdict=Verdict.OK, reason=Reason.OK, **given_):
    return s.route("direct-logs", DIRECT, verdict, reason, **given_)


def test_a_reason_that_first_shows_with_the_first_discard_is_counted_from_zero():
    scrapes = [s.scrape(10.0 * i, {TAKEN: 10.0 * i}, hop="loki", started=-100.0) for i in range(4)]
    late = s.scrape(40, {TAKEN: 40, TOO_LONG: 12}, hop="loki", started=-100.0)
    balance = hop_balance("loki", s.LOGS, Window((*scrapes, late)))
    assert (balance.came_in, balance.dropped_by) == (40, {"line_too_long": 12})
    assert balance.evidence == ("loki discarded 12: line_too_long",)
    assert balance.loss is None
    assert not balance.unread


def test_signals_that_a_store_does_not_keep_have_no_figures_and_no_complaint():
    balance = hop_balance("loki", METRICS, s.steady({TAKEN: 5, TOO_LONG: 1}, hop="loki"))
    assert (balance.came_in, balance.dropped, balance.unread) == (None, None, ())


def test_a_store_that_discards_is_named_with_reason_and_count():
    finding = find(lost(), hops=[s.state(PASSING), store({TAKEN: 10, TOO_LONG: 3, TOO_FAST: 5})])[
        "gw-logs"
    ]
    assert (finding.hop, finding.cause, finding.end) == ("loki", Cause.DROPPED, "read")
    # No route clears the gateway: the counter alone says that it is the store.
    assert finding.confidence is Confidence.MEDIUM
    assert finding.evidence == (
        "loki discarded 25: rate_limited",
        "loki discarded 15: line_too_long",
    )


def test_counters_and_canaries_together_are_high():
    finding = find(direct(FAIL, Reason.SILENT_LOSS, lost=6), hops=[store({TAKEN: 9, TOO_LONG: 2})])
    assert finding["direct-logs"].hop == "loki"
    assert finding["direct-logs"].confidence is Confidence.HIGH


def test_discards_that_explain_less_than_half_name_nothing_surely():
    counted = store({TAKEN: 9, TOO_LONG: 0.4})
    finding = find(lost(), hops=[s.state(PASSING), counted])["gw-logs"]
    assert finding.confidence is Confidence.LOW


def test_a_gateway_that_is_refused_by_the_store_is_not_the_culprit():
    failing = s.state({s.RECEIVED: 10, s.SENT: 8, s.FAILED: 2})
    finding = find(lost(), hops=[failing, store({TAKEN: 10, TOO_LONG: 2})])["gw-logs"]
    assert (finding.hop, finding.cause) == ("loki", Cause.DROPPED)
    assert finding.evidence[0] == "loki discarded 10: line_too_long"
    assert "gateway: exporter otlp_http failed to send 10" in finding.evidence


@pytest.mark.parametrize(("meter", "hop"), [(TOO_FAST, "loki"), (TOO_LONG, "gateway")])
def test_only_a_rate_limit_explains_a_queue_that_holds(meter, hop):
    held = s.state({s.RECEIVED: 100, s.SENT: 0, s.QUEUE: 2, s.CAPACITY: 1000})
    finding = find(lost(), hops=[held, store({TAKEN: 10, meter: 2})])["gw-logs"]
    assert finding.hop == hop
    assert finding.cause is (Cause.DROPPED if hop == "loki" else Cause.HELD)
    assert f"loki discarded 10: {meter.component_id}" in finding.evidence


def test_healthy_canaries_clear_the_store_and_its_counter_is_told_beside():
    discarding = store({TAKEN: 10, TOO_LONG: 2})
    finding = find(lost(), direct(), hops=[s.state(PASSING), discarding])["gw-logs"]
    assert (finding.hop, finding.cause) == ("gateway", Cause.SILENT_LOSS)
    assert finding.evidence[-1] == "loki discarded 10: line_too_long"


def test_a_store_that_refuses_says_why():
    refused = direct(FAIL, Reason.INJECT, rejected=6)
    found = find(lost(), refused, hops=[s.state(PASSING), store({TAKEN: 10, TOO_LONG: 2})])
    assert {(one.hop, one.cause) for one in found.values()} == {("loki", Cause.INGEST)}
    assert found["direct-logs"].confidence is Confidence.HIGH
    assert all("loki discarded 10: line_too_long" in one.evidence for one in found.values())


def test_a_rule_of_the_stores_is_policy_and_a_declared_drop_needs_no_word_of_it():
    blocking = store({TAKEN: 10, BLOCKED: 2})
    undeclared = s.route(verdict=FAIL, reason=Reason.POLICY, policy_dropped=6)
    finding = find(undeclared, hops=[s.state(PASSING), blocking])["gw-logs"]
    assert (finding.hop, finding.cause) == ("loki", Cause.POLICY)
    assert finding.evidence == ("loki dropped 10 on purpose: blocked_ingestion",)
    assert not find(s.route(policy_dropped=5, drop_declared=True), hops=[blocking])


def test_a_limit_never_makes_a_lost_canary_a_policy_drop_and_a_rule_does():
    rows = window(6, 0)
    blocked = hop_balance("loki", s.LOGS, s.steady({TAKEN: 10, BLOCKED: 2}, hop="loki"))
    limited = hop_balance("loki", s.LOGS, s.steady({TAKEN: 10, TOO_LONG: 2}, hop="loki"))
    filtered = hop_balance("gateway", s.LOGS, s.steady({s.RECEIVED: 9, s.SENT: 0, s.FILTERED: 9}))
    assert len(explain_drops(rows, [blocked])) == 6
    assert explain_drops(rows, [limited]) == ()
    assert len(explain_drops(rows, [filtered])) == 6
    assert explain_drops(rows, [filtered, limited]) == ()
    assert all(row.outcome is Outcome.LOST for row in rows)


@given(
    limits=st.dictionaries(
        st.sampled_from(["rate_limited", "line_too_long", "too_far_behind"]), st.integers(0, 50)
    ),
    healthy=st.booleans(),
    rejected=st.booleans(),
)
def test_a_limit_is_never_called_policy_nor_high_without_canaries(limits, healthy, rejected):
    growth = {Meter("store", why, Direction.DROPPED, s.LOGS): n for why, n in limits.items()}
    routes = [lost()]
    if healthy:
        routes.append(direct())
    elif rejected:
        routes.append(direct(FAIL, Reason.INJECT, rejected=6))
    finding = find(*routes, hops=[s.state(PASSING), store({TAKEN: 10, **growth})])["gw-logs"]
    assert finding.cause is not Cause.POLICY
    assert finding.confidence is not Confidence.HIGH
    assert not (healthy and finding.hop == "loki")
    moved = {f"loki discarded {5 * n}: {why}" for why, n in limits.items() if n}
    assert moved <= set(finding.evidence)
