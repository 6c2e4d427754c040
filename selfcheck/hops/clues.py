"""What speaks against each hop of a route: one clue per hop and kind of trouble. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from core.reason import Reason
from core.verdict import Verdict
from selfcheck.canary.model import Signal
from selfcheck.hops.balance import HopBalance, discard
from selfcheck.hops.evidence import HopState, Inputs, RouteEvidence
from selfcheck.hops.finding import Cause
from selfcheck.hops.suspects import Part, suspects

# What a store says when it takes too much at once: its sender is told to wait, and holds.
_TOO_FAST = "rate_limit"
_ACCESS = frozenset({Reason.AUTH, Reason.PERMISSION})


@dataclass(frozen=True, slots=True)
class Clue:
    """Something that speaks against one hop.

    explained: share of the route's loss that it accounts for, 0 to 1.
    proof: seen by a canary itself at this hop, not concluded from counters.
    witnessed: a second, independent sign says the same.
    """

    hop: str
    cause: Cause
    explained: float
    proof: bool
    witnessed: bool
    evidence: tuple[str, ...]
    time_to_loss_s: float | None = None


@dataclass(frozen=True, slots=True)
class BackendView:
    """A store as all routes to it show it. writes_ok None = no route straight to it says so."""

    name: str
    writes_ok: bool | None
    writes_silent: bool
    reads: Reason | None
    evidence: tuple[str, ...]


def view(name: str, signal: Signal, inputs: Inputs) -> BackendView:
    """What the routes to the backend `name` say of its two sides, as far as it concerns a signal.

    A refused connection is the process's doing; a refusing answer is about its own signal only.
    """
    routes = [route for route in inputs.routes if route.path and route.backend == name]
    straight = [route for route in routes if route.direct]
    refused = sorted(
        route.name
        for route in straight
        if route.rejected and (route.refused_connection or route.signal is signal)
    )
    silent = sorted(route.name for route in straight if route.maybe_silent)
    told = [f"{route} was refused at the store" for route in refused]
    told += [f"{route} was taken and never answered" for route in silent]
    broken = sorted({route.read_broken for route in routes if route.read_broken is not None})
    told += [f"reads of {name} end in {reason}" for reason in broken]
    writes_ok = None
    if refused or silent:
        writes_ok = False
    elif any(route.ok_of or route.read_broken for route in straight):
        writes_ok = True
    access = [reason for reason in broken if reason in _ACCESS]
    reads = next(iter(access or broken), None)
    return BackendView(name, writes_ok, bool(silent and not refused), reads, tuple(told))


def clues(route: RouteEvidence, inputs: Inputs) -> tuple[Clue, ...]:
    """All clues along a route in flow order; what follows from another clue is folded into it."""
    found: list[Clue] = []
    for hop in route.path[:-1]:
        state = inputs.hops.get(hop)
        found += _entry(route, hop, inputs)
        if state is not None and not any(clue.hop == hop for clue in found):
            found += _of_state(route, state)
    found += _at_store(route, inputs, any(clue.cause is Cause.HELD for clue in found))
    return _without_consequences(route, tuple(found))


def _entry(route: RouteEvidence, hop: str, inputs: Inputs) -> Iterator[Clue]:
    if hop != route.entry:
        return
    beside = [r for r in inputs.routes if r.name != route.name and r.path and r.entry == hop]
    state = inputs.hops.get(hop)
    if route.rejected:
        what = "no connection" if route.refused_connection else "refused by its answer"
        told = [f"{route.rejected} of {route.of} rejected at {hop}: {what}"]
        told += [f"{r.name} is refused there too" for r in beside if r.rejected]
        seconded = any(r.rejected for r in beside)
        if state is not None and state.refuses:
            told.append(f"the metrics endpoint of {hop} refuses connections too")
            seconded = True
        yield Clue(hop, Cause.REFUSES, 1.0, True, seconded, tuple(told))
    elif route.maybe_silent:
        told = [f"{hop} took {route.maybe_silent} of {route.of} and never answered"]
        told += [f"{r.name} waits there too" for r in beside if r.maybe_silent]
        seconded = any(r.maybe_silent for r in beside)
        if state is not None and state.silent:
            told.append(f"the metrics endpoint of {hop} is silent too")
            seconded = True
        yield Clue(hop, Cause.SILENT, 1.0, True, seconded, tuple(told))


def _of_state(route: RouteEvidence, state: HopState) -> Iterator[Clue]:
    if state.refuses or state.silent:
        cause = Cause.REFUSES if state.refuses else Cause.SILENT
        told = f"the metrics endpoint of {state.hop}: {state.reason.value}"
        # A metrics port is not the pipeline: alone it explains half at most.
        yield Clue(state.hop, cause, 0.5, False, False, (told,))
        return
    balance = state.balances.get(route.signal)
    held = [queue for queue in state.queues.get(route.signal, ()) if queue.held]
    for queue in held:
        of = queue.capacity if queue.capacity is not None else "unknown capacity"
        told = f"exporter {queue.exporter}: queue {queue.size} of {of}, nothing sent"
        soon = queue.loss_in_s(state.retry_left_s)
        when = () if soon is None else (f"time to loss: {soon:.0f} s at the present rate",)
        yield Clue(state.hop, Cause.HELD, 1.0, False, False, (told, *when), soon)
    if balance is None or not route.missed:
        return
    yield from _of_balance(route, balance, bool(held))


def _of_balance(route: RouteEvidence, balance: HopBalance, held: bool) -> Iterator[Clue]:
    missed = route.lost + route.policy_dropped
    if missed <= 0:
        return
    intended = sum(balance.intended_by.values())
    # A queue that holds everything explains the loss without the filter of ordinary days.
    meant = not route.drop_declared and (not held or route.policy_dropped > 0)
    if intended and meant:
        told = tuple(
            f"processor {component} removed {count} on purpose, as its counter says"
            for component, count in sorted(balance.intended_by.items())
        )
        yield Clue(balance.hop, Cause.POLICY, min(1.0, intended / missed), False, False, told)
    dropped = sum(balance.dropped_by.values())
    if dropped and not held:
        told = tuple(line for line in balance.evidence if line.startswith("exporter "))
        yield Clue(balance.hop, Cause.DROPPED, min(1.0, dropped / missed), False, False, told)
    silent = balance.silent
    if balance.lossy and silent is not None and silent > balance.error and balance.came_in:
        rate = missed / route.of if route.of else 1.0
        share = min(silent / balance.came_in, rate) / rate
        told = (f"{balance.hop}: {silent} of {balance.came_in} items missing without a counter",)
        yield Clue(balance.hop, Cause.SILENT_LOSS, share, False, False, told + balance.evidence)


def _of_backend(route: RouteEvidence, store: BackendView) -> Iterator[Clue]:
    # A store that refuses is no reason for a route through it that gets everything stored.
    concerned = route.verdict is not Verdict.OK
    direct = route.direct
    if store.reads in _ACCESS:
        yield Clue(store.name, Cause.ACCESS, 1.0, True, True, store.evidence)
        if store.writes_ok is False and concerned:
            yield Clue(store.name, Cause.INGEST, 1.0, direct, False, store.evidence)
    elif store.writes_ok is False and store.writes_silent and concerned:
        yield Clue(store.name, Cause.SILENT, 1.0, direct, store.reads is not None, store.evidence)
    elif store.writes_ok is False and store.reads is not None:
        yield Clue(store.name, Cause.STORE, 1.0, direct, True, store.evidence)
    elif store.writes_ok is False and concerned:
        told = (*store.evidence, f"no read of {store.name} has failed")
        yield Clue(store.name, Cause.INGEST, 1.0, direct, True, told)
    elif store.reads is not None:
        yield Clue(store.name, Cause.READ_SIDE, 1.0, True, store.writes_ok is True, store.evidence)


def discarded(route: RouteEvidence, inputs: Inputs) -> tuple[str, ...]:
    """What the store at the end of `route` counts as discarded, the largest count first.

    Its counters are of everybody's telemetry: alone they do not say whose was discarded.
    """
    balance = _store_balance(route, inputs)
    return () if balance is None else balance.discards


def _store_balance(route: RouteEvidence, inputs: Inputs) -> HopBalance | None:
    state = inputs.hops.get(route.backend)
    return None if state is None else state.balances.get(route.signal)


def _at_store(route: RouteEvidence, inputs: Inputs, held: bool) -> Iterator[Clue]:
    seen = tuple(_of_backend(route, view(route.backend, route.signal, inputs)))
    balance = _store_balance(route, inputs)
    if balance is None or not balance.discards:
        yield from seen
    elif any(clue.cause is Cause.INGEST for clue in seen):
        # One trouble: the counter says why the store refuses what its senders saw refused.
        for clue in seen:
            told = balance.discards if clue.cause is Cause.INGEST else ()
            yield replace(clue, evidence=(*clue.evidence, *told))
    else:
        yield from seen
        # What a queue holds was not discarded, unless the store tells its sender to wait.
        waits = any(_TOO_FAST in reason for reason in balance.dropped_by)
        if (waits or not held) and Part(route.backend) in suspects(route, inputs):
            yield from _of_discards(route, balance)


def _of_discards(route: RouteEvidence, balance: HopBalance) -> Iterator[Clue]:
    """A limit guards the store and chooses no telemetry: loss. A rule of its operator's is policy.

    Rule: docs/design.md, "Loss that is meant".
    """
    missed = route.lost + route.policy_dropped
    meant = not route.drop_declared
    for cause, counts, counted in (
        (Cause.DROPPED, balance.dropped_by, True),
        (Cause.POLICY, balance.intended_by, meant),
    ):
        if missed > 0 and counts and counted:
            told = tuple(discard(balance.hop, counts, cause is Cause.POLICY))
            share = min(1.0, sum(counts.values()) / missed)
            yield Clue(balance.hop, cause, share, False, False, told)


def _without_consequences(route: RouteEvidence, found: tuple[Clue, ...]) -> tuple[Clue, ...]:
    """Fold what follows from trouble further down into that trouble.

    A hop that cannot hand on holds, drops, or answers its own sender with an error.
    """
    place = {hop: index for index, hop in enumerate(route.path)}
    blocked = frozenset({Cause.REFUSES, Cause.SILENT, Cause.STORE, Cause.INGEST})
    kept: list[Clue] = []
    for clue in sorted(found, key=lambda one: -place[one.hop]):
        below = [one for one in kept if place[one.hop] > place[clue.hop]]
        causes = [
            index
            for index, one in enumerate(kept)
            if one in below and (one.cause in blocked or _discards(one, route))
        ]
        follows = clue.cause in {Cause.HELD, Cause.DROPPED} or (
            clue.cause is Cause.REFUSES and clue.proof and not route.refused_connection
        )
        reads_only = [i for i, one in enumerate(kept) if one.cause is Cause.READ_SIDE]
        if follows and causes:
            index = causes[0]
            kept[index] = _seconded(kept[index], clue)
        elif clue.cause in {Cause.HELD, Cause.DROPPED} and reads_only:
            # Nothing is delivered and nothing can be read: both sides of the store are gone.
            index = reads_only[0]
            kept[index] = _seconded(kept[index], clue, Cause.STORE)
        else:
            kept.append(clue)
    return tuple(sorted(kept, key=lambda one: place[one.hop]))


def _discards(clue: Clue, route: RouteEvidence) -> bool:
    """Whether it says that the store discards: then what failed to send to it was turned away."""
    return clue.hop == route.backend and clue.cause in {Cause.DROPPED, Cause.POLICY}


def _seconded(clue: Clue, by: Clue, cause: Cause | None = None) -> Clue:
    return Clue(
        clue.hop,
        cause or clue.cause,
        clue.explained,
        clue.proof and cause is None,
        clue.witnessed,
        (*clue.evidence, *(f"{by.hop}: {line}" for line in by.evidence)),
        by.time_to_loss_s,
    )
