"""A drop is on purpose only by positive proof; what exceeds the proof is a loss."""

import random
from datetime import UTC, datetime
from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import Instant
from core.reason import Reason
from selfcheck.canary.model import Canary, CanaryKey, LedgerRow, Outcome
from selfcheck.hops.balance import hop_balance
from selfcheck.hops.policy import ExpectedDrop, binomial_band, explain_drops
from tests.selfcheck.hops import scrapes as s

NOW = Instant(datetime(2026, 11, 21, tzinfo=UTC), "boot-1", 1000.0)
NINE_TENTHS = ExpectedDrop(Fraction(9, 10), "")


def row(seq: int, outcome: Outcome) -> LedgerRow:
    canary = Canary(CanaryKey("r", 1, seq), s.LOGS, 1, 1, "id", b"t", b"s", "n", "i", "b", 1.0, {})
    return LedgerRow(
        canary, NOW, "u", 60.0, None, outcome, Reason.OK, NOW, None, None, None, None, "", "", ""
    )


def window(lost: int, ok: int, seed: int = 1) -> list[LedgerRow]:
    outcomes = [Outcome.LOST] * lost + [Outcome.OK] * ok
    random.Random(seed).shuffle(outcomes)
    return [row(seq, outcome) for seq, outcome in enumerate(outcomes, 1)]


def filtered(amount: int, **more: int):
    growth = {s.RECEIVED: 100, s.SENT: 100 - amount, s.FILTERED: amount}
    return hop_balance("gateway", s.LOGS, s.steady(growth | {s.FAILED: more.get("failed", 0)}))


def test_a_working_declared_sampler_explains_all_that_is_missing():
    assert len(explain_drops(window(90, 10), NINE_TENTHS, ())) == 90


def test_the_surplus_beyond_the_band_stays_lost_and_is_the_newest():
    rows = window(100, 0)
    explained = explain_drops(rows, NINE_TENTHS, ())
    _, most = binomial_band(100, Fraction(9, 10))
    assert [key.seq for key in explained] == list(range(1, most + 1))
    assert most < 100


def test_rows_already_settled_as_drops_use_up_the_band():
    rows = (
        window(0, 10)
        + [row(50 + i, Outcome.POLICY_DROP) for i in range(89)]
        + [row(999, Outcome.LOST)]
    )
    assert explain_drops(rows, NINE_TENTHS, ()) == (CanaryKey("r", 1, 999),)


def test_a_filter_counter_that_moved_as_much_explains_the_loss():
    assert len(explain_drops(window(6, 0), None, [filtered(100)])) == 6


def test_a_filter_counter_that_moved_less_explains_nothing():
    assert explain_drops(window(6, 0), None, [filtered(1)]) == ()


def test_a_hop_that_also_fails_to_send_explains_nothing():
    assert explain_drops(window(6, 0), None, [filtered(50, failed=10)]) == ()


def test_a_declared_reason_alone_is_no_proof():
    assert explain_drops(window(6, 0), ExpectedDrop(None, "tail sampling"), ()) == ()


@pytest.mark.parametrize("ratio", [Fraction(0), Fraction(1), Fraction(-1), Fraction(3, 2)])
def test_a_ratio_that_is_no_share_is_refused(ratio):
    with pytest.raises(ValueError, match="between 0 and 1"):
        ExpectedDrop(ratio, "")


def test_a_declaration_of_nothing_is_refused():
    with pytest.raises(ValueError, match="a ratio or a reason"):
        ExpectedDrop(None, "")


@given(st.integers(0, 120), st.fractions(Fraction(1, 50), Fraction(49, 50), max_denominator=50))
def test_the_band_is_the_widest_whose_tails_stay_within_the_bound(of, ratio):
    low, high = binomial_band(of, ratio)
    mass = [comb(of, k) * ratio**k * (1 - ratio) ** (of - k) for k in range(of + 1)]
    tail = Fraction(1, 2000)
    assert sum(mass[:low]) <= tail
    assert sum(mass[high + 1 :]) <= tail
    assert low == of or sum(mass[: low + 1]) > tail
    assert high == 0 or sum(mass[high:]) > tail


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 100))
def test_nothing_but_lost_rows_is_ever_explained(lost, ok, seed):
    rows = window(lost, ok, seed)
    explained = set(explain_drops(rows, NINE_TENTHS, [filtered(100)]))
    assert explained <= {r.canary.key for r in rows if r.outcome is Outcome.LOST}
