"""Open incidents: what the rules' effects make of them, and the rows that are owed for it.

Everything here happens in memory and is handed out by `take()` as one `Change`, so that a state
change and its deliveries are committed together. One episode per open period and identity.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from core.clock import Instant
from core.result import RunEnvelope
from paging import wording
from paging.config import PagingConfig, Subject
from paging.description import SEQ, described, fingerprint_of, opened, subject_of
from paging.grouping import inhibited, leader_for, leads, members_of, outlived
from paging.model import Incident, IncidentState, Page, PageAction
from paging.outbox import later, new_row
from paging.policy import rules_for, unknown_subject
from paging.roster import Roster
from paging.rule_state import restored, to_json
from paging.rules import (
    OPEN,
    ConfigChange,
    Effect,
    EffectKind,
    Event,
    Phase,
    Rule,
    RuleName,
    RuleState,
    Tick,
    fresh_state,
    is_fresh,
    is_silent,
    seconds_between,
    step,
)
from paging.store import Action, Change, OutboxRow

log = logging.getLogger(__name__)

RELEASE_WAIT_S = 60.0


class Incidents:
    """Rules, their states, the open incidents and their episodes."""

    def __init__(self, config: PagingConfig, roster: Roster, unsent: Callable[[str], bool]) -> None:
        """`unsent(dedup_key)`: whether no receiver was yet asked to take the trigger."""
        self.config, self._roster, self._unsent = config, roster, unsent
        self.open: dict[str, Incident] = {}
        self.episodes: dict[str, int] = {}
        self.told: dict[str, set[tuple[str, str]]] = {}
        self._leaders: dict[str, Incident] = {}
        self._rules: dict[str, Rule] = {}
        self._states: dict[str, RuleState] = {}
        self._stored: dict[str, str] = {}
        self._keys: dict[str, str] = {}
        self._kinds: dict[str, str] = {}
        self._hot: set[str] = set()
        self._dirty: set[str] = set()
        self._last_page: dict[str, Instant] = {}
        self._changed: list[Incident] = []
        self._rows: list[OutboxRow] = []
        self._touched: set[str] = set()
        self._folded: list[str] = []
        self._events: list[str] = []

    # What comes in -----------------------------------------------------------------------

    def restore(
        self,
        open_incidents: Iterable[Incident],
        episodes: Mapping[str, int],
        states: Mapping[str, str],
        told: Mapping[str, set[tuple[str, str]]],
        now: Instant,
    ) -> None:
        """Take over what the store knows; what is already known here wins.

        told: (receiver id, target) pairs by dedup key that took or still owe a trigger.
        """
        for fingerprint, episode in episodes.items():
            self.episodes[fingerprint] = max(episode, self.episodes.get(fingerprint, 0))
        for incident in open_incidents:
            if incident.fingerprint in self.open:
                continue
            self._keep(incident)
            dedup_key = self._dedup(incident)
            self._last_page[dedup_key] = incident.changed
            self.told[dedup_key] = set(told.get(dedup_key, ()))
            self.episodes.setdefault(incident.fingerprint, incident.episode)
        self._stored.update(states)
        for incident in self.open.values():
            if incident.facts.get("kind") == "self":
                self._introduce(unknown_subject(incident.subject, "self"), now)
        self.configure(self.config, now)
        for key, rule in tuple(self._rules.items()):
            if key in states and self._states[key].verdict is None:
                self._put_state(key, self._revived(rule, now))
        self._agree(now)

    def _agree(self, now: Instant) -> None:
        """State and incident were committed together; where they differ the incident counts."""
        for orphan in [one for one in self.open.values() if one.group not in self.open]:
            # Its page is gone: what is still wrong gets one of its own.
            alone = replace(orphan, group=orphan.fingerprint, changed=now)
            self._save(alone)
            self._trigger(alone, now, self.config.group_wait_s)
        for incident in tuple(self.open.values()):
            key = f"{incident.rule}:{incident.subject}"
            state = self._states.get(key)
            if state is None:
                self._recover(incident, now, "closed: removed from the config; not proven")
            elif state.phase not in OPEN and incident.resolved is None:
                self._put_state(key, replace(state, phase=Phase.FIRING, since=incident.since))

    def _revived(self, rule: Rule, now: Instant) -> RuleState:
        """The stored state of `rule`; an open one without its incident would never fire again."""
        text = self._stored.get(rule.key)
        state = fresh_state(rule, now) if text is None else restored(rule, text, now)
        orphan = state.phase in OPEN and fingerprint_of(rule.name, rule.subject) not in self.open
        return fresh_state(rule, now) if orphan else state

    def configure(self, config: PagingConfig, now: Instant) -> None:
        """Put `config` in force; incidents of subjects that are gone are closed as unproven."""
        self.config = config
        wanted: dict[str, Rule] = {}
        for subject in config.subjects.values():
            self._kinds[subject.name] = subject.kind
            wanted |= {rule.key: rule for rule in rules_for(subject, config)}
        for key, rule in tuple(self._rules.items()):
            if key not in wanted and self._kinds.get(rule.subject) != "self":
                self._step(key, ConfigChange(removed=True), now)
                self._forget(key)
        for key, rule in wanted.items():
            self._learn(rule, now)
            self._step(key, ConfigChange(removed=False), now)
        self.retell(now)

    def on_result(self, run: RunEnvelope, now: Instant) -> None:
        """Fold one result into its subject's rules."""
        name = subject_of(run)
        if f"{RuleName.FAIL}:{name}" not in self._rules:
            known = self.config.subject(run.check)
            subject = unknown_subject(name, run.kind) if known is None else known
            self._introduce(replace(subject, name=name, kind=run.kind), now)
        for rule_name in RuleName:
            self._step(f"{rule_name}:{name}", run, now)

    def on_tick(self, now: Instant, *, everything: bool) -> None:
        """Let time pass for rules that wait for something; with `everything` for silent ones too.

        A rule that is `ok` and was heard of in time is left as it is by a tick.
        """
        waiting = tuple(self._hot)
        if everything:
            waiting = tuple(
                key for key, rule in self._rules.items()
                if key in self._hot or is_silent(rule, self._states[key], now)
            )  # fmt: skip
        for key in waiting:
            self._step(key, Tick(), now)
        self._remind(now)

    def on_action(self, action: Action, now: Instant) -> None:
        """Fold an ack, un-ack, mute or un-mute of the incident whose dedup key it names."""
        self._folded.append(action.action_id)
        _, _, rest = action.subject.partition(":")
        fingerprint, _, episode = rest.partition(":")
        key = self._keys.get(fingerprint)
        if key is None or str(self.episodes.get(fingerprint, 0)) != episode:
            self._events.append(f"{action.kind} by {action.author}: no such incident")
            return
        self._step(key, action, now)

    # What goes out -----------------------------------------------------------------------

    def take(self, now: Instant) -> Change | None:
        """All that changed since the last call, for one transaction; None when nothing did."""
        self._send_updates(now)
        states = self._states_to_write()
        if not (self._changed or self._rows or states or self._folded):
            return None
        # One row per episode and transaction: the last word of this turn.
        newest = {(one.fingerprint, one.episode): one for one in self._changed}
        change = Change(
            incidents=tuple(newest.values()),
            outbox=tuple(self._rows),
            rule_states=states,
            folded_actions=tuple(self._folded),
            event="; ".join(dict.fromkeys(self._events))[:500],
        )
        self._changed, self._rows, self._folded, self._events = [], [], [], []
        return change

    def leader(self, dedup_key: str) -> Incident | None:
        """The open incident that owns the page `dedup_key`, None when it is over or grouped."""
        incident = self._by_dedup(dedup_key)
        return incident if incident is not None and leads(incident) else None

    def page(self, row: OutboxRow) -> Page:
        """The page of `row` as it should read now; a closed incident keeps its text."""
        incident = self.leader(row.key.dedup_key)
        if incident is None or row.key.action is PageAction.RESOLVE:
            return row.page
        return self._page(incident, row.key.action, row.key.seq, row.page.at)

    def muted(self, dedup_key: str) -> bool:
        """Whether the incident is not to be told about at present."""
        incident = self._by_dedup(dedup_key)
        return incident is not None and bool(incident.muted_by)

    def regrouped(self, dedup_key: str) -> bool:
        """Whether the incident is open but told in another page."""
        incident = self._by_dedup(dedup_key)
        return incident is not None and not leads(incident)

    # Effects -----------------------------------------------------------------------------

    def _step(self, key: str, event: Event, now: Instant) -> None:
        before = self._states[key]
        after, effects = step(self._rules[key], before, event, now)
        self._put_state(key, after)
        for effect in effects:
            self._apply(self._rules[key], after if after.since else before, effect, now)

    def _apply(self, rule: Rule, state: RuleState, effect: Effect, now: Instant) -> None:
        fingerprint = fingerprint_of(rule.name, rule.subject)
        incident = self.open.get(fingerprint)
        self._events.append(f"{rule.key} {effect.kind}")
        if effect.kind is EffectKind.FIRE:
            self._fire(rule, state, now)
        elif incident is None or effect.kind is EffectKind.RECORD:
            return
        elif effect.kind is EffectKind.RESOLVE:
            self._recover(incident, now, effect.text)
        else:
            self._refresh(rule, incident, effect, now)

    def _fire(self, rule: Rule, state: RuleState, now: Instant) -> None:
        fingerprint = fingerprint_of(rule.name, rule.subject)
        held = self.open.get(fingerprint)
        if held is not None:
            incident = replace(self._described(rule, held), resolved=None, changed=now)
        else:
            incident = self._described(rule, self._opened(rule, state, fingerprint, now))
        if held is None:
            leaders = tuple(self._leaders.values())
            leader = leader_for(incident, leaders, self.config.storm_at)
            if leader is not None:
                incident = replace(incident, group=leader.fingerprint)
        self._save(incident)
        if held is None and leads(incident):
            self._trigger(incident, now, self.config.group_wait_s)
            self._gather(incident, now)
        self._dirty.add(incident.group)

    def _opened(self, rule: Rule, state: RuleState, fingerprint: str, now: Instant) -> Incident:
        episode = self.episodes.get(fingerprint, 0) + 1
        self.episodes[fingerprint] = episode
        return opened(rule, state, fingerprint, episode, now)

    def _described(self, rule: Rule, incident: Incident) -> Incident:
        kind = self._kinds.get(rule.subject, "")
        return described(rule, self._states[rule.key], kind, incident)

    def _refresh(self, rule: Rule, incident: Incident, effect: Effect, now: Instant) -> None:
        fresh = replace(self._described(rule, incident), changed=now)
        self._save(fresh)
        if effect.kind is EffectKind.ACK and leads(fresh):
            self._tell(fresh, PageAction.ACK, now)
        elif effect.kind in {EffectKind.UPDATE, EffectKind.FLAPPING, EffectKind.UNMUTE}:
            self._dirty.add(fresh.group)
            if leads(fresh) and self._unsent(self._dedup(fresh)):
                self._regroup(fresh, now)
            # Also when its page is out: what is not must not become a second page of one fault.
            self._gather(self.open[fresh.fingerprint], now)

    def _regroup(self, incident: Incident, now: Instant) -> None:
        """Nothing was sent yet and more is known: it may belong to another page after all."""
        leaders = tuple(self._leaders.values())
        leader = leader_for(incident, leaders, self.config.storm_at)
        if leader is None or members_of(incident, self.open.values()):
            return
        self._save(replace(incident, group=leader.fingerprint, changed=now))
        self._dirty.add(leader.fingerprint)

    def _gather(self, leader: Incident, now: Instant) -> None:
        """Unsent pages that a new or better known leader can carry go into its page."""
        if not leads(leader):
            return
        for other in tuple(self._leaders.values()):
            if other.fingerprint == leader.fingerprint or not (
                leader.hop or other.facts.get("kind") == "source"
            ):
                continue
            if leader_for(other, (leader,), self.config.storm_at) is leader and (
                self._unsent(self._dedup(other))
            ):
                self._regroup(other, now)

    def _recover(self, incident: Incident, now: Instant, text: str) -> None:
        carried = members_of(incident, self.open.values()) if leads(incident) else ()
        staying = [one for one in carried if not inhibited(one, incident)]
        for source in carried:
            if inhibited(source, incident):
                self._release(source, now)
        if [one for one in staying if not outlived(one, incident)]:
            # Its page still carries others: it is resolved with the last of them.
            self._save(replace(incident, resolved=now, changed=now))
            return
        self._hand_over(staying, now)
        self._close(incident, now, text)
        leader = self.open.get(incident.group)
        if leader is not None and leader.resolved is not None:
            self._recover(leader, now, "all of the group recovered")

    def _hand_over(self, members: Sequence[Incident], now: Instant) -> None:
        """What is left after a failure is told in a page of its own, which the oldest leads."""
        for one in members:
            self._save(replace(one, group=members[0].fingerprint, changed=now))
        if members:
            leader = self.open[members[0].fingerprint]
            self._trigger(leader, now, max(RELEASE_WAIT_S, self.config.group_wait_s))

    def _release(self, source: Incident, now: Instant) -> None:
        """The route works again and the source is still quiet: now that is its own page."""
        alone = replace(source, group=source.fingerprint, changed=now)
        self._save(alone)
        self._trigger(alone, now, max(RELEASE_WAIT_S, self.config.group_wait_s))

    def _close(self, incident: Incident, now: Instant, text: str) -> None:
        over = replace(
            incident, state=IncidentState.RESOLVED, resolved=incident.resolved or now, changed=now
        )
        if leads(over):
            self._tell(over, PageAction.RESOLVE, now)
            over = self.open[over.fingerprint]
        self._changed.append(over)
        self._events.append(text)
        self.open.pop(over.fingerprint)
        self._leaders.pop(over.fingerprint, None)
        self._dirty.discard(over.fingerprint)
        dedup_key = self._dedup(over)
        self.told.pop(dedup_key, None)
        self._last_page.pop(dedup_key, None)

    # Rows --------------------------------------------------------------------------------

    def _trigger(self, incident: Incident, now: Instant, wait_s: float) -> None:
        rule = self.config.page_rule(incident)
        lanes = self._roster.lanes(rule.to) if rule is not None else ()
        if rule is None or not lanes:
            log.critical("page_without_receiver subject=%s", incident.subject)
            return
        page = self._next_page(incident, PageAction.TRIGGER, now)
        due = later(now, wait_s)
        told = self.told.setdefault(page.dedup_key, set())
        for receiver, target in lanes:
            told.add((receiver, target))
            self._rows.append(
                new_row(page, receiver, target, fallback=rule.fallback, fallback_of="", due=due)
            )

    def _tell(self, incident: Incident, action: PageAction, now: Instant) -> None:
        """Owe `action` to everyone who was told of the incident."""
        page = self._next_page(incident, action, now)
        for receiver, target in sorted(self.told.get(page.dedup_key, ())):
            self._rows.append(new_row(page, receiver, target, fallback="", fallback_of="", due=now))

    def _next_page(self, incident: Incident, action: PageAction, now: Instant) -> Page:
        seq = int(incident.facts.get(SEQ, "0")) + 1
        numbered = replace(incident, facts={**incident.facts, SEQ: str(seq)})
        self._save(numbered)
        self._last_page[self._dedup(numbered)] = now
        return self._page(numbered, action, seq, now)

    def _page(self, incident: Incident, action: PageAction, seq: int, at: Instant) -> Page:
        members = members_of(incident, self.open.values())
        subject = self.config.subject(incident.subject)
        return Page(
            dedup_key=self._dedup(incident),
            action=action,
            seq=seq,
            namespace=self.config.namespace,
            incident=replace(incident, summary=wording.with_members(incident, members)),
            members=members,
            links=subject.links if subject is not None else (),
            at=at,
        )

    def _send_updates(self, now: Instant) -> None:
        for fingerprint in tuple(self._dirty):
            leader = self._leaders.get(fingerprint)
            if leader is None or self._unsent(self._dedup(leader)):
                # The trigger has not gone out: it will say everything itself.
                self._dirty.discard(fingerprint)
                continue
            last = self._last_page.get(self._dedup(leader), leader.opened)
            if seconds_between(last, now) >= self.config.group_interval_s:
                self._dirty.discard(fingerprint)
                self._tell(leader, PageAction.UPDATE, now)

    def _remind(self, now: Instant) -> None:
        for leader in self._leaders.values():
            last = self._last_page.get(self._dedup(leader), leader.opened)
            if not leader.acked_by and seconds_between(last, now) >= self.config.repeat_s:
                self._dirty.add(leader.fingerprint)

    def retell(self, now: Instant) -> None:
        """Open incidents that nobody could be told of go to the receivers of now."""
        for leader in tuple(self._leaders.values()):
            if not self.told.get(self._dedup(leader)):
                self._trigger(leader, now, 0.0)

    # Books -------------------------------------------------------------------------------

    def _dedup(self, incident: Incident) -> str:
        return incident.dedup_key(self.config.namespace)

    def _by_dedup(self, dedup_key: str) -> Incident | None:
        _, fingerprint, episode = dedup_key.rsplit(":", 2)
        incident = self.open.get(fingerprint)
        return incident if incident is not None and str(incident.episode) == episode else None

    def _save(self, incident: Incident) -> None:
        self._changed.append(incident)
        self._keep(incident)

    def _keep(self, incident: Incident) -> None:
        self.open[incident.fingerprint] = incident
        if leads(incident):
            self._leaders[incident.fingerprint] = incident
        else:
            self._leaders.pop(incident.fingerprint, None)

    def _introduce(self, subject: Subject, now: Instant) -> None:
        self._kinds[subject.name] = subject.kind
        for rule in rules_for(subject, self.config):
            self._learn(rule, now)

    def _learn(self, rule: Rule, now: Instant) -> None:
        known = rule.key in self._rules
        self._rules[rule.key] = rule
        if known:
            return
        self._keys[fingerprint_of(rule.name, rule.subject)] = rule.key
        self._put_state(rule.key, self._revived(rule, now))

    def _forget(self, key: str) -> None:
        self._rules.pop(key)
        self._states.pop(key)
        self._stored.pop(key, None)
        self._hot.discard(key)
        self._touched.discard(key)

    def _put_state(self, key: str, state: RuleState) -> None:
        if self._states.get(key) is state:
            return
        self._states[key] = state
        self._touched.add(key)
        if state.phase is Phase.OK and state.muted_until is None:
            self._hot.discard(key)
        else:
            self._hot.add(key)

    def _states_to_write(self) -> dict[str, str]:
        """Texts that differ from what the store has; a rule that never left `ok` has none."""
        changed: dict[str, str] = {}
        for key in self._touched:
            state = self._states[key]
            if key not in self._stored and is_fresh(self._rules[key], state):
                continue
            text = to_json(state)
            if self._stored.get(key) != text:
                changed[key] = self._stored[key] = text
        self._touched.clear()
        return changed
