"""The alert state machine: pure functions, no clock, no I/O.

`ok -> pending -> firing -> resolving -> ok`. What could not be checked (`blind`, or a verdict
past its freshness limit) freezes every rule but `blind`, which fires by itself when it lasts.
Ack, mute and flapping change who is told, never what is true.
Rule: docs/design.md, "State, alerts, pages".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never

from core.clock import Instant
from core.result import Fact, RunEnvelope
from core.verdict import Verdict, fresh
from paging.model import Severity
from paging.store import Action

FLAP_WINDOW = 21
FLAP_ENTER = 0.30
FLAP_LEAVE = 0.15
ACK_FOR = timedelta(hours=4)
MUTE_AT_MOST = timedelta(days=30)
CHECKPOINT_S = 60.0


class RuleName(StrEnum):
    """The condition a rule watches; part of the alert's identity."""

    FAIL = "fail"
    DEGRADED = "degraded"
    BLIND = "blind"


class Phase(StrEnum):
    """Where a rule stands."""

    OK = "ok"
    PENDING = "pending"
    FIRING = "firing"
    RESOLVING = "resolving"


OPEN = frozenset({Phase.FIRING, Phase.RESOLVING})


@dataclass(frozen=True, slots=True)
class Rule:
    """One condition on one subject.

    k of the last n judged results must be bad, and bad for `for_s`; it clears after
    `recover_passes` good results and `recover_for_s`. fresh_s: age at which a verdict is history.
    grace_s: shortest wait before firing after a restart that restored `pending`.
    """

    name: RuleName
    subject: str
    severity: Severity
    k: int
    n: int
    for_s: float
    recover_for_s: float
    recover_passes: int
    fresh_s: float
    grace_s: float

    def __post_init__(self) -> None:
        """Raise ValueError when k of n can never be met."""
        if not 1 <= self.k <= self.n:
            raise ValueError(f"{self.k} of {self.n} can never be met")

    @property
    def key(self) -> str:
        """Identity of the alert and of its stored state."""
        return f"{self.name}:{self.subject}"


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """The rule was changed, or `removed` from the config together with its subject."""

    removed: bool


Event = RunEnvelope | Tick | Action | ConfigChange


class EffectKind(StrEnum):
    """What a step asks the incidents to do. RECORD is kept and told to nobody."""

    FIRE = "fire"
    UPDATE = "update"
    RESOLVE = "resolve"
    REOPEN = "reopen"
    FLAPPING = "flapping"
    ACK = "ack"
    UNACK = "unack"
    MUTE = "mute"
    UNMUTE = "unmute"
    RECORD = "record"


@dataclass(frozen=True, slots=True)
class Effect:
    """One consequence of a step; text is for people."""

    kind: EffectKind
    text: str


@dataclass(frozen=True, slots=True)
class RuleState:
    """All that a rule remembers. `seen` and the newest result are not stored: see `restored`."""

    phase: Phase
    window: tuple[bool, ...]
    history: tuple[bool, ...]
    seen: Instant
    verdict: Verdict | None = None
    newest: tuple[datetime, int] | None = None
    since: Instant | None = None
    good_since: Instant | None = None
    passes: int = 0
    not_before: Instant | None = None
    checkpoint: Instant | None = None
    flapping: bool = False
    acked_by: str = ""
    acked_until: datetime | None = None
    muted_by: str = ""
    muted_until: datetime | None = None
    detail: str = ""
    facts: Mapping[str, Fact] = field(default_factory=dict)


Step = tuple[RuleState, tuple[Effect, ...]]


def seconds_between(then: Instant, now: Instant) -> float:
    """Age of `then`: boot time within one boot, wall time across two."""
    if then.boot_id == now.boot_id:
        return now.boot_s - then.boot_s
    return (now.utc - then.utc).total_seconds()


def fresh_state(rule: Rule, now: Instant) -> RuleState:
    """Nothing is known yet; a subject that stays silent is blind after `rule.fresh_s`."""
    return RuleState(Phase.OK, (False,) * rule.n, (False,) * FLAP_WINDOW, seen=now)


def is_fresh(rule: Rule, state: RuleState) -> bool:
    """Whether `state` remembers nothing but its newest result, so that none of it need be kept."""
    return replace(state, verdict=None, newest=None) == fresh_state(rule, state.seen)


def is_silent(rule: Rule, state: RuleState, now: Instant) -> bool:
    """Whether nothing was heard of the subject within its freshness limit."""
    return seconds_between(state.seen, now) > rule.fresh_s


def current(rule: Rule, state: RuleState, now: Instant) -> Verdict | None:
    """The verdict that may be acted on now; None when nothing was heard since the start."""
    if state.verdict is None:
        return Verdict.BLIND if is_silent(rule, state, now) else None
    return fresh(state.verdict, seconds_between(state.seen, now), rule.fresh_s)


def step(rule: Rule, state: RuleState, event: Event, now: Instant) -> Step:
    """State and effects after `event`. Raises nothing; the same input gives the same output."""
    match event:
        case RunEnvelope():
            after, effects = _on_result(rule, state, event, now)
        case Tick():
            after, effects = _on_tick(rule, state, now)
        case Action():
            after, effects = _on_action(state, event, now)
        case ConfigChange():
            after, effects = _on_config(rule, state, event, now)
        case _:
            assert_never(event)
    return _checkpoint(after, now), effects


def _on_result(rule: Rule, state: RuleState, run: RunEnvelope, now: Instant) -> Step:
    if _is_history(rule, state, run, now):
        return state, ()
    heard = replace(
        state, seen=run.ended, verdict=run.verdict, newest=(run.scheduled_at, run.attempt)
    )
    bad = is_bad(rule, run.verdict)
    if bad is None:
        # Time spent blind proves no recovery: the proof starts again.
        return replace(heard, good_since=None, passes=0), ()
    if not bad and _is_calm(state):
        return heard, ()
    judged, flaps = _flap(rule, _count(heard, run, bad=bad))
    moved, effects = _advance(rule, judged, bad=bad, at=run.ended, now=now)
    if flaps and moved.flapping and moved.phase not in OPEN:
        # Too jumpy for k of n: the flapping itself is what is paged, once.
        moved = replace(moved, phase=Phase.FIRING, since=moved.since or run.ended)
        return moved, (Effect(EffectKind.FIRE, "flapping"),)
    told = tuple(flaps) if state.phase in OPEN else ()
    return moved, (*effects, *told, *_content(state, moved))


def _is_calm(state: RuleState) -> bool:
    """Whether one more good result changes nothing but when the subject was last heard."""
    calm = state.phase is Phase.OK and not state.flapping
    return calm and True not in state.history and True not in state.window


def _is_history(rule: Rule, state: RuleState, run: RunEnvelope, now: Instant) -> bool:
    """Order is that of judgement: a canary sent earlier may be judged later than a newer one."""
    behind = seconds_between(run.ended, state.seen)
    if state.verdict is not None and behind > 0:
        return True
    if state.newest == (run.scheduled_at, run.attempt) and behind == 0:
        return True
    return seconds_between(run.ended, now) > rule.fresh_s


def is_bad(rule: Rule, verdict: Verdict) -> bool | None:
    """Whether `verdict` counts against the rule; None when it says nothing about it."""
    if rule.name is RuleName.BLIND:
        return verdict is Verdict.BLIND
    if verdict is Verdict.BLIND:
        return None
    if rule.name is RuleName.DEGRADED:
        return None if verdict is Verdict.FAIL else verdict is Verdict.DEGRADED
    return verdict is Verdict.FAIL


def _count(state: RuleState, run: RunEnvelope, *, bad: bool) -> RuleState:
    counted = replace(state, window=(*state.window[1:], bad), history=(*state.history[1:], bad))
    # A good result does not overwrite what was wrong: the resolve still says it.
    return replace(counted, detail=run.detail, facts=dict(run.facts)) if bad else counted


def _flap(rule: Rule, state: RuleState) -> tuple[RuleState, list[Effect]]:
    if rule.name is RuleName.BLIND:
        return state, []
    changes = sum(a != b for a, b in zip(state.history, state.history[1:], strict=False))
    share = changes / (FLAP_WINDOW - 1)
    if not state.flapping and share >= FLAP_ENTER:
        text = f"flapping: {changes} changes in the last {FLAP_WINDOW} results"
        return replace(state, flapping=True), [Effect(EffectKind.FLAPPING, text)]
    if state.flapping and share < FLAP_LEAVE:
        red = state.history[-1]
        kind = EffectKind.UPDATE if red else EffectKind.RECORD
        text = "no longer flapping, still failing" if red else "no longer flapping"
        return replace(state, flapping=False), [Effect(kind, text)]
    return state, []


def _content(before: RuleState, after: RuleState) -> tuple[Effect, ...]:
    if before.phase not in OPEN or after.phase not in OPEN:
        return ()
    named = ("hop", "finding")
    if [before.facts.get(f) for f in named] == [after.facts.get(f) for f in named]:
        return ()
    return (Effect(EffectKind.UPDATE, "located"),)


def _advance(rule: Rule, state: RuleState, *, bad: bool, at: Instant, now: Instant) -> Step:
    if bad:
        return _worse(rule, state, at, now)
    return _better(rule, state, at, now)


def _worse(rule: Rule, state: RuleState, at: Instant, now: Instant) -> Step:
    if state.phase is Phase.OK:
        state = replace(state, phase=Phase.PENDING, since=at)
    if state.phase is Phase.PENDING:
        return _try_fire(rule, state, now)
    again = state.phase is Phase.RESOLVING
    state = replace(state, phase=Phase.FIRING, good_since=None, passes=0)
    return state, (Effect(EffectKind.REOPEN, "bad again"),) if again else ()


def _try_fire(rule: Rule, state: RuleState, now: Instant) -> Step:
    since = state.since or now
    held = state.not_before is not None and seconds_between(state.not_before, now) < 0
    short = seconds_between(since, now) < rule.for_s
    if held or short or sum(state.window) < rule.k:
        return replace(state, since=since), ()
    fired = replace(state, phase=Phase.FIRING, since=since, not_before=None)
    return fired, (Effect(EffectKind.FIRE, state.detail),)


def _better(rule: Rule, state: RuleState, at: Instant, now: Instant) -> Step:
    if state.phase is Phase.OK:
        return state, ()
    if state.phase is Phase.PENDING:
        bad = sum(state.window)
        could_fire_next = sum(state.window[1:]) + 1 >= rule.k
        if bad and (bad >= rule.k or could_fire_next):
            return state, ()
        return _calm(rule, state), (Effect(EffectKind.RECORD, "good again before it fired"),)
    state = replace(
        state,
        phase=Phase.RESOLVING,
        good_since=state.good_since or at,
        passes=state.passes + 1,
    )
    return _try_resolve(rule, state, now)


def _try_resolve(rule: Rule, state: RuleState, now: Instant) -> Step:
    if state.good_since is None or state.flapping or state.passes < rule.recover_passes:
        return state, ()
    if seconds_between(state.good_since, now) < rule.recover_for_s:
        return state, ()
    return _calm(rule, state), (Effect(EffectKind.RESOLVE, "recovered"),)


def _calm(rule: Rule, state: RuleState) -> RuleState:
    return replace(
        state,
        phase=Phase.OK,
        window=(False,) * rule.n,
        since=None,
        good_since=None,
        passes=0,
        not_before=None,
        acked_by="",
        acked_until=None,
        detail="",
        facts={},
    )


def _on_tick(rule: Rule, state: RuleState, now: Instant) -> Step:
    state, lapsed = _lapse(state, now)
    verdict = current(rule, state, now)
    if verdict is None:
        return state, lapsed
    bad = is_bad(rule, verdict)
    effects: tuple[Effect, ...] = ()
    if bad and rule.name is RuleName.BLIND and state.verdict is not Verdict.BLIND:
        # No run said so: silence did. It counts as one blind result.
        silent = replace(
            state,
            verdict=Verdict.BLIND,
            window=(*state.window[1:], True),
            detail=state.detail or "no result within the freshness limit",
        )
        state, effects = _worse(rule, silent, now, now)
    elif bad and state.phase is Phase.PENDING:
        state, effects = _try_fire(rule, state, now)
    elif bad is False and state.phase is Phase.RESOLVING:
        state, effects = _try_resolve(rule, state, now)
    elif bad is None and state.phase is Phase.RESOLVING:
        state = replace(state, good_since=None, passes=0)
    return state, (*lapsed, *effects)


def _lapse(state: RuleState, now: Instant) -> Step:
    effects: list[Effect] = []
    if state.acked_until is not None and state.acked_until <= now.utc:
        effects.append(Effect(EffectKind.UNACK, f"ack by {state.acked_by} expired"))
        state = replace(state, acked_by="", acked_until=None)
    if state.muted_until is not None and state.muted_until <= now.utc:
        effects.append(Effect(EffectKind.UNMUTE, f"mute by {state.muted_by} ended"))
        state = replace(state, muted_by="", muted_until=None)
    return state, tuple(effects)


def _on_action(state: RuleState, action: Action, now: Instant) -> Step:
    who = action.author
    if action.kind == "ack" and state.phase in OPEN:
        until = action.until or now.utc + ACK_FOR
        state = replace(state, acked_by=who, acked_until=until)
        return state, (Effect(EffectKind.ACK, f"acked by {who}"),)
    if action.kind == "unack" and state.acked_by:
        state = replace(state, acked_by="", acked_until=None)
        return state, (Effect(EffectKind.UNACK, f"un-acked by {who}"),)
    if action.kind == "mute":
        return _mute(state, action, now)
    if action.kind == "unmute" and state.muted_by:
        state = replace(state, muted_by="", muted_until=None)
        return state, (Effect(EffectKind.UNMUTE, f"un-muted by {who}"),)
    return state, (Effect(EffectKind.RECORD, f"{action.kind} by {who}: nothing to do"),)


def _mute(state: RuleState, action: Action, now: Instant) -> Step:
    if action.until is None or not now.utc < action.until <= now.utc + MUTE_AT_MOST:
        text = "mute refused: its end must lie ahead and within 30 d"
        return state, (Effect(EffectKind.RECORD, text),)
    state = replace(state, muted_by=action.author, muted_until=action.until)
    return state, (Effect(EffectKind.MUTE, f"muted by {action.author}: {action.reason}"),)


def _on_config(rule: Rule, state: RuleState, change: ConfigChange, now: Instant) -> Step:
    if change.removed:
        was_open = state.phase in OPEN
        text = "closed: removed from the config; recovery was not proven"
        return fresh_state(rule, now), (Effect(EffectKind.RESOLVE, text),) if was_open else ()
    kept = state.window[-rule.n :]
    return replace(state, window=(False,) * (rule.n - len(kept)) + kept), ()


def _checkpoint(state: RuleState, now: Instant) -> RuleState:
    """Mark, once a minute while anything is wrong, that the rule was being evaluated."""
    if state.phase is Phase.OK:
        return state if state.checkpoint is None else replace(state, checkpoint=None)
    if state.checkpoint is None or seconds_between(state.checkpoint, now) >= CHECKPOINT_S:
        return replace(state, checkpoint=now)
    return state
