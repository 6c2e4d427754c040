"""`/metrics`: every family is there, what is not known is absent, and counters begin at zero."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from core.verdict import Verdict
from probes.protocol import PROBES
from scheduler.export.catalogue import METRICS, fact_specs
from scheduler.export.points import Internals, Point, points
from scheduler.export.prometheus import exposition
from scheduler.readmodel import BalanceRow, CostRow, RecheckRow, SourceRow, VitalLine, VolumeRow
from tests.support.clock import VirtualClock
from tests.support.envelopes import FixedModel, board, check, route

INTERNALS = Internals(
    reload_ok=True, results_dropped=0, samples_shed=0, leaked_tasks=0, pages_unaccepted=0,
    outbox_oldest_age_s=0.0, page_dwell_s=None, attempts={}, loop_lag_s={"probing": 0.01},
)  # fmt: skip
FACTS = check().facts
AGAIN = RecheckRow("1h", 3, {"ok": 2, "lost": 1}, balanced=True)
VOLUME = VolumeRow("store", 300, 2, 4200, 17)


def scraped(shown, internals=INTERNALS):
    """Families of one scrape by name; a name that is there twice is an error of ours."""
    text = exposition(FixedModel(shown), lambda: internals)().decode()
    families = list(text_string_to_metric_families(text))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    return {family.name: family for family in families}


def samples(shown, name, internals=INTERNALS):
    """Values of one series name, by label values in the order of the catalogue."""
    order = {spec.name: spec.labels for spec in METRICS}.get(name, ("check",))
    family = scraped(shown, internals).get(name.removesuffix("_total"))
    found = [] if family is None else [one for one in family.samples if one.name == name]
    return {tuple(one.labels[label] for label in order): one.value for one in found}


@pytest.fixture
def clock():
    return VirtualClock()


def test_every_family_of_the_catalogue_is_there_on_an_empty_board(clock):
    families = scraped(board(clock))
    for spec in METRICS:
        family = families[spec.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (spec.type, spec.help)


def test_every_point_fits_its_family(clock):
    labels = {spec.name: len(spec.labels) for spec in METRICS}
    shown = board(
        clock, checks=(check(account={"ok": 1}),),
        routes=(route(delay_p50_s=1.0, rechecks=(AGAIN,), volume=VOLUME),),
        balance=(BalanceRow("gw", "logs", 1, 1, 0, 0, 0, 0, "", 1.0),),
        sources=(SourceRow("shop", "store", Verdict.OK, "ok", "", 2.0),),
        vitals=(VitalLine("paging", Verdict.OK, 0.1, ""),),
        costs=(cost("1.5"), cost("0.1", own="loki")),
    )  # fmt: skip
    internals = Internals(True, 1, 2, 3, 4, 5.0, 6.0, {("pager", "accepted"): 7}, {"probing": 0.0})
    told = list(points(shown, internals))
    assert [one for one in told if len(one.labels) != labels[one.name]] == []
    unpriced = {"coalmine_cost_unpriced", "coalmine_canary_cost_unpriced"}
    assert {one.name for one in told} == set(labels) - unpriced
    assert len({(one.name, one.labels) for one in told}) == len(told)


def test_counters_are_there_at_zero_for_every_configured_route(clock):
    shown = board(clock, routes=(route("a"), route("b")))
    assert samples(shown, "coalmine_canary_sent_total") == {("a", "logs"): 0, ("b", "logs"): 0}
    assert samples(shown, "coalmine_canary_state")["a", "logs", "lost"] == 0
    assert samples(shown, "coalmine_results_dropped_total") == {(): 0}
    assert samples(shown, "coalmine_samples_shed_total") == {(): 0}


@pytest.mark.parametrize(
    ("verdict", "value"), [(Verdict.OK, 1), (Verdict.DEGRADED, 1), (Verdict.FAIL, 0)]
)
def test_probe_success_is_one_unless_it_failed(verdict, value, clock):
    shown = board(clock, checks=(check("shop", verdict),))
    assert samples(shown, "probe_success") == {("shop",): value}


def test_probe_success_is_absent_when_blind(clock):
    shown = board(clock, checks=(check("shop", Verdict.BLIND, was=Verdict.OK), check("up")))
    assert samples(shown, "probe_success") == {("up",): 1}


def test_exactly_one_verdict_of_a_check_is_one(clock):
    shown = board(clock, checks=(check("shop", Verdict.BLIND),))
    told = samples(shown, "coalmine_check_verdict")
    assert {labels[2]: value for labels, value in told.items()} == {
        "ok": 0,
        "degraded": 0,
        "fail": 0,
        "blind": 1,
    }


def test_a_check_without_a_result_has_no_age_and_no_duration(clock):
    shown = board(clock, checks=(check("new", Verdict.BLIND, age_s=None, last_s=None, facts={}),))
    for name in ("age", "duration", "late", "loop_lag"):
        assert samples(shown, f"coalmine_check_{name}_seconds") == {}
    assert samples(shown, "coalmine_check_last_ok_timestamp_seconds") == {("new", "http"): 0}


def test_a_hop_counter_that_could_not_be_read_is_absent_and_a_zero_is_a_zero(clock):
    row = BalanceRow("gw", "logs", 10, None, None, None, 0, None, "", 60.0)
    told = samples(board(clock, balance=(row,)), "coalmine_hop_items")
    assert told == {("gw", "logs", "in"): 10, ("gw", "logs", "dropped"): 0}


def test_a_delay_or_an_age_that_is_not_known_is_absent(clock):
    source = SourceRow("shop", "store", Verdict.BLIND, "starting", "", None)
    shown = board(clock, routes=(route(delay_p50_s=0.5),), sources=(source,))
    assert samples(shown, "coalmine_canary_delay_seconds") == {("logs", "logs", "0.5"): 0.5}
    assert samples(shown, "coalmine_source_newest_age_seconds") == {}
    assert samples(board(clock), "coalmine_page_dwell_seconds") == {}


def cost(hour, own=""):
    return CostRow(
        meter="ingest", signal="logs", book="builtin", point="", grade="measured", unit="GB",
        quantity_hour=1.0, per_gb=hour, hour=hour, to_date=hour, low=hour, likely=hour, high=hour,
        currency="USD", note="", own=own,
    )  # fmt: skip


def test_an_unpriced_meter_says_so_and_has_no_price(clock):
    unpriced = board(clock, costs=(cost(None),))
    assert samples(unpriced, "coalmine_cost_unpriced") == {("logs", "ingest", "builtin"): 1}
    assert samples(unpriced, "coalmine_cost_hour") == {}
    who = ("logs", "ingest", "builtin", "USD", "measured")
    assert samples(board(clock, costs=(cost("0.0012"),)), "coalmine_cost_hour") == {who: 0.0012}


def test_what_our_own_canaries_cost_is_never_summed_with_what_hops_measure(clock):
    """The hops count canaries too."""
    costs = (cost("1.5"), cost("0.1", own="loki"), cost("0.2", own="tempo"), cost(None, own="s3"))
    shown = board(clock, costs=costs)
    real = ("logs", "ingest", "builtin", "USD", "measured")
    assert samples(shown, "coalmine_cost_hour") == {real: 1.5}
    assert samples(shown, "coalmine_cost_unpriced") == {}
    assert samples(shown, "coalmine_canary_cost_hour") == {
        ("loki", "logs", "builtin", "USD", "measured"): 0.1,
        ("tempo", "logs", "builtin", "USD", "measured"): 0.2,
    }
    assert samples(shown, "coalmine_canary_cost_unpriced") == {("s3", "logs", "builtin"): 1}


def test_our_own_volume_is_counted_by_route_and_backend_where_it_is_known(clock):
    shown = board(clock, routes=(route("a", volume=VOLUME), route("b")))
    assert samples(shown, "coalmine_canary_bytes_total") == {("a", "logs", "store"): 4200}
    assert samples(shown, "coalmine_canary_reads_total") == {("a", "logs", "store"): 17}


def test_facts_of_probes_are_gauges_with_the_names_of_the_blackbox_exporter(clock):
    facts = dict.fromkeys((spec.name for spec in fact_specs()), 2.0)
    families = scraped(board(clock, checks=(check(facts={**FACTS, **facts}),)))
    for spec in fact_specs():
        assert families[f"coalmine_probe_{spec.name}"].samples[0].value == 2.0
        if spec.alias and "{" not in spec.alias:
            assert families[spec.alias].samples[0].labels == {"check": "shop"}


def test_facts_of_a_stale_check_and_facts_that_are_text_are_absent(clock):
    name = fact_specs()[0].name
    stale = check("old", Verdict.BLIND, was=Verdict.OK, facts={**FACTS, name: 1.0})
    text = check("text", facts={**FACTS, name: "x"})
    assert samples(board(clock, checks=(stale, text)), f"coalmine_probe_{name}") == {}


def test_every_kind_of_probe_declares_units_in_the_names_of_its_facts():
    for kind in PROBES.entries:
        for spec in PROBES.load(kind).facts:
            assert spec.help, (kind, spec.name)
            assert spec.name.isascii()
            assert spec.name == spec.name.lower()


def test_names_and_labels_from_outside_cannot_break_the_text(clock):
    name = 'a"b\\c\nd'
    assert samples(board(clock, checks=(check(name),)), "probe_success") == {(name,): 1}


def test_a_point_is_a_value_of_its_labels():
    assert Point("coalmine_up", (), 1) == Point("coalmine_up", (), 1.0)
