"""The pure part of the PromQL stores: what is asked for, and what of an answer is a canary."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.reason import Reason
from selfcheck.backends.http import ReadError
from selfcheck.backends.promql_answer import (
    MS,
    SHOWS,
    SPAN_S,
    Sample,
    Spelling,
    data_of,
    exemplar_traces,
    paired,
    probes,
    records_of,
    result_of,
    samples_of,
    spellings,
    windows,
)
from selfcheck.backends.protocol import Question
from selfcheck.canary.make import make_canary
from selfcheck.canary.model import CanaryKey, Signal
from tests.support.canaries import INSTANCE, SERVICE, canary_of, question_of

SECOND_NS = 10**9
USUAL = {"coalmine_instance": INSTANCE, "coalmine_route": "r1"}
DOTTED = {"coalmine.instance": INSTANCE, "coalmine.route": "r1"}


def stamped_question(seconds):
    canaries = [
        canary_of(Signal.METRICS, n, stamp_ns=at * SECOND_NS) for n, at in enumerate(seconds, 1)
    ]
    return question_of(*canaries)


@given(st.lists(st.integers(10**6, 10**6 + 20 * SPAN_S), min_size=1, max_size=60, unique=True))
def test_every_stamp_lies_in_exactly_one_window_of_a_bounded_length(seconds):
    found = list(windows(stamped_question(seconds), "{}"))
    for at in seconds:
        assert sum(one.start_s <= at <= one.end_s for one in found) == 1
    for one in found:
        assert one.end_s - one.start_s < SPAN_S
        assert {one.start_s, one.end_s} <= set(seconds)
    assert found == sorted(found, key=lambda one: one.start_s)


@given(st.integers(0, 10**6), st.integers(1, 5 * SPAN_S * SECOND_NS))
def test_the_windows_of_what_others_stamp_cover_the_interval_without_a_gap(start_s, length_ns):
    canary = canary_of(Signal.METRICS, stamp_ns=start_s * SECOND_NS)
    end_ns = start_s * SECOND_NS + length_ns
    question = Question(Signal.METRICS, "r1", (canary,), canary.stamp_ns, end_ns, stamped=False)
    found = list(windows(question, "{}"))
    assert found[0].start_s == start_s
    assert found[-1].end_s * SECOND_NS >= end_ns
    for before, after in itertools.pairwise(found):
        assert before.end_s + 1 == after.start_s
        assert before.end_s - before.start_s < SPAN_S


def test_series_are_found_however_they_are_spelt_and_others_are_not():
    question = stamped_question([100])
    series = [
        {"__name__": "coalmine_canary_total", **USUAL},
        {"__name__": "coalmine.canary", **DOTTED},
        {"__name__": "coalmine_canary_total", **USUAL, "replica": "b"},
        {"__name__": "coalmine_canary", **USUAL, "coalmine_route": "r2"},
        {"__name__": "coalmine_canary", **USUAL, "coalmine_instance": "bbbb2222"},
        {"__name__": "shop_orders", **USUAL},
        {"__name__": "route:coalmine_canary:max", **USUAL},
        {**USUAL},
    ]
    found = spellings(series, question)
    assert found == (Spelling("coalmine.canary", True), Spelling("coalmine_canary_total", False))


def test_selectors_quote_what_a_name_may_hold():
    canary = canary_of(Signal.METRICS, route='a"b\\c{}é')
    question = question_of(canary)
    usual = Spelling("coalmine_canary", dotted=False).selector(question)
    assert usual == (
        '{__name__="coalmine_canary",coalmine_instance="ab12cd34",coalmine_route="a\\"b\\\\c{}é"}'
    )
    dotted = Spelling("coalmine.canary", dotted=True).selector(question)
    assert '"coalmine.instance"="ab12cd34"' in dotted
    assert all('"coalmine.route"' not in one for one in probes(question))


def test_a_sample_beside_the_stamp_is_no_canary():
    question = stamped_question([100, 101])
    at = [Sample(100 * SECOND_NS + delta, 1.0, ()) for delta in (-MS, 0, MS)]
    (record,) = records_of(at, question)
    assert (record.canary_id, record.stamp_ns) == (question.canaries[0].canary_id, 100 * SECOND_NS)


def unstamped(seq, stamp_s=100, epoch=7):
    key = CanaryKey("r1", epoch, seq)
    return make_canary(
        INSTANCE, "g", key, seq, Signal.METRICS, stamp_s * SECOND_NS, SERVICE, stamped=False
    )


@given(st.permutations([107_250, 112_250, 117_250]))
def test_of_a_value_that_was_scraped_again_the_first_sample_counts_in_any_order(times_ms):
    canary = unstamped(3)
    question = Question(Signal.METRICS, "r1", (canary,), 0, 200 * SECOND_NS, stamped=False)
    samples = [Sample(at * MS, canary.value, ()) for at in times_ms]
    (record,) = records_of(samples, question)
    assert (record.stamp_ns, record.value) == (107_250 * MS, canary.value)


def test_what_is_older_than_its_canary_or_of_another_value_is_not_it():
    canary, other = unstamped(3), unstamped(4)
    question = Question(Signal.METRICS, "r1", (canary,), 0, 200 * SECOND_NS, stamped=False)
    samples = [
        Sample(99 * SECOND_NS, canary.value, ()),
        Sample(110 * SECOND_NS, other.value, ()),
        Sample(110 * SECOND_NS, unstamped(3, epoch=8).value, ()),
    ]
    assert records_of(samples, question) == []


def test_values_are_paired_with_their_own_times_and_repeated_ones_are_one():
    labels = (("__name__", "coalmine_canary"), ("route", "r"))
    shows = (("route", "r"), (SHOWS, "time"))
    steps = [
        Sample(10 * SECOND_NS, 5.0, labels),
        Sample(11 * SECOND_NS, 5.0, labels),
        Sample(12 * SECOND_NS, 6.0, labels),
        Sample(13 * SECOND_NS, 7.0, labels),
        Sample(10 * SECOND_NS, 9.25, shows),
        Sample(11 * SECOND_NS, 9.25, shows),
        Sample(12 * SECOND_NS, 11.5, shows),
    ]
    assert paired(steps) == [
        Sample(9_250 * MS, 5.0, labels),
        Sample(11_500 * MS, 6.0, labels),
    ]


@pytest.mark.parametrize(
    ("labels", "belongs"),
    [
        ({"canary.id": "own", "trace_id": "aa"}, True),
        ({"canary_id": "own", "traceID": "aa"}, True),
        ({"canary_id": "other", "trace_id": "aa"}, False),
        ({"trace_id": "aa"}, True),
        ({}, False),
    ],
)
def test_an_exemplar_belongs_to_the_sample_of_its_id_or_of_its_time(labels, belongs):
    canary = canary_of(Signal.METRICS, 3, stamp_ns=100 * SECOND_NS)
    named = {k: canary.canary_id if v == "own" else v for k, v in labels.items()}
    exemplar = {"labels": named, "value": "3", "timestamp": 100.0}
    series = [{"seriesLabels": {}, "exemplars": [exemplar]}]
    assert exemplar_traces(series, canary) == (["aa"] if belongs else [])
    moved = [{"exemplars": [{**exemplar, "timestamp": 101.0}]}]
    by_id = belongs and bool(named.keys() & {"canary.id", "canary_id"})
    assert exemplar_traces(moved, canary) == (["aa"] if by_id else [])


@pytest.mark.parametrize(
    "more", [{"warnings": ["a store is missing"]}, {"isPartial": True}, {"status": "error"}]
)
def test_an_answer_that_may_be_partial_is_a_read_error(more):
    answer = {"status": "success", "data": {"resultType": "vector", "result": []}}
    assert data_of({**answer, "infos": ["PromQL info"], "warnings": [], "isPartial": False})
    with pytest.raises(ReadError) as caught:
        data_of({**answer, **more})
    assert caught.value.reason is Reason.READBACK


def test_infinite_values_are_shown_and_those_that_are_no_number_are_not():
    values = [[1, "NaN"], [2, "+Inf"], [3, "-Inf"], [4, "Infinity"], [5, None], [6, "7"]]
    found = samples_of([{"metric": {}, "values": values}])
    assert [one.value for one in found] == [math.inf, -math.inf, math.inf, 7.0]
    shows = Sample(found[0].stamp_ns, math.inf, ((SHOWS, "time"),))
    assert paired([*found, shows]) == []


def test_results_of_another_type_and_samples_that_are_no_pairs_are_read_errors():
    with pytest.raises(ReadError):
        result_of({"resultType": "vector", "result": []}, "matrix")
    for values in ([[1]], [[1, "2", 3]], [[1, "nan"]], [[1, []]], [["x", "1"]], 7):
        with pytest.raises(ReadError):
            samples_of([{"metric": {}, "values": values}])
