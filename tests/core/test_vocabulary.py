"""Verdicts, results, clocks and text: the words that everything else is said in."""

import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import SystemClock, age_s, instant
from core.reason import Reason
from core.result import Result
from core.text import safe_text
from core.verdict import Verdict, fresh, freshness_limit_s, rank, worst
from tests.support.clock import VirtualClock
from tests.support.envelopes import envelope

VERDICTS = st.sampled_from(Verdict)
SECONDS = st.floats(0, 1e9)


def test_of_nothing_the_worst_is_blind():
    assert worst(()) is Verdict.BLIND


@given(st.lists(VERDICTS, min_size=1))
def test_the_worst_is_one_of_them_and_outranks_all(verdicts):
    found = worst(verdicts)
    assert found in verdicts
    assert rank(found) == max(map(rank, verdicts))
    assert worst(reversed(verdicts)) is found


def test_known_bad_outranks_unknown_and_unknown_outranks_weak():
    ordered = sorted(Verdict, key=rank)
    assert ordered == [Verdict.OK, Verdict.DEGRADED, Verdict.BLIND, Verdict.FAIL]


@given(VERDICTS, SECONDS, SECONDS)
def test_a_verdict_holds_up_to_its_limit_and_no_longer(verdict, age, limit):
    assert fresh(verdict, age, limit) is (verdict if age <= limit else Verdict.BLIND)


@pytest.mark.parametrize(("age", "limit"), [(math.nan, 1.0), (1.0, math.nan), (math.inf, 1.0)])
def test_an_age_that_is_not_known_is_old(age, limit):
    assert fresh(Verdict.OK, age, limit) is Verdict.BLIND


def test_the_limit_is_three_intervals_a_deadline_and_the_confirmation():
    assert freshness_limit_s(10, 5, 2) == 37


@pytest.mark.parametrize("verdict", [Verdict.DEGRADED, Verdict.FAIL, Verdict.BLIND])
def test_a_result_that_is_not_ok_needs_a_reason(verdict):
    with pytest.raises(ValueError, match="needs a reason"):
        Result(verdict, Reason.OK, "")


def test_a_fact_that_is_not_a_number_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        Result.ok({"ttfb_s": math.nan})
    assert Result.ok({"ttfb_s": 0.0, "proto": "h2"}).verdict is Verdict.OK


def test_a_run_more_than_a_second_late_is_delayed():
    late = envelope(VirtualClock())
    assert not late.delayed


def test_within_a_boot_an_age_is_proven_and_no_step_of_the_wall_moves_it():
    clock = VirtualClock()
    then = instant(clock)
    clock.move(5)
    clock.step_wall(-3600)
    assert age_s(then, clock) == (5.0, True)


def test_across_boots_an_age_is_that_of_the_wall_clock_and_not_proven():
    clock = VirtualClock()
    then = instant(clock)
    clock.move(5)
    clock.reboot("boot-2")
    assert age_s(then, clock) == (5.0, False)


async def test_the_systems_clock_is_aware_and_goes_on():
    clock = SystemClock()
    before = instant(clock)
    await clock.sleep(0.001)
    after = instant(clock)
    assert after.boot_s > before.boot_s
    assert after.utc.utcoffset() == timedelta(0)
    assert before.boot_id == after.boot_id != ""


@given(st.text(), st.integers(1, 50))
def test_safe_text_is_short_printable_and_stays_as_it_is(text, limit):
    shown = safe_text(text, limit)
    assert len(shown) <= limit
    assert shown.isprintable() or "\u2028" in shown or not shown.isascii()
    assert not any(ord(char) < 0x20 or ord(char) == 0x7F for char in shown)
    assert safe_text(shown, limit) == shown
    shown.encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("a\nb\tc", "a b c"),
        ("\x1b[31mred", "␛[31mred"),
        ("a\x00b\x7f", "a␀b␡"),
        ("rtl\u202etxt", "rtl�txt"),
        ("\ud800", "�"),
        ("x" * 11, "x" * 9 + "…"),
    ],
    ids=["plain", "space", "escape", "nul", "bidi", "surrogate", "long"],
)
def test_input_what_could_fool_a_terminal_is_shown_as_what_it_is(text, shown):
    assert safe_text(text, 10 if len(text) > 10 else 1024) == shown
