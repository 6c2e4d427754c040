"""May a source be judged, and what does its newest record say? Pure.

A source is never called quiet on our absence of data alone: the canaries of its routes must be
`ok` and the read must have succeeded. Rule: docs/design.md, "Sources that go quiet".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.reason import Reason
from core.result import Fact, Result
from core.verdict import Verdict
from selfcheck.backends.protocol import Newest
from selfcheck.quiet.model import Source

_NS = 1e9
_FUTURE_S = 600.0


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered of a source between steps.

    last_ns: newest event time ever read, Unix nanoseconds; None = never seen.
    watched_s: how long the source has been expected.
    """

    last_ns: int | None
    watched_s: float


def gated(routes: Mapping[str, Verdict]) -> Result | None:
    """`blind(route)`, naming the routes that are not `ok`; None = the source may be judged.

    routes: present verdicts of the routes beside a source. Without any, a quiet source cannot be
    told from a broken path, and is judged as it is.
    """
    barring = [f"{name} {one.value}" for name, one in routes.items() if one is not Verdict.OK]
    return Result.blind(Reason.ROUTE, f"not judged: {', '.join(barring)}") if barring else None


def judge(
    source: Source, newest: Newest, memory: Memory, now_ns: int, grace_s: float
) -> tuple[Result, Memory]:
    """The result of one read, and what to remember of it.

    fail(quiet): the newest record is older than `quiet_after_s`; fail(never_seen): none was ever
    read within `grace_s` of being expected, `blind(starting)` before that. An event time more
    than ten minutes ahead is a clock's fault and no proof of freshness. A broken read is blind.
    """
    if not newest.complete:
        reason = newest.reason if newest.reason is Reason.AUTH else Reason.READBACK
        return Result.blind(reason, f"{source.backend} could not be read: {newest.detail}"), memory
    stamps = [stamp for stamp in (newest.stamp_ns, memory.last_ns) if stamp is not None]
    kept = Memory(max(stamps, default=None), memory.watched_s)
    if kept.last_ns is None:
        return _unseen(source, memory, grace_s), kept
    age_s = (now_ns - kept.last_ns) / _NS
    facts: Mapping[str, Fact] = {"newest_age_s": age_s}
    if age_s < -_FUTURE_S:
        detail = f"newest record lies {-age_s:.0f} s in the future"
        # Not remembered: one wrong clock must not hide a later silence.
        return Result.degraded(Reason.CLOCK, detail, facts), memory
    if age_s > source.quiet_after_s:
        detail = f"newest record {age_s:.0f} s old, expected within {source.quiet_after_s:g} s"
        return Result.fail(Reason.QUIET, detail, facts), kept
    return Result.ok(facts), kept


def _unseen(source: Source, memory: Memory, grace_s: float) -> Result:
    if memory.watched_s < grace_s:
        return Result.blind(Reason.STARTING, f"no record of {source.name} yet")
    detail = f"no record in {memory.watched_s:.0f} s of watching: name, selector or deployment?"
    return Result.fail(Reason.NEVER_SEEN, detail)


def group(
    members: Mapping[str, Result], fail_share: float = 0.25, critical: Sequence[str] = ()
) -> Result:
    """One result for a group of sources: `degraded` naming who is quiet, `fail` from a share on.

    A quiet member of `critical` fails the group. Members that could not be judged do not count as
    healthy: with nobody quiet and anybody blind the group is blind. An empty group is blind.
    """
    if not members:
        return Result.blind(Reason.STARTING, "no members")
    quiet = sorted(name for name, result in members.items() if result.verdict is Verdict.FAIL)
    blind = sorted(name for name, result in members.items() if result.verdict is Verdict.BLIND)
    facts = {"quiet": len(quiet), "blind": len(blind), "members": len(members)}
    if quiet:
        told = f"{len(quiet)} of {len(members)} quiet: {', '.join(quiet)}"
        grave = len(quiet) >= fail_share * len(members) or not set(critical).isdisjoint(quiet)
        make = Result.fail if grave else Result.degraded
        return make(Reason.QUIET, told, facts)
    if blind:
        first = members[blind[0]]
        told = f"{len(blind)} of {len(members)} could not be judged: {', '.join(blind)}"
        return Result.blind(first.reason, told, facts)
    weak = sorted(name for name, result in members.items() if result.verdict is Verdict.DEGRADED)
    if weak:
        return Result.degraded(members[weak[0]].reason, f"degraded: {', '.join(weak)}", facts)
    return Result.ok(facts)
