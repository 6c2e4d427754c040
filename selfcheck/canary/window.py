"""The verdict of a route, from its newest judged canaries. Pure; the first rule that holds wins.

Source: docs/design.md, "Verdict of a route". Evidence of loss comes before `blind`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from core.reason import Reason
from core.verdict import Verdict
from selfcheck.canary.judge import duplicated
from selfcheck.canary.judging import JudgingRules
from selfcheck.canary.kept import HOUR_S, Tally
from selfcheck.canary.ledger import late, untaken, untold
from selfcheck.canary.model import LOSSES, VERIFIED, LedgerRow, Outcome, Sent

HINT = "never seen one: tenant, selector or path?"
# Reasons of `unknown` that are not the read side's.
_NOT_THE_READING = frozenset({Reason.STARTING, Reason.MAYBE_SENT, Reason.RECONFIGURED})


@dataclass(frozen=True, slots=True)
class RouteVerdict:
    """Verdict of a route with its reason; `detail` is one sentence for people."""

    verdict: Verdict
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the verdict is made of.

    rows: the judged ones that make the verdict, newest first. hour: those sent in the last hour,
    which is `hour_s` long: longer than others where a route sends rarely.
    verified_age_s: since the newest verified canary was sent; None when there is none.
    limit_s: the age from which that is too old. drop_declared: the route expects drops.
    imbalance: a violated accounting identity in words. target_s: delay target, None = none yet.
    capped: why our own volume cap keeps canaries from being sent or read, "" when it does not.
    slower: how the route has surely become slower than it was for days, "" when it has not.
    still_slower: the same while nobody can tell that it is over.
    denied: how the store tells people that what it holds is not there, "" while it does not.
    refused: which ways of asking the store are refused while others work, "" while none is.
    """

    rows: Sequence[LedgerRow]
    hour: Tally
    verified_age_s: float | None
    limit_s: float
    ever_seen: bool
    drop_declared: bool
    imbalance: str
    target_s: float | None
    capped: str
    slower: str
    still_slower: str
    denied: str
    refused: str = ""
    hour_s: float = HOUR_S


def route_verdict(
    evidence: Evidence, rules: JudgingRules, previous: RouteVerdict | None
) -> RouteVerdict:
    """Verdict of a route. `previous`: the verdict before, for a failure that has not cleared."""
    newest = judged(evidence.rows)[: rules.window]
    for rule in (_fail, _held):
        if found := rule(newest, evidence, rules, previous):
            return found
    blind = _blind(newest, evidence) or _untold(newest, rules)
    return blind or _degraded(newest, evidence, rules, previous) or _ok(newest)


def judged(rows: Sequence[LedgerRow]) -> list[LedgerRow]:
    """The rows that have an outcome, in their order."""
    return [row for row in rows if row.outcome is not Outcome.PENDING]


def silent(row: LedgerRow) -> bool:
    """Whether the endpoint took this canary, never answered, and it was not seen either."""
    receipt = row.receipt
    quiet = receipt is not None and receipt.sent is Sent.MAYBE and receipt.silent
    return quiet and row.outcome is Outcome.UNKNOWN


def is_loss(row: LedgerRow) -> bool:
    """Whether the row counts as a failure of its route."""
    return row.outcome in LOSSES or silent(row)


def worse(newest: Sequence[LedgerRow], settled: Sequence[LedgerRow]) -> list[LedgerRow]:
    """The window with more losses, of equals the one with less that is ok, else the newest."""

    def bad(rows: Iterable[LedgerRow]) -> tuple[int, int]:
        rows = list(rows)
        return sum(map(is_loss, rows)), sum(row.outcome is not Outcome.OK for row in rows)

    return list(max(newest, settled, key=bad))


def _fail(
    newest: Sequence[LedgerRow],
    evidence: Evidence,
    rules: JudgingRules,
    _previous: RouteVerdict | None,
) -> RouteVerdict | None:
    losses = [row for row in newest if is_loss(row)]
    if len(losses) >= rules.losses_to_fail:
        return RouteVerdict(Verdict.FAIL, _kind(losses), _told(losses, len(newest)))
    dropped = [row for row in newest if row.outcome is Outcome.POLICY_DROP]
    if len(dropped) >= rules.losses_to_fail and not evidence.drop_declared:
        text = f"{len(dropped)} of the last {len(newest)} dropped on purpose: {dropped[0].diff}"
        hint = "; declare it with expect_drop if it is meant"
        return RouteVerdict(Verdict.FAIL, Reason.POLICY, text + hint)
    return None


def _kind(losses: Sequence[LedgerRow]) -> Reason:
    """The commonest kind of loss; of equals the newest."""
    kinds = [_loss_reason(row) for row in losses]
    return max(kinds, key=kinds.count)


def _loss_reason(row: LedgerRow) -> Reason:
    if row.outcome is Outcome.LOST:
        return Reason.SILENT_LOSS
    return Reason.ALTERED if row.outcome is Outcome.ALTERED else Reason.INJECT


def _told(losses: Sequence[LedgerRow], of: int) -> str:
    parts = []
    for word, rows in (
        ("lost", [r for r in losses if r.outcome is Outcome.LOST]),
        ("altered", [r for r in losses if r.outcome is Outcome.ALTERED]),
        ("rejected", [r for r in losses if r.outcome is Outcome.REJECTED]),
        ("taken without an answer", [r for r in losses if silent(r)]),
    ):
        parts += [f"{len(rows)} {word}"] if rows else []
    text = f"{', '.join(parts)} of the last {of}"
    receipt = losses[0].receipt
    why = receipt.detail if _loss_reason(losses[0]) is Reason.INJECT and receipt else ""
    return f"{text}: {why}" if why else text


def _held(
    newest: Sequence[LedgerRow],
    evidence: Evidence,
    rules: JudgingRules,
    previous: RouteVerdict | None,
) -> RouteVerdict | None:
    if previous is None or previous.verdict is not Verdict.FAIL:
        return None
    last = newest[: rules.oks_to_clear]
    # What a declared sampler takes within its band was as well as what it leaves.
    well = {Outcome.OK, *([Outcome.POLICY_DROP] if evidence.drop_declared else [])}
    if len(last) >= rules.oks_to_clear and all(row.outcome in well for row in last):
        return None
    losses = sum(is_loss(row) for row in newest)
    if not losses and _too_old(evidence):
        return None
    note = f"{losses} of the last {len(newest)} lost, not {rules.oks_to_clear} ok in a row yet"
    return RouteVerdict(Verdict.FAIL, previous.reason, note)


def _too_old(evidence: Evidence) -> bool:
    return evidence.verified_age_s is None or evidence.verified_age_s > evidence.limit_s


def _blind(newest: Sequence[LedgerRow], evidence: Evidence) -> RouteVerdict | None:
    if evidence.imbalance:
        return RouteVerdict(Verdict.BLIND, Reason.ACCOUNTING, evidence.imbalance)
    if evidence.capped and _too_old(evidence):
        return RouteVerdict(Verdict.BLIND, Reason.CAP, evidence.capped)
    reason = newest[0].reason if newest and newest[0].outcome is Outcome.UNKNOWN else None
    if not newest:
        return RouteVerdict(Verdict.BLIND, Reason.STARTING, "no canary judged yet")
    if not evidence.ever_seen:
        if reason is not None and reason not in _NOT_THE_READING:
            return RouteVerdict(Verdict.BLIND, reason, f"cannot read back: {reason}")
        return RouteVerdict(Verdict.BLIND, Reason.STARTING, HINT)
    if not _too_old(evidence):
        return None
    age = evidence.verified_age_s
    since = "none verified yet" if age is None else f"newest verified canary is {age:.0f} s old"
    detail = f"{since}, limit {evidence.limit_s:.0f} s"
    return RouteVerdict(Verdict.BLIND, reason or Reason.STALE, detail)


def _untold(newest: Sequence[LedgerRow], rules: JudgingRules) -> RouteVerdict | None:
    """As many that nobody can tell of as would be a failure if they were lost.

    Those that could be told hide them otherwise: a store may answer in time only of what it has.
    """
    rows = [row for row in newest if untold(row.outcome, row.reason)]
    if len(rows) < rules.losses_to_fail:
        return None
    text = f"{len(rows)} of the last {len(newest)} could not be told: {rows[0].reason}"
    return RouteVerdict(Verdict.BLIND, rows[0].reason, text)


def _degraded(
    newest: Sequence[LedgerRow],
    evidence: Evidence,
    rules: JudgingRules,
    previous: RouteVerdict | None,
) -> RouteVerdict | None:
    of = len(newest)
    if count := sum(late(row.outcome, row.reason) for row in newest):
        return RouteVerdict(Verdict.DEGRADED, Reason.LATE, f"{count} of the last {of} late")
    if doubled := sum(duplicated(row, 1) for row in newest):
        text = f"{doubled} of the last {of} stored more often than sent"
        return RouteVerdict(Verdict.DEGRADED, Reason.DUPLICATED, text)
    return (
        _refused_yet_stored(newest, rules)
        or _never_at_once(newest, rules)
        or _hour(evidence, rules)
        or _slow(newest, evidence, rules)
        or _slower(evidence, previous)
        or _denied(evidence)
    )


def _refused_yet_stored(newest: Sequence[LedgerRow], rules: JudgingRules) -> RouteVerdict | None:
    """Canaries that arrived although whoever sent them was told otherwise, or nothing at all.

    Senders that believe it drop their records, or send them again and again.
    """
    told = [r.receipt.untaken for r in newest if r.receipt and untaken(r.outcome, r.receipt)]
    if len(told) < rules.losses_to_fail:
        return None
    text = f"{len(told)} of the last {len(newest)} stored, though {told[0]}"
    return RouteVerdict(Verdict.DEGRADED, Reason.INJECT, text)


def _never_at_once(newest: Sequence[LedgerRow], rules: JudgingRules) -> RouteVerdict | None:
    """Most first tries were refused: senders that do not try twice lose what they send.

    A first try that may have arrived is none of these: its retry may only have been too careful.
    """
    taken = [row.receipt for row in newest if row.receipt and row.receipt.sent is Sent.ACCEPTED]
    again = [receipt for receipt in taken if receipt.first_try is Sent.REJECTED]
    if len(newest) < rules.window or 2 * len(again) <= len(newest):
        return None
    text = f"{len(again)} of the last {len(newest)} taken, but not at the first try"
    return RouteVerdict(Verdict.DEGRADED, Reason.INJECT, text)


def _hour(evidence: Evidence, rules: JudgingRules) -> RouteVerdict | None:
    """Too few at a time to be a failure, yet too many for an hour."""
    hour = evidence.hour
    kinds = [
        (Reason.SILENT_LOSS, "lost", hour.lost),
        (Reason.ALTERED, "altered", hour.altered),
        (Reason.POLICY, "dropped on purpose", 0 if evidence.drop_declared else hour.dropped),
    ]
    bad = [(reason, word) for reason, word, count in kinds if count]
    # A declared sampler takes most of them: what goes wrong with the rest must not look small.
    of = hour.judged - (hour.dropped if evidence.drop_declared else 0)
    count, least = sum(count for _, _, count in kinds), rules.hour_share * of
    # Of what has the better excuse each separate time counts as one, but for one outage.
    again = max(0, hour.runs - 1)
    if bad and count + again >= max(rules.hour_losses, least):
        words = " or ".join(word for _, word in bad)
        text = f"{count} of {of} {words} within {_span(evidence)}"
        also = f", and {hour.runs} separate times of other trouble" if again else ""
        return RouteVerdict(Verdict.DEGRADED, bad[0][0], text + also)
    found = [
        (Reason.INJECT, "refused", hour.refused),
        (Reason.INJECT, "stored though their sender was told otherwise", hour.untaken),
        (Reason.READBACK, "not to be told of", hour.untold),
        (Reason.DUPLICATED, "stored more often than sent", hour.doubled),
        (Reason.LATE, "late", hour.late),
        (Reason.SLOW, f"slower than {evidence.target_s or 0.0:g} s", hour.slow),
    ]
    if hour.times < rules.hour_losses or hour.astray < least:
        return None
    reasons = {reason for reason, _, count in found if count}
    reason = reasons.pop() if len(reasons) == 1 else Reason.INJECT
    what = " or ".join(word for _, word, count in found if count)
    text = f"{hour.astray} of {of} {what} within {_span(evidence)}"
    text += f", at {hour.times} separate times"
    return RouteVerdict(Verdict.DEGRADED, reason, text)


def _span(evidence: Evidence) -> str:
    hours = evidence.hour_s / HOUR_S
    return "the hour" if hours <= 1 else f"{hours:.3g} h"


def _slow(
    newest: Sequence[LedgerRow], evidence: Evidence, rules: JudgingRules
) -> RouteVerdict | None:
    """Slow canaries, when they are as many as would be a failure if they were lost."""
    target = evidence.target_s
    if target is None:
        return None
    slow = sum(row.delay_s is not None and row.delay_s > target for row in newest)
    if slow < rules.losses_to_fail:
        return None
    text = f"{slow} of the last {len(newest)} took more than {target:.1f} s"
    return RouteVerdict(Verdict.DEGRADED, Reason.SLOW, text)


def _slower(evidence: Evidence, previous: RouteVerdict | None) -> RouteVerdict | None:
    was = previous is not None and previous.reason is Reason.SLOWER
    told = evidence.slower or (evidence.still_slower if was else "")
    return RouteVerdict(Verdict.DEGRADED, Reason.SLOWER, told) if told else None


def _denied(evidence: Evidence) -> RouteVerdict | None:
    """Canaries are found, and who asks in another way, or once more, is not told so."""
    if evidence.denied:
        return RouteVerdict(Verdict.DEGRADED, Reason.SILENT_LOSS, evidence.denied)
    if evidence.refused:
        return RouteVerdict(Verdict.DEGRADED, Reason.READBACK, evidence.refused)
    return None


def _ok(newest: Sequence[LedgerRow]) -> RouteVerdict:
    good = sum(row.outcome is Outcome.OK for row in newest)
    unread = sum(row.outcome is Outcome.LATE for row in newest)
    note = f", {unread} arrived but not looked for in time" if unread else ""
    return RouteVerdict(Verdict.OK, Reason.OK, f"{good} of the last {len(newest)} ok{note}")


def verifying(*, sampled: bool) -> frozenset[Outcome]:
    """Outcomes that say a complete read has judged a canary.

    sampled: the route declares a sampler, so that most of its canaries are meant to be absent:
    an absence within the sampler's band has been read as completely as an arrival.
    """
    return VERIFIED | {Outcome.POLICY_DROP} if sampled else VERIFIED
