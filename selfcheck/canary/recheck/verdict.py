"""What the rechecks of a route say together. Pure; the first rule that holds wins.

Evidence of loss comes before `blind`. A loss counts at the age that found it and no other, so
that one old incident is not told again at each later age.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from core.clock import Instant
from core.reason import Reason
from core.result import Fact, Result
from selfcheck.canary.judge import age_bounds_s
from selfcheck.canary.recheck.model import (
    VERIFIED,
    WAITING,
    Recheck,
    RecheckAccount,
    RecheckState,
    violation,
)
from selfcheck.canary.recheck.plan import OVERDUE_S, Age, Pace
from selfcheck.canary.recheck.tally import AgeTally, Trouble

HINT = "or the store keeps less than that: say so by the backend's retention"


@dataclass(frozen=True, slots=True)
class AgeEvidence:
    """One age. newest: the newest settled rechecks that apply now, newest first, a window of them.

    next_s: seconds until the next recheck is due, None when none waits. tally: of more of them.
    """

    age: Age
    account: RecheckAccount
    newest: Sequence[Recheck]
    next_s: float | None
    tally: AgeTally = field(default_factory=AgeTally)

    @property
    def open(self) -> int:
        """How many are due and not settled."""
        return sum(self.account.by_state[state] for state in WAITING - {RecheckState.PLANNED})


@dataclass(frozen=True, slots=True)
class RecheckEvidence:
    """All ages of a route, ascending. retention_s: None = not stated."""

    ages: Sequence[AgeEvidence]
    retention_s: float | None
    pace: Pace


def recheck_result(evidence: RecheckEvidence, now: Instant) -> Result | None:
    """The result of a route's rechecks; None while nothing can be said, none having applied."""
    kept = [one for one in evidence.ages if _applies(one.age, evidence.retention_s)]
    begun = [one for one in kept if one.newest or one.open]
    if not begun and all(one.account.balanced for one in evidence.ages):
        return None
    facts = _facts(evidence.ages)
    for rule in (_missed, _denied, _often_missed, _unbalanced, _blind, _late, _often_unread):
        if (found := rule(evidence, begun, now)) is not None:
            return Result(found.verdict, found.reason, found.detail, facts)
    good = [f"{one.age.name} {_count(one, RecheckState.OK)} of {len(_verified(one))} ok"
            for one in begun if one.newest]  # fmt: skip
    if not good:
        return None
    ahead = [_ahead(one) for one in kept if one not in begun]
    return Result.ok(facts, ", ".join([*good, *ahead]))


def _applies(age: Age, retention_s: float | None) -> bool:
    """What the store need not keep so long is no loss, nor was it."""
    return retention_s is None or age.after_s < retention_s


def _ahead(one: AgeEvidence) -> str:
    """Of an age that nothing has reached under these parameters: not ok, it has not begun."""
    if one.next_s is None:
        return f"{one.age.name} starting"
    return f"{one.age.name} starting, first due in {one.next_s / 3600:.1f} h"


def _missed(evidence: RecheckEvidence, begun: Sequence[AgeEvidence], _: Instant) -> Result | None:
    """Lost or altered after having been seen; the longest age first: its loss is the oldest."""
    told, proven, reason = [], False, Reason.SILENT_LOSS
    for one in reversed(begun):
        bad = [item for item in one.newest if item.newly_missed]
        if not bad:
            continue
        told.append(_told(one, bad))
        altered = [item for item in bad if item.state is RecheckState.ALTERED]
        proven = proven or bool(altered) or _kept_so_long(evidence, one.age)
        reason = Reason.ALTERED if len(altered) == len(bad) else Reason.SILENT_LOSS
    if not told:
        return None
    text = "; ".join(told)
    if proven:
        return Result.fail(reason, text)
    return Result.degraded(reason, f"{text}; {HINT}")


def _told(one: AgeEvidence, bad: Sequence[Recheck]) -> str:
    lost = [item for item in bad if item.state is RecheckState.LOST]
    altered, of = len(bad) - len(lost), len(_verified(one))
    parts = []
    if lost:
        last = max(item.seen for item in lost)
        parts.append(f"{len(lost)} of {of} lost after having been seen,"
                     f" last at {last:%Y-%m-%dT%H:%M:%SZ}")  # fmt: skip
    if altered:
        parts.append(f"{altered} of {of} altered after having been seen intact")
    return f"{one.age.name} after sending: {', '.join(parts)} ({bad[0].canary.canary_id})"


def _kept_so_long(evidence: RecheckEvidence, age: Age) -> bool:
    """Whether an absence at `age` can be no expiry: stated, or others were found so late."""
    if evidence.retention_s is not None:
        return True
    older = [one for one in evidence.ages if one.age.after_s >= age.after_s]
    return sum(one.account.by_state[RecheckState.OK] for one in older) > 0


def _denied(_evidence: RecheckEvidence, begun: Sequence[AgeEvidence], _: Instant) -> Result | None:
    """Stored, and one of the paths does not show it any more: whoever asks by that is misled."""
    told = []
    for one in reversed(begun):
        by = Counter(item.denied_by for item in one.newest if item.denied_by)
        told += [
            f"{one.age.name} after sending: path {path} did not show {n} of {len(_verified(one))}"
            f" that are stored"
            for path, n in sorted(by.items())
        ]
    return Result.degraded(Reason.SILENT_LOSS, "; ".join(told)) if told else None


def _often_missed(
    _evidence: RecheckEvidence, begun: Sequence[AgeEvidence], _now: Instant
) -> Result | None:
    return _often(begun, Reason.SILENT_LOSS, Trouble.MISSED, Trouble.DENIED)


def _often_unread(
    _evidence: RecheckEvidence, begun: Sequence[AgeEvidence], _now: Instant
) -> Result | None:
    """Some records, or all by one path, cannot be read any more; others can."""
    return _often(begun, Reason.READBACK, Trouble.UNREAD, Trouble.HARD, Trouble.UNKNOWN)


def _often(begun: Sequence[AgeEvidence], reason: Reason, *troubles: Trouble) -> Result | None:
    told = [
        f"{one.age.name} after sending: {often}"
        for one in reversed(begun)
        if (often := one.tally.often(*troubles))
    ]
    return Result.degraded(reason, "; ".join(told)) if told else None


def _unbalanced(
    evidence: RecheckEvidence, _begun: Sequence[AgeEvidence], _now: Instant
) -> Result | None:
    wrong = [text for one in evidence.ages if (text := violation(one.account))]
    return Result.blind(Reason.ACCOUNTING, "; ".join(wrong)) if wrong else None


def _blind(evidence: RecheckEvidence, begun: Sequence[AgeEvidence], now: Instant) -> Result | None:
    for one in begun:
        if not one.newest:
            text = f"{one.age.name}: {one.open} due, none judged yet"
            return Result.blind(Reason.STARTING, text)
        newest = one.newest[0]
        if newest.state is RecheckState.UNKNOWN:
            text = f"{one.age.name}: could not be looked for in time: {newest.reason}"
            return Result.blind(newest.reason, text)
        # Nothing seen, nothing to look for again: an old answer is no present one.
        age_s = age_bounds_s(newest.judged, now)[1] if newest.judged else 0.0
        limit_s = 3 * evidence.pace.gap_s(one.age.after_s) + OVERDUE_S[one.age.name]
        if age_s > limit_s:
            text = f"{one.age.name}: newest is {age_s:.0f} s old, limit {limit_s:.0f} s"
            if one.next_s is not None and not one.open:
                text += f": nothing seen is that old, next due in {one.next_s / 3600:.1f} h"
            return Result.blind(Reason.STALE, text)
    return None


def _late(_evidence: RecheckEvidence, begun: Sequence[AgeEvidence], _now: Instant) -> Result | None:
    for one in begun:
        if back := _count(one, RecheckState.LATE):
            text = f"{one.age.name}: {back} of {len(_verified(one))} found again after a loss"
            return Result.degraded(Reason.LATE, text)
    return None


def _verified(one: AgeEvidence) -> list[Recheck]:
    return [item for item in one.newest if item.state in VERIFIED]


def _count(one: AgeEvidence, state: RecheckState) -> int:
    return sum(item.state is state for item in one.newest)


def _facts(ages: Sequence[AgeEvidence]) -> Mapping[str, Fact]:
    """Counts since ever by age and state, those that are not zero."""
    facts: dict[str, Fact] = {}
    for one in ages:
        facts[f"due_{one.age.name}"] = one.account.due
        for state, count in one.account.by_state.items():
            if count:
                facts[f"{state}_{one.age.name}"] = count
    return facts
