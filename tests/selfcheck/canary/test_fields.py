"""What a record shows beside its body, value and attributes is held against what was sent."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from selfcheck.canary.compare import difference, parts_of
from selfcheck.canary.fields import FIELDS, kind_of, sent_fields, status_of, type_field
from selfcheck.canary.model import Sighting, Signal
from tests.support.canaries import canary_of


def shown(canary, fields) -> Sighting:
    return Sighting(
        canary.canary_id, canary.stamp_ns, 1, None, None, canary.attributes, fields=fields
    )


@pytest.mark.parametrize("signal", list(Signal))
def test_what_was_sent_is_no_difference(signal):
    canary = canary_of(signal)
    assert difference(canary, [shown(canary, sent_fields(canary))]) == ""
    assert difference(canary, [shown(canary, {})]) == ""


@given(st.sampled_from([Signal.LOGS, Signal.TRACES]), st.data())
def test_every_field_that_differs_is_named_and_no_other(signal, data):
    canary = canary_of(signal)
    sent = sent_fields(canary)
    changed = data.draw(st.sets(st.sampled_from(sorted(sent)), min_size=1))
    left_out = data.draw(st.sets(st.sampled_from(sorted(sent)))) - changed
    fields = {
        name: f"{value}~" if name in changed else value
        for name, value in sent.items()
        if name not in left_out
    }
    told = difference(canary, [shown(canary, fields)]).splitlines()
    assert {line.partition(": sent ")[0] for line in told} == changed


def test_a_field_that_was_never_in_a_record_is_not_missed_once_it_is_not_told():
    """An agent that begins to parse the severity: stores tell of its number no more."""
    canary = canary_of(Signal.LOGS)
    before = parts_of(shown(canary, {"severity_text": "", "severity_number": ""}))
    assert difference(canary, [shown(canary, {"severity_text": "INFO"})], before) == ""
    assert "severity_text" in parts_of(shown(canary, {"severity_text": "INFO"}))


def test_a_field_that_is_shown_empty_was_taken_away():
    canary = canary_of(Signal.LOGS)
    told = difference(canary, [shown(canary, {"severity_text": ""})])
    assert told == "severity_text: sent 'INFO', stored ''"


def test_what_a_hop_adds_and_fields_of_other_signals_do_not_count():
    canary = canary_of(Signal.METRICS)
    assert difference(canary, [shown(canary, {"trace_id": "1", "severity_text": "x"})]) == ""
    log = canary_of(Signal.LOGS)
    assert difference(log, [shown(log, {type_field("added.by.a.hop"): "int"})]) == ""


def test_fields_follow_the_canary():
    span = canary_of(Signal.TRACES)
    for name in FIELDS[Signal.TRACES].keys() - {"trace_id", "span_id", "parent_span_id"}:
        other = replace(span, **{name: "x"})
        assert sent_fields(other)[name] == "x"


def test_kinds_and_statuses_are_the_same_by_number_and_by_every_name():
    for name, number in Span.SpanKind.items():
        short = name.removeprefix("SPAN_KIND_").lower()
        wanted = "internal" if short == "unspecified" else short
        assert {kind_of(number), kind_of(name), kind_of(short.title())} == {wanted}
    for name, number in Status.StatusCode.items():
        short = name.removeprefix("STATUS_CODE_").lower()
        assert {status_of(number), status_of(name), status_of(short.title())} == {short}
    assert (kind_of(""), status_of("")) == ("internal", "unset")
    assert (kind_of(9), status_of(-1)) == ("", "")
