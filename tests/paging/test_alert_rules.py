"""The alert state machine, by examples and by a state machine of Hypothesis."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from core.clock import instant
from core.errors import InvariantError
from core.verdict import Verdict
from paging.config import PagingConfig, Subject
from paging.policy import rules_for
from paging.rule_state import restored, to_json
from paging.rules import (
    OPEN,
    ConfigChange,
    EffectKind,
    Phase,
    RuleName,
    Tick,
    current,
    fresh_state,
    step,
)
from paging.store import Action
from tests.paging.desk import run_of
from tests.support.clock import VirtualClock

CONFIG = PagingConfig(namespace="t", subjects={}, pages=(), receivers={})
CHECK = Subject("shop", "http", every_s=30.0, deadline_s=10.0)
ROUTE = Subject("logs", "canary", every_s=10.0, deadline_s=60.0)
FAIL, OK, BLIND, DEGRADED = Verdict.FAIL, Verdict.OK, Verdict.BLIND, Verdict.DEGRADED


class Bench:
    """One rule on a virtual clock."""

    def __init__(self, subject, name=RuleName.FAIL):
        self.clock = VirtualClock()
        self.subject = subject
        self.rule = next(one for one in rules_for(subject, CONFIG) if one.name is name)
        self.state = fresh_state(self.rule, instant(self.clock))

    def event(self, event):
        self.state, effects = step(self.rule, self.state, event, instant(self.clock))
        return [effect.kind for effect in effects]

    def say(self, *verdicts, every=None, **facts):
        kinds = []
        for verdict in verdicts:
            self.clock.move(self.subject.every_s if every is None else every)
            kinds += self.event(
                run_of(self.clock, self.subject.name, verdict, self.subject.kind, **facts)
            )
        return kinds

    def wait(self, seconds):
        self.clock.move(seconds)
        return self.event(Tick())

    def act(self, kind, until=None):
        now = instant(self.clock)
        return self.event(Action("a1", kind, "x", "ann", "why", until, now))


def test_a_check_fires_at_two_of_two_and_a_route_at_the_first():
    check, route = Bench(CHECK), Bench(ROUTE)
    assert check.say(FAIL) == []
    assert check.state.phase is Phase.PENDING
    assert check.say(FAIL) == [EffectKind.FIRE]
    assert route.say(FAIL) == [EffectKind.FIRE]


def test_one_bad_result_between_good_ones_is_recorded_and_not_told():
    bench = Bench(CHECK)
    assert bench.say(OK, FAIL, OK) == [EffectKind.RECORD]
    assert bench.state.phase is Phase.OK


def test_a_check_resolves_after_two_passes_and_twice_its_interval():
    bench = Bench(CHECK)
    bench.say(FAIL, FAIL)
    assert bench.say(OK) == []
    assert bench.state.phase is Phase.RESOLVING
    assert bench.say(OK) == []
    assert bench.say(OK) == [EffectKind.RESOLVE]


def test_bad_again_while_resolving_is_the_same_episode():
    bench = Bench(CHECK)
    bench.say(FAIL, FAIL, OK)
    assert bench.say(FAIL) == [EffectKind.REOPEN]
    assert bench.state.phase is Phase.FIRING


def test_blind_neither_fires_nor_clears_and_restarts_the_proof_of_recovery():
    bench = Bench(CHECK)
    assert bench.say(FAIL, BLIND, BLIND) == []
    assert bench.say(FAIL) == [EffectKind.FIRE]
    assert bench.say(OK, BLIND, BLIND, OK) == []
    assert bench.state.phase is Phase.RESOLVING


def test_blind_for_five_minutes_raises_its_own():
    bench = Bench(ROUTE, RuleName.BLIND)
    assert bench.say(*[BLIND] * 30) == []
    assert bench.say(BLIND) == [EffectKind.FIRE]
    assert bench.say(OK) == [EffectKind.RESOLVE]


def test_silence_is_blind_after_the_freshness_limit_and_never_recovery():
    fail, blind = Bench(CHECK), Bench(CHECK, RuleName.BLIND)
    fail.say(FAIL, FAIL, OK, OK)
    blind.say(OK)
    kinds = [kind for _ in range(500) for kind in fail.wait(1)]
    # Fresh and good for recover_for within the limit: that much may resolve it.
    assert kinds == [EffectKind.RESOLVE]
    assert [kind for _ in range(99) for kind in blind.wait(1)] == []
    assert EffectKind.FIRE in [kind for _ in range(310) for kind in blind.wait(1)]
    assert current(blind.rule, blind.state, instant(blind.clock)) is BLIND


def test_a_degraded_rule_is_frozen_by_fail_and_warns_by_default():
    bench = Bench(ROUTE, RuleName.DEGRADED)
    assert bench.say(DEGRADED) == [EffectKind.FIRE]
    assert bench.rule.severity.value == "warning"
    assert bench.say(FAIL) == []
    assert bench.say(OK) == [EffectKind.RESOLVE]


def test_an_old_or_repeated_result_changes_nothing():
    bench = Bench(CHECK)
    run = run_of(bench.clock, "shop", FAIL, "http")
    bench.event(run)
    before = bench.state
    bench.event(run)
    assert bench.state == before
    bench.say(OK)
    after = bench.state
    bench.event(run)
    assert bench.state == after


def test_a_new_hop_is_an_update_of_the_open_incident():
    bench = Bench(ROUTE)
    bench.say(FAIL)
    assert bench.say(FAIL, hop="gateway") == [EffectKind.UPDATE]
    assert bench.say(FAIL, hop="gateway") == []


def test_an_ack_expires_and_lapses_on_resolve():
    bench = Bench(ROUTE)
    assert bench.act("ack") == [EffectKind.RECORD]
    bench.say(FAIL)
    assert bench.act("ack") == [EffectKind.ACK]
    bench.clock.move(4 * 3600)
    bench.say(FAIL)
    assert EffectKind.UNACK in bench.wait(1)
    bench.act("ack")
    bench.say(OK)
    assert bench.state.acked_by == ""


@pytest.mark.parametrize("offset", [None, timedelta(seconds=-1), timedelta(days=31)])
def test_input_41_a_mute_with_a_wrong_end_is_refused(offset):
    bench = Bench(ROUTE)
    until = None if offset is None else bench.clock.utc() + offset
    assert bench.act("mute", until) == [EffectKind.RECORD]
    assert bench.state.muted_by == ""


def test_a_mute_ends_by_itself_and_says_so():
    bench = Bench(ROUTE)
    bench.say(FAIL)
    assert bench.act("mute", bench.clock.utc() + timedelta(minutes=1)) == [EffectKind.MUTE]
    assert bench.state.phase is Phase.FIRING
    assert EffectKind.UNMUTE in bench.wait(61)


def test_removal_from_the_config_closes_without_claiming_recovery():
    bench = Bench(ROUTE)
    bench.say(FAIL)
    assert bench.event(ConfigChange(removed=True)) == [EffectKind.RESOLVE]


def test_pending_keeps_its_age_over_a_short_outage_and_starts_again_after_a_long_one():
    bench = Bench(ROUTE, RuleName.BLIND)
    bench.say(*[BLIND] * 25)
    text = to_json(bench.state)
    bench.clock.move(600)
    short = restored(bench.rule, text, instant(bench.clock))
    assert short.since == bench.state.since
    bench.clock.move(3600)
    assert restored(bench.rule, text, instant(bench.clock)).since == instant(bench.clock)
    bench.state = short
    bench.clock.move(-3600 - 0)
    assert bench.say(BLIND) == []
    assert bench.say(*[BLIND] * 6) == [EffectKind.FIRE]


def test_a_state_of_another_version_is_refused():
    bench = Bench(ROUTE)
    with pytest.raises(InvariantError):
        restored(bench.rule, '{"v": 99}', instant(bench.clock))


def test_a_healthy_rule_never_changes_what_is_stored():
    bench = Bench(CHECK)
    before = to_json(bench.state)
    bench.say(*[OK] * 50)
    bench.wait(1)
    assert to_json(bench.state) == before


def test_flapping_opens_once_holds_and_ends_when_it_is_calm():
    bench = Bench(CHECK)
    kinds = bench.say(*[OK, FAIL] * 10)
    assert kinds.count(EffectKind.FIRE) == 1
    assert bench.state.flapping
    kinds = bench.say(*[OK] * 25)
    assert kinds.count(EffectKind.RESOLVE) == 1
    assert not bench.state.flapping


def test_k_of_n_that_cannot_be_met_is_refused():
    with pytest.raises(ValueError, match="never be met"):
        replace(Bench(CHECK).rule, k=3)


class RuleMachine(RuleBasedStateMachine):
    """Whatever happens: fires and resolves alternate, and storing loses nothing that counts."""

    def __init__(self):
        super().__init__()
        self.bench = Bench(CHECK)
        self.open = False

    def check(self, kinds):
        for kind in kinds:
            if kind is EffectKind.FIRE:
                assert not self.open
                self.open = True
            elif kind is EffectKind.RESOLVE:
                assert self.open
                self.open = False

    @rule(verdict=st.sampled_from(list(Verdict)), gap=st.sampled_from([0.0, 1.0, 30.0, 200.0]))
    def result(self, verdict, gap):
        before = self.bench.state.phase
        kinds = self.bench.say(verdict, every=gap)
        if verdict is BLIND:
            assert EffectKind.FIRE not in kinds
            assert EffectKind.RESOLVE not in kinds
        if verdict is FAIL:
            assert EffectKind.RESOLVE not in kinds
        if EffectKind.RESOLVE in kinds:
            assert before in OPEN
        self.check(kinds)

    @rule(seconds=st.sampled_from([1.0, 60.0, 600.0]))
    def time(self, seconds):
        self.check(self.bench.wait(seconds))

    @rule(kind=st.sampled_from(["ack", "unack", "mute", "unmute", "odd"]))
    def act(self, kind):
        phase = self.bench.state.phase
        until = self.bench.clock.utc() + timedelta(hours=1)
        self.check(self.bench.act(kind, until))
        assert self.bench.state.phase is phase

    @rule(outage=st.sampled_from([1.0, 600.0, 7200.0]))
    def restart(self, outage):
        text = to_json(self.bench.state)
        phase = self.bench.state.phase
        self.bench.clock.move(outage)
        self.bench.state = restored(self.bench.rule, text, instant(self.bench.clock))
        assert self.bench.state.phase is phase

    @invariant()
    def open_means_told(self):
        assert self.open == (self.bench.state.phase in OPEN)


TestRuleMachine = RuleMachine.TestCase
TestRuleMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
