"""Declared sampling explains what its band holds, and nothing beyond it."""

from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from math import ceil, comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import Instant
from core.reason import Reason
from selfcheck.canary.book import KEPT_SAMPLED
from selfcheck.canary.make import KEEP
from selfcheck.canary.model import Canary, CanaryKey, LedgerRow, Outcome, Signal
from selfcheck.canary.policy import MOST_DROPPED, ExpectDrop, binomial_band, sampled

NOW = Instant(datetime(2026, 11, 21, tzinfo=UTC), "boot-1", 1000.0)


def row(seq: int, outcome: Outcome) -> LedgerRow:
    key = CanaryKey("r", 1, seq)
    canary = Canary(key, Signal.LOGS, 1, 1, "id", b"t", b"s", "n", "i", "b", 1.0, {})
    return LedgerRow(
        canary, NOW, "u", 60.0, None, outcome, Reason.OK, NOW, None, None, None, None, "", "", ""
    )


def judged(missing: int, arrived: int) -> list[LedgerRow]:
    """So many, well mixed, beginning with a missing one."""
    of = missing + arrived
    gone = [ceil((n + 1) * missing / of) > ceil(n * missing / of) for n in range(of)]
    return [row(n, Outcome.POLICY_DROP if one else Outcome.OK) for n, one in enumerate(gone, 1)]


def test_a_working_declared_sampler_explains_the_next_absence():
    evidence = sampled(row(999, Outcome.PENDING), judged(89, 10), 0.9)
    assert "90 of 100 missing" in evidence


def test_an_absence_beyond_the_band_is_not_explained():
    _, most = binomial_band(200, 0.5)
    assert sampled(row(999, Outcome.PENDING), judged(most - 1, 200 - most), 0.5)
    assert sampled(row(999, Outcome.PENDING), judged(most, 199 - most), 0.5) == ""


def test_the_row_itself_is_counted_once():
    rows = judged(89, 10)
    assert sampled(rows[0], rows, 0.9).startswith("89 of 99 ")


def test_a_canary_that_asked_to_be_kept_is_never_explained():
    asked = row(999, Outcome.PENDING)
    asked = replace(asked, canary=replace(asked.canary, attributes={KEEP: "true"}))
    assert sampled(asked, judged(89, 10), 0.9) == ""


@pytest.mark.parametrize("ratio", [0.0, 0.991, 1.0, -1.0, 1.5, float("nan")])
def test_a_ratio_that_is_no_share_is_refused(ratio):
    with pytest.raises(ValueError, match=r"between 0 and 0\.99"):
        ExpectDrop(ratio, "")


@pytest.mark.parametrize(("ratio", "reason"), [(None, ""), (0.5, "tail sampling")])
def test_a_declaration_of_nothing_or_of_two_things_is_refused(ratio, reason):
    with pytest.raises(ValueError, match="either ratio"):
        ExpectDrop(ratio, reason)


@given(st.integers(0, 120), st.integers(1, 99))
def test_the_band_is_the_widest_whose_tails_stay_within_the_bound(of, percent):
    ratio = Fraction(percent, 100)
    low, high = binomial_band(of, percent / 100)
    mass = [comb(of, k) * ratio**k * (1 - ratio) ** (of - k) for k in range(of + 1)]
    tail = Fraction(1, 2000)
    assert sum(mass[:low]) <= tail
    assert sum(mass[high + 1 :]) <= tail
    assert low == of or sum(mass[: low + 1]) > tail
    assert high == 0 or sum(mass[high:]) > tail


@given(st.integers(1, 300), st.floats(0.001, 0.999))
def test_the_band_of_any_share_lies_around_what_is_expected(of, ratio):
    low, high = binomial_band(of, ratio)
    assert 0 <= low <= of * ratio + 1
    assert of * ratio - 1 <= high <= of


def test_the_largest_share_is_one_at_which_a_total_loss_is_still_told():
    """Within as many canaries as are kept in mind; where half as many are let through, never."""
    gone = [row(number, Outcome.POLICY_DROP) for number in range(1, KEPT_SAMPLED + 1)]
    newest = row(KEPT_SAMPLED + 1, Outcome.PENDING)
    assert sampled(newest, gone, MOST_DROPPED) == ""
    assert sampled(newest, gone[-760:], MOST_DROPPED) == ""
    assert sampled(newest, gone[-740:], MOST_DROPPED)
    assert sampled(newest, gone, (1 + MOST_DROPPED) / 2)
