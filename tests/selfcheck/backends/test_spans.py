"""Trace ids are held whole, whatever form a store shows them in."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.reason import Reason
from selfcheck.backends.http import ReadError
from selfcheck.backends.sightings import Record
from selfcheck.backends.spans import (
    Span,
    canary_ids,
    otlp_attributes,
    otlp_spans,
    otlp_types,
    part,
    span_id,
    whole_id,
)

IDS = st.binary(min_size=16, max_size=16)


@given(IDS)
def test_an_id_is_the_same_in_hex_in_base64_and_without_its_leading_zeros(raw):
    whole = raw.hex()
    assert whole_id(whole) == whole
    assert whole_id(whole.upper()) == whole
    assert whole_id(base64.b64encode(raw).decode()) == whole
    assert whole_id(whole.lstrip("0") or "0") == whole


@given(IDS, IDS)
def test_two_ids_are_never_taken_for_one(one, other):
    assert (whole_id(one.hex().lstrip("0") or "0") == whole_id(other.hex())) == (one == other)


def test_a_half_of_zeros_is_a_part_of_the_id():
    assert whole_id("1" * 16) == "0" * 16 + "1" * 16
    assert whole_id("1" * 16 + "0" * 16) == "1" * 16 + "0" * 16
    assert whole_id("1" * 16 + "0" * 16) != whole_id("1" * 16)


@pytest.mark.parametrize("shown", ["", "x1", "0x12", "1" * 33, "==", "AAAA==", "é", "12 34", "-1"])
def test_what_is_no_id_is_refused(shown):
    with pytest.raises(ReadError) as caught:
        whole_id(shown)
    assert caught.value.reason is Reason.BACKEND_PROTOCOL


def test_spans_of_another_trace_do_not_belong_to_it():
    record = Record("cm-1", 1, None, None, {})
    spans = [Span("a" * 32, "s", record), Span("0" * 16 + "a" * 16, "s", record)]
    assert canary_ids(spans, "a" * 32) == ["cm-1"]
    assert canary_ids(spans, "a" * 31 + "b") == []


def test_what_an_encoder_leaves_out_is_nothing_and_what_identifies_a_span_is_not():
    span = {"traceId": "01" * 16, "startTimeUnixNano": "1795264408565915853"}
    (found,) = otlp_spans([{"scopeSpans": [{"spans": [span]}]}])
    assert (found.trace_id, found.service) == ("01" * 16, "")
    assert found.record == Record("", 1795264408565915853, None, None, {}, found.record.fields)
    assert found.record.fields["span_name"] == found.record.fields["span_id"] == ""
    assert (found.record.fields["span_kind"], found.record.fields["span_status"]) == (
        "internal",
        "unset",
    )
    assert otlp_spans(None) == otlp_spans([{}]) == otlp_spans([{"scopeSpans": [{}]}]) == []
    for missing in ("traceId", "startTimeUnixNano"):
        with pytest.raises(ReadError):
            otlp_spans([{"scopeSpans": [{"spans": [{**span, missing: None}]}]}])


@given(st.binary(min_size=8, max_size=8))
def test_a_span_id_is_the_same_in_every_form_and_none_is_nothing(raw):
    whole = raw.hex() if any(raw) else ""
    for shown in (raw.hex(), raw.hex().upper(), raw.hex().lstrip("0")):
        assert span_id(shown) == whole
    assert span_id(base64.b64encode(raw).decode()) == whole
    assert span_id(None) == ""


def test_types_are_told_of_what_is_no_text():
    pairs = [
        {"key": "s", "value": {"stringValue": "1"}},
        {"key": "i", "value": {"intValue": "1"}},
        {"key": "b", "value": {"boolValue": True}},
        {"key": "none"},
    ]
    assert otlp_types(pairs) == {"type of i": "int", "type of b": "bool"}


def test_attributes_are_text_and_a_number_keeps_its_spelling():
    pairs = [
        {"key": "s", "value": {"stringValue": "x"}},
        {"key": "i", "value": {"intValue": "9007199254740993"}},
        {"key": "b", "value": {"boolValue": True}},
        {"key": "none"},
        {"key": "empty", "value": {}},
    ]
    told = {"s": "x", "i": "9007199254740993", "b": "true", "none": "", "empty": ""}
    assert otlp_attributes(pairs) == told
    with pytest.raises(ReadError):
        otlp_attributes([{"key": "s", "value": "x"}])
    with pytest.raises(ReadError):
        part(["s"], "s")
