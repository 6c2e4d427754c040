"""A healthy check costs paging next to nothing, and leaving that work out changes no outcome."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import instant
from core.verdict import Verdict
from paging.config import PagingConfig, Subject
from paging.policy import rules_for
from paging.queue import ResultsQueue
from paging.rule_state import to_json
from paging.rules import Phase, Tick, fresh_state, is_fresh, is_silent, step
from tests.support.clock import VirtualClock
from tests.support.envelopes import envelope

CONFIG = PagingConfig(namespace="t", subjects={}, pages=(), receivers={})
rules = st.sampled_from(rules_for(Subject("shop", "http", every_s=30.0, deadline_s=10.0), CONFIG))
lives = st.lists(st.sampled_from(Verdict), max_size=30)


def lived(rule, told, clock):
    """The state after one result every 30 s."""
    state = fresh_state(rule, instant(clock))
    for verdict in told:
        clock.move(30)
        state, _ = step(rule, state, envelope(clock, verdict=verdict), instant(clock))
    return state


@given(rules, lives)
def test_a_state_that_need_not_be_kept_reads_as_that_of_a_new_rule(rule, told):
    state = lived(rule, told, VirtualClock())
    new = to_json(fresh_state(rule, state.seen))
    assert is_fresh(rule, state) == (to_json(state) == new)


@given(rules, lives, st.floats(0, 300))
def test_a_tick_leaves_a_rule_alone_that_is_ok_and_was_heard_of_in_time(rule, told, later_s):
    clock = VirtualClock()
    state = lived(rule, told, clock)
    clock.move(later_s)
    now = instant(clock)
    if state.phase is Phase.OK and not is_silent(rule, state, now):
        assert step(rule, state, Tick(), now) == (state, ())


@given(rules, st.integers(0, 30))
def test_good_results_alone_leave_nothing_to_keep_and_tell_nobody(rule, count):
    clock = VirtualClock()
    state = lived(rule, [Verdict.OK] * count, clock)
    after, effects = step(rule, state, envelope(clock), instant(clock))
    assert (to_json(after), effects) == (to_json(state), ())
    assert after.verdict is Verdict.OK


@pytest.mark.parametrize("verdict", Verdict)
def test_only_a_result_that_is_not_ok_wakes_the_paging_loop(verdict):
    woken = []
    queue = ResultsQueue(lambda: woken.append(len(queue)))
    queue.publish(envelope(VirtualClock(), verdict=verdict))
    assert len(queue) == 1
    assert woken == ([] if verdict is Verdict.OK else [1])
