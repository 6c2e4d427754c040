"""A drop is on purpose only by positive proof; what exceeds the proof is a loss."""

import random
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from core.clock import Instant
from core.reason import Reason
from selfcheck.canary.model import Canary, CanaryKey, LedgerRow, Outcome
from selfcheck.hops.balance import hop_balance
from selfcheck.hops.policy import explain_drops
from tests.selfcheck.hops import scrapes as s

NOW = Instant(datetime(2026, 11, 21, tzinfo=UTC), "boot-1", 1000.0)


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


def test_rows_already_settled_as_drops_use_up_the_counter():
    balance = filtered(100)
    moved = sum(balance.intended_by.values())
    settled = [row(1 + i, Outcome.POLICY_DROP) for i in range(moved)]
    lost = row(moved + 1, Outcome.LOST)
    assert explain_drops([*settled[1:], lost], [balance]) == (lost.canary.key,)
    assert explain_drops([*settled, lost], [balance]) == ()


def test_a_filter_counter_that_moved_as_much_explains_the_loss():
    assert len(explain_drops(window(6, 0), [filtered(100)])) == 6


def test_a_filter_counter_that_moved_less_explains_nothing():
    assert explain_drops(window(6, 0), [filtered(1)]) == ()


def test_a_hop_that_also_fails_to_send_explains_nothing():
    assert explain_drops(window(6, 0), [filtered(50, failed=10)]) == ()


def test_without_counters_nothing_is_explained():
    assert explain_drops(window(6, 0), ()) == ()


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 100))
def test_nothing_but_lost_rows_is_ever_explained(lost, ok, seed):
    rows = window(lost, ok, seed)
    explained = set(explain_drops(rows, [filtered(100)]))
    assert explained <= {r.canary.key for r in rows if r.outcome is Outcome.LOST}
