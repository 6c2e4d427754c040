"""Where a loss lies: one finding per route that loses or cannot be judged. Pure, replayable.

Healthy parallel routes clear hops, counters explain losses, and only both together are `high`.
Two troubles at once are never `high`: they are listed. Rule: docs/design.md, "Where a loss lies".
"""

from dataclasses import replace

from core.reason import Reason
from core.verdict import Verdict
from selfcheck.hops.clues import Clue, clues, discarded
from selfcheck.hops.evidence import Inputs, RouteEvidence
from selfcheck.hops.finding import Cause, Confidence, Finding
from selfcheck.hops.suspects import Part, suspects

SELF = "coalmine"

_MOSTLY, _PARTLY = 0.8, 0.5
_OURS = frozenset(
    {
        Reason.HARNESS,
        Reason.INTERNAL,
        Reason.LAG,
        Reason.CLOCK,
        Reason.STORE,
        Reason.DESCRIPTORS,
        Reason.RESOLVER,
        Reason.EGRESS,
        Reason.ACCOUNTING,
        Reason.LEDGER_FULL,
        Reason.CAP,
    }
)
# Seen from outside, at the store itself: canaries elsewhere cannot clear it.
_OF_THE_STORE = frozenset(
    {Cause.STORE, Cause.READ_SIDE, Cause.INGEST, Cause.ACCESS, Cause.REFUSES, Cause.SILENT}
)


def localise(inputs: Inputs, only: str | None = None) -> tuple[Finding, ...]:
    """A finding for each lossy or blind route, by name; order of `inputs.routes` is irrelevant.

    only: the one route that is asked about, None = all of them.
    """
    asked = [route for route in inputs.routes if only is None or route.name == only]
    routes = sorted(asked, key=lambda route: route.name)
    return tuple(_finding(route, inputs) for route in routes if _needs_one(route))


def quiet_finding(source: str, backend: str, evidence: tuple[str, ...]) -> Finding:
    """The finding for a source whose telemetry stopped while its routes are `ok`."""
    hop = f"source:{source}"
    return Finding(source, hop, backend, hop, 0, 0, Cause.QUIET, Confidence.HIGH, evidence, ())


def _needs_one(route: RouteEvidence) -> bool:
    if not route.path or route.verdict is Verdict.OK:
        return False
    if route.verdict is Verdict.DEGRADED:
        return route.missed > 0
    just_started = route.reason is Reason.STARTING and route.of == 0 and route.read_broken is None
    return not (just_started and not route.missed)


def _finding(route: RouteEvidence, inputs: Inputs) -> Finding:
    if inputs.loopback in {Verdict.FAIL, Verdict.BLIND}:
        told = f"the loopback route is {inputs.loopback}: sending, reading or judging is at fault"
        return _self(route, told)
    if route.verdict is Verdict.BLIND and route.reason in _OURS:
        return _self(route, f"the route is blind: {route.reason}")
    if route.never_seen and _nobody_sees(route, inputs):
        return _never_seen(route)
    found = _decide(route, inputs)
    # Also where healthy canaries clear the store: what it refuses may be this route's alone.
    aside = discarded(route, inputs) if route.lost or route.policy_dropped else ()
    return replace(found, evidence=tuple(dict.fromkeys((*found.evidence, *aside))))


def _self(route: RouteEvidence, told: str) -> Finding:
    return Finding(
        route=route.name,
        start="send",
        end="read",
        hop=SELF,
        lost=route.missed,
        of=route.of,
        cause=Cause.SELF,
        confidence=Confidence.MEDIUM,
        evidence=(told,),
        missing=(),
    )


def _nobody_sees(route: RouteEvidence, inputs: Inputs) -> bool:
    """Whether no route of this signal ever read anything back from the same backend."""
    refused = route.rejected or route.maybe_silent
    readers = [
        one
        for one in inputs.routes
        if one.path and one.backend == route.backend and one.signal is route.signal
    ]
    return not refused and route.read_broken is None and not any(one.ok_of for one in readers)


def _never_seen(route: RouteEvidence) -> Finding:
    return Finding(
        route=route.name,
        start=route.backend,
        end="read",
        hop=route.backend,
        lost=0,
        of=route.of,
        cause=Cause.ACCESS,
        confidence=Confidence.MEDIUM,
        evidence=("never seen one of its canaries: tenant, selector or path?",),
        missing=("one sighting on any route to this backend",),
    )


def _decide(route: RouteEvidence, inputs: Inputs) -> Finding:
    left = suspects(route, inputs) if route.missed else ()
    found = [clue for clue in clues(route, inputs) if _stands(clue, route, left)]
    hops = {part.hop for part in left}
    if not found:
        return _by_canaries_alone(route, inputs, left)
    best = max(found, key=lambda clue: (clue.proof, clue.explained, -route.path.index(clue.hop)))
    others = [clue for clue in found if clue is not best]
    told = best.evidence + tuple(line for clue in others for line in clue.evidence)
    missing = _missing(route, inputs, hops or {best.hop})
    # A hop that healthy canaries pass by another way in is no certain culprit.
    inside = {part.hop for part in left if not part.by}
    confidence = _confidence(best, others, route, inputs, inside)
    named = best.hop if best.proof or not others or {c.hop for c in others} == {best.hop} else ""
    if confidence is Confidence.LOW and others:
        missing = (*missing, "more than one trouble at once: mend one, then look again")
    return Finding(
        route=route.name,
        start=named or _span(route, left)[0],
        end=_after(route, named) if named else _span(route, left)[1],
        hop=named,
        lost=route.missed,
        of=route.of,
        cause=best.cause if named else Cause.NOT_KNOWN,
        confidence=confidence,
        evidence=tuple(dict.fromkeys(told)),
        missing=() if confidence is Confidence.HIGH else missing,
        time_to_loss_s=best.time_to_loss_s,
    )


def _stands(clue: Clue, route: RouteEvidence, left: tuple[Part, ...]) -> bool:
    """A clue against a hop that healthy canaries clear is about somebody else's telemetry."""
    if clue.proof or not route.missed:
        return True
    return any(part.hop == clue.hop for part in left)


def _confidence(
    best: Clue, others: list[Clue], route: RouteEvidence, inputs: Inputs, hops: set[str]
) -> Confidence:
    if others:
        return Confidence.LOW
    cleared = bool(route.missed) and best.hop not in hops
    if best.proof:
        return Confidence.HIGH if best.witnessed and not cleared else Confidence.MEDIUM
    isolated = hops == {best.hop}
    if best.hop == route.backend and best.cause in _OF_THE_STORE:
        # Seen on another route's canaries: right for them, likely for this one.
        return Confidence.MEDIUM
    if not _read(best.hop, route, inputs):
        return Confidence.LOW
    if isolated and best.explained >= _MOSTLY:
        return Confidence.HIGH
    if best.explained >= _MOSTLY or (isolated and best.explained >= _PARTLY):
        return Confidence.MEDIUM
    return Confidence.MEDIUM if isolated else Confidence.LOW


def _by_canaries_alone(route: RouteEvidence, inputs: Inputs, left: tuple[Part, ...]) -> Finding:
    """No counter speaks: a silent sink where canaries isolate one hop, an interval otherwise."""
    hops = {part.hop for part in left}
    hop = next(iter(hops)) if len(hops) == 1 else ""
    beside = "" if hop else _beside(route, inputs, hops)
    evidence = [f"{route.missed} of {route.of} canaries did not get through"] * bool(route.missed)
    if beside:
        (hop,) = _only(beside, inputs)
        evidence.append(f"{beside} loses as much and passes only {hop}")
    elif hop:
        way = f"the way into {hop} by {route.by}" if [p for p in left if not p.by] == [] else hop
        evidence.append(f"healthy routes clear everything but {way}")
    start, end = (hop, _after(route, hop)) if hop else _span(route, left)
    green = bool(hop) and _read(hop, route, inputs)
    evidence += [f"the counters of {hop} are green: a silent sink"] * green
    missing = _missing(route, inputs, hops)
    if not hop:
        missing = (*missing, _would_narrow(route, inputs, left))
    sure = green or bool(beside)
    confidence = Confidence.MEDIUM if sure else Confidence.LOW if hop else Confidence.NONE
    return Finding(
        route=route.name,
        start=start,
        end=end,
        hop=hop,
        lost=route.missed,
        of=route.of,
        cause=Cause.SILENT_LOSS if hop else Cause.NOT_KNOWN,
        confidence=confidence,
        evidence=tuple(evidence),
        missing=missing,
    )


def _beside(route: RouteEvidence, inputs: Inputs, hops: set[str]) -> str:
    """A losing route beside this one that only one of `hops` can explain: one fault explains both.

    It must lose at least half as much: a little loss there does not explain a great one here.
    """
    for other in sorted(inputs.routes, key=lambda one: one.name):
        same = other.name != route.name and other.signal is route.signal and bool(other.missed)
        as_much = 2 * other.rate >= route.rate
        if same and as_much and len(only := _only(other.name, inputs)) == 1 and only <= hops:
            return other.name
    return ""


def _only(name: str, inputs: Inputs) -> set[str]:
    """The hops that are suspect for the route called `name`."""
    route = next(one for one in inputs.routes if one.name == name)
    return {part.hop for part in suspects(route, inputs)}


def _would_narrow(route: RouteEvidence, inputs: Inputs, left: tuple[Part, ...]) -> str:
    if route.missed and not left:
        return "healthy routes clear every hop: tenant, size or stream of this route?"
    beside = [one for one in inputs.routes if one.direct and one.path and one.name != route.name]
    if not any(one.backend == route.backend for one in beside) and not route.direct:
        return f"a route straight to {route.backend} would narrow it"
    return "more canaries on the healthy routes would narrow it"


def _read(hop: str, route: RouteEvidence, inputs: Inputs) -> bool:
    state = inputs.hops.get(hop)
    balance = state.balances.get(route.signal) if state is not None else None
    return (
        state is not None
        and state.reachable is True
        and (balance is not None and balance.came_in is not None)
    )


def _missing(route: RouteEvidence, inputs: Inputs, hops: set[str]) -> tuple[str, ...]:
    told: list[str] = []
    for hop in route.path[:-1]:
        state = inputs.hops.get(hop)
        if hop not in hops:
            continue
        if state is None or state.reachable is None:
            told.append(f"the counters of {hop}")
        elif route.signal in state.balances:
            told += [f"{hop}: {why}" for why in state.balances[route.signal].unread]
    return tuple(told)


def _span(route: RouteEvidence, left: tuple[Part, ...]) -> tuple[str, str]:
    if not left:
        return "send", "read"
    path = route.path
    first, last = path.index(left[0].hop), path.index(left[-1].hop)
    start = path[first - 1] if first else "send"
    end = left[-1].to or (path[last + 1] if last + 1 < len(path) else "read")
    return start, end


def _after(route: RouteEvidence, hop: str) -> str:
    index = route.path.index(hop)
    return route.path[index + 1] if index + 1 < len(route.path) else "read"
