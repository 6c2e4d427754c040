"""What remote write puts on the wire: pure, both versions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfcheck.canary.model import Signal
from selfcheck.injectors.remote_write import wire
from tests.support.canaries import canary_of

SEQ = st.integers(min_value=1, max_value=2**53)
EPOCH = st.integers(min_value=1, max_value=2**63)
SERVICE = st.text(min_size=1, max_size=60)


def of_version_1(body):
    (series,) = wire.decode(body, 1).timeseries
    return series, [(one.name, one.value) for one in series.labels], [
        (one.name, one.value) for one in series.exemplars[0].labels
    ]  # fmt: skip


def of_version_2(body):
    sent = wire.decode(body, 2)
    (series,) = sent.timeseries

    def named(refs):
        texts = [sent.symbols[ref] for ref in refs]
        return list(zip(texts[::2], texts[1::2], strict=True))

    return series, named(series.labels_refs), named(series.exemplars[0].labels_refs)


@given(SEQ, EPOCH, SERVICE)
def test_both_versions_say_the_same(seq, epoch, service):
    canary = canary_of(Signal.METRICS, seq, epoch=epoch, service=service)
    one, labels, exemplar = of_version_1(wire.encode(canary, 1))
    two, *rest = of_version_2(wire.encode(canary, 2))
    assert [labels, exemplar] == rest
    assert dict(labels)["service_name"] == service
    for series in (one, two):
        (sample,) = series.samples
        assert (sample.value, sample.timestamp) == (float(seq), canary.stamp_ns // 10**6)
        assert series.exemplars[0].timestamp == sample.timestamp


@given(SEQ, EPOCH)
def test_an_exemplar_is_never_too_long_to_be_kept_and_always_leads_to_the_trace(seq, epoch):
    canary = canary_of(Signal.METRICS, seq, epoch=epoch)
    labels = wire.exemplar_labels(canary)
    assert sum(len(name) + len(value) for name, value in labels.items()) <= wire.EXEMPLAR_RUNES
    assert labels["trace_id"] == canary.trace_id.hex()
    assert labels["span_id"] == canary.span_id.hex()


@pytest.mark.parametrize(("epoch", "held"), [(7, True), (2**63, False)])
def test_the_id_is_in_the_exemplar_where_there_is_room_for_it(epoch, held):
    canary = canary_of(Signal.METRICS, 2**40, epoch=epoch)
    assert ("canary_id" in wire.exemplar_labels(canary)) is held


def test_version_2_tells_type_and_help_and_writes_each_text_once():
    sent = wire.decode(wire.encode(canary_of(Signal.METRICS), 2), 2)
    metadata = sent.timeseries[0].metadata
    assert sent.symbols[0] == ""
    assert len(set(sent.symbols)) == len(sent.symbols)
    assert metadata.type == 2
    assert sent.symbols[metadata.help_ref].startswith("Sequence number")


def test_a_sample_without_a_value_is_not_the_same_as_none():
    """Zero is what protobuf leaves out; it has to come back as zero."""
    canary = canary_of(Signal.METRICS, 0)
    series, *_ = of_version_1(wire.encode(canary, 1))
    assert [sample.value for sample in series.samples] == [0.0]
