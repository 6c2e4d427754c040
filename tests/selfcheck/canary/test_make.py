"""Canaries: their parts follow from their ids, and no two canaries meet."""

from hypothesis import given
from hypothesis import strategies as st

from selfcheck.canary.make import make_beat, make_canary, make_id, trace_id
from selfcheck.canary.model import CanaryKey, Signal

KEYS = st.builds(
    CanaryKey,
    st.from_regex(r"[a-z0-9][a-z0-9._-]{0,62}", fullmatch=True),
    st.integers(1, 2**52),
    st.integers(1, 10**9),
)


def made(key, signal=Signal.LOGS, **more):
    return make_canary("0a1b2c3d", "all", key, 7, signal, 1_700_000_000_123_456_789, "svc", **more)


@given(KEYS)
def test_everything_is_a_function_of_the_id(key):
    one, two = made(key), made(key)
    assert one == two
    assert one.canary_id in one.body
    assert len(one.body.encode()) == 100
    assert one.value == key.seq
    assert one.service_instance == "coalmine-0a1b2c3d"
    assert one.attributes == {
        "canary.id": one.canary_id,
        "canary.keep": "true",
        "canary.text": "Grüße-日本🐤",
        "coalmine.route": key.route,
        "coalmine.seq": str(key.seq),
    }


@given(KEYS, KEYS)
def test_no_id_begins_another(one, two):
    if one != two:
        assert not make_id("0a1b2c3d", two).startswith(make_id("0a1b2c3d", one))


def test_a_metric_is_a_constant_series_in_whole_seconds():
    canary = made(CanaryKey("m", 1, 9), Signal.METRICS)
    assert canary.stamp_ns == 1_700_000_000_000_000_000
    assert canary.attributes == {
        "service.name": "svc",
        "coalmine.instance": "0a1b2c3d",
        "coalmine.route": "m",
    }


def test_the_routes_of_one_beat_share_a_trace_and_nothing_else_does():
    ids = {
        trace_id(instance, epoch, group, beat)
        for instance in ("a", "b")
        for epoch in (1, 11)
        for group in ("g", "1g")
        for beat in range(50)
    }
    assert len(ids) == 400
    assert all(len(one) == 16 for one in ids)
    log, trace = made(CanaryKey("l", 1, 1)), made(CanaryKey("t", 1, 5), Signal.TRACES)
    assert log.trace_id == trace.trace_id
    assert log.span_id != trace.span_id


def test_trace_ids_have_no_structured_bits():
    ones = [0] * 128
    for beat in range(4000):
        number = int.from_bytes(trace_id("0a1b2c3d", 1, "all", beat))
        for bit in range(128):
            ones[bit] += number >> bit & 1
    assert min(ones) > 1750
    assert max(ones) < 2250


def test_a_beat_is_an_interval():
    assert make_beat(19_999_999_999, 10) == 1
    assert make_beat(20_000_000_000, 10) == 2


def test_a_canary_of_a_sampled_route_does_not_ask_to_be_kept():
    assert "canary.keep" not in made(CanaryKey("l", 1, 1), keep=False).attributes
