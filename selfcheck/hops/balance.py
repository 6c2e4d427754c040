"""The hop balance: what came in, went out, is held, was dropped on purpose, and what is missing.

Pure functions over recorded scrapes. What could not be read makes a row blind: its figures are
None and `unread` says why. A loss is the residual `in - out - stored - intended` and nothing
else: dropped counters explain it, they are never added to it, so no loss is counted twice.
Rule: docs/design.md, "The hop balance".
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from selfcheck.canary.model import Signal
from selfcheck.hops.dictionary import COUNTS_TRACES
from selfcheck.hops.increase import Increase, Window
from selfcheck.hops.protocol import Direction, Meter

_FLOOR_SHARE = 0.005


@dataclass(frozen=True, slots=True)
class HopBalance:
    """One hop and signal over a window, in items; None = could not be read, never 0.

    error: what the residual may be off by, so that a loss below it is no loss.
    refused: items that the sender was told to keep; they never came in.
    intended_by, dropped_by: increases by component id, of a store by reason, only of those that
        moved.
    unread: inputs that could not be read; not empty = the row is blind.
    discards: of a store, what it discarded and why, the largest count first.
    """

    hop: str
    signal: Signal
    came_in: int | None
    went_out: int | None
    stored: int | None
    intended: int | None
    dropped: int | None
    loss: int | None
    error: int
    refused: int | None
    intended_by: Mapping[str, int]
    dropped_by: Mapping[str, int]
    evidence: tuple[str, ...]
    unread: tuple[str, ...]
    seconds: float = field(default=0.0)
    discards: tuple[str, ...] = ()

    @property
    def lossy(self) -> bool:
        """Whether more is missing than the balance can be off by."""
        return self.loss is not None and self.loss > self.error

    @property
    def silent(self) -> int | None:
        """Missing items that no counter of the hop admits; None when the loss is not known."""
        return None if self.loss is None else max(0, self.loss - (self.dropped or 0))


@dataclass(frozen=True, slots=True)
class EdgeBalance:
    """Between two hops: what left one and did not come in at the next ones.

    A negative loss is duplication and is told as such.
    """

    start: str
    end: str
    signal: Signal
    went_out: int | None
    came_in: int | None
    loss: int | None
    error: int
    evidence: tuple[str, ...]
    unread: tuple[str, ...]


def hop_balance(hop: str, signal: Signal, window: Window) -> HopBalance:
    """The balance of one hop instance and signal over `window`."""
    unread = window.missing()
    if unread:
        return _blind(hop, signal, unread)
    meters = [meter for meter in window.meters() if meter.signal is signal]
    pick = _picker(meters)
    if any(meter.component == "store" for meter in window.meters()):
        return _store_balance(hop, signal, window, meters)
    came_in, went_out = (
        window.total(pick(component, direction))
        for component, direction in (("receiver", Direction.IN), ("exporter", Direction.OUT))
    )
    dropped = pick("exporter", Direction.DROPPED) + pick("queue", Direction.DROPPED)
    intended = pick("processor", Direction.INTENDED)
    stored = _stored(window, pick("exporter", Direction.STORED))
    gaps = _gaps(came_in, went_out, stored, window, pick)
    removed = window.total(intended)
    loss = None
    if not gaps and came_in is not None and went_out is not None:
        loss = came_in.amount - went_out.amount - (removed.amount if removed else 0.0)
    sums = (came_in, went_out, removed)
    return HopBalance(
        hop=hop,
        signal=signal,
        came_in=_whole(came_in),
        went_out=_whole(went_out),
        stored=stored,
        intended=_whole(removed),
        dropped=_whole(window.total(dropped)),
        loss=None if loss is None else round(loss),
        error=_noise(came_in, sums, window),
        refused=_whole(window.total(pick("receiver", Direction.REFUSED))),
        intended_by=_by_component(window, intended),
        dropped_by=_by_component(window, dropped),
        evidence=_evidence(window, meters, pick),
        unread=gaps,
        seconds=window.seconds,
    )


def _store_balance(hop: str, signal: Signal, window: Window, meters: Sequence[Meter]) -> HopBalance:
    """What a store was offered and discarded. Nothing leaves it, so it has no residual: no loss."""
    pick = _picker(meters)
    came_in = window.total(pick("store", Direction.IN))
    dropped = pick("store", Direction.DROPPED)
    intended = pick("store", Direction.INTENDED)
    dropped_by, intended_by = _by_component(window, dropped), _by_component(window, intended)
    told = (*discard(hop, dropped_by), *discard(hop, intended_by, meant=True))
    return HopBalance(
        hop=hop,
        signal=signal,
        came_in=_whole(came_in),
        went_out=None,
        stored=None,
        intended=_whole(window.total(intended)),
        dropped=_whole(window.total(dropped)),
        loss=None,
        error=0,
        refused=None,
        intended_by=intended_by,
        dropped_by=dropped_by,
        evidence=told,
        unread=(),
        seconds=window.seconds,
        discards=told,
    )


def discard(hop: str, counts: Mapping[str, int], meant: bool = False) -> Iterator[str]:
    """A line for each reason by which a store discarded, the largest count first."""
    for reason, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        yield (
            f"{hop} dropped {count} on purpose: {reason}"
            if meant
            else (f"{hop} discarded {count}: {reason}")
        )


def edge_balance(previous: HopBalance, following: Sequence[HopBalance]) -> EdgeBalance:
    """What left `previous` against what came in at all instances behind a balanced edge.

    One unread instance makes the edge blind.
    """
    end = ", ".join(sorted({row.hop for row in following}))
    arrived = [_offered(row) for row in following]
    known = [amount for amount in arrived if amount is not None]
    unread = tuple(
        f"{row.hop}: {why}" for row in (previous, *following) for why in (row.unread[:1] or ())
    )
    complete = len(known) == len(following) and bool(following) and previous.went_out is not None
    came_in = sum(known) if complete else None
    loss = (
        previous.went_out - came_in
        if complete and previous.went_out is not None and (came_in is not None)
        else None
    )
    error = previous.error + sum(row.error for row in following)
    told: tuple[str, ...] = ()
    if loss is not None and -loss > error:
        told = (f"{-loss} more items came in at {end} than left {previous.hop}: duplication",)
    if loss is None and not unread:
        unread = (f"items out of {previous.hop} or into {end or 'the next hop'}",)
    return EdgeBalance(
        previous.hop,
        end,
        previous.signal,
        previous.went_out,
        came_in,
        loss,
        error,
        told,
        unread if loss is None else (),
    )


def _offered(row: HopBalance) -> int | None:
    return None if row.came_in is None else row.came_in + (row.refused or 0)


Picker = Callable[[str, Direction], list[Meter]]


def _picker(meters: Sequence[Meter]) -> Picker:
    def pick(component: str, direction: Direction) -> list[Meter]:
        return [m for m in meters if m.component == component and m.direction is direction]

    return pick


def _blind(hop: str, signal: Signal, unread: tuple[str, ...]) -> HopBalance:
    none = None
    return HopBalance(hop, signal, none, none, none, none, none, none, 0, none, {}, {}, (), unread)


def _whole(increase: Increase | None) -> int | None:
    return None if increase is None else round(increase.amount)


def _stored(window: Window, queues: Sequence[Meter]) -> int | None:
    """0 while the queues are where they were; None when they moved.

    A queue counts requests, items or bytes as its sizer says, which no counter tells: how many
    items moved into it is not known.
    """
    moved = any(values and values[-1] != values[0] for values in map(window.gauge, queues))
    return None if moved else 0


def _gaps(
    came_in: Increase | None,
    went_out: Increase | None,
    stored: int | None,
    window: Window,
    pick: Picker,
) -> tuple[str, ...]:
    gaps = []
    if came_in is None:
        gaps.append("no receiver counts items of this signal")
    if went_out is None:
        gaps.append("no exporter counts items of this signal")
    if stored is None:
        gaps.append("the sending queue moved: its unit is not known")
    outlets = pick("exporter", Direction.OUT) + pick("exporter", Direction.STORED)
    busy = sorted({m.component_id for m in outlets})
    if len(busy) > 1:
        gaps.append(f"exporters {', '.join(busy)}: name those that lead on under `exporters:`")
    traces = [
        m.component_id
        for m in pick("processor", Direction.INTENDED)
        if m.component_id in COUNTS_TRACES and _grew(window, m)
    ]
    gaps.extend(f"{sampler} counts traces, not spans" for sampler in traces)
    return tuple(gaps)


def _grew(window: Window, meter: Meter) -> bool:
    grown = window.increase(meter)
    return grown is not None and grown.amount > 0


def _noise(came_in: Increase | None, sums: Sequence[Increase | None], window: Window) -> int:
    """Noise floor: 0.5 % of what came in, or two scrapes' worth of it, plus what restarts hid."""
    hidden = sum(one.error for one in sums if one is not None)
    if came_in is None or not window.seconds:
        return round(hidden)
    skew = came_in.amount / window.seconds * 2 * window.skew_s
    return round(max(_FLOOR_SHARE * came_in.amount, skew) + hidden)


def _by_component(window: Window, meters: Sequence[Meter]) -> Mapping[str, int]:
    moved: dict[str, int] = {}
    for meter in meters:
        grown = window.increase(meter)
        if grown is not None and round(grown.amount) > 0:
            moved[meter.component_id] = moved.get(meter.component_id, 0) + round(grown.amount)
    return moved


def _evidence(window: Window, meters: Sequence[Meter], pick: Picker) -> tuple[str, ...]:
    told = []
    for meter in meters:
        grown = window.increase(meter)
        amount = round(grown.amount) if grown else 0
        if amount <= 0:
            continue
        if meter.direction is Direction.INTENDED:
            told.append(f"{meter.component_id} removed {amount} on purpose, as its counter says")
        elif meter.direction is Direction.DROPPED:
            how = "could not queue" if meter.component == "queue" else "failed to send"
            told.append(f"exporter {meter.component_id} {how} {amount}")
        elif meter.direction is Direction.REFUSED:
            told.append(f"{meter.component} {meter.component_id} refused {amount}")
    told.extend(_processor_gaps(window, pick))
    if window.restarts:
        told.append(f"restarted {window.restarts} times in the window")
    return tuple(told)


def _processor_gaps(window: Window, pick: Picker) -> list[str]:
    """Processors that passed on less than they took, with no counter of intent to explain it."""
    outgoing = {m.component_id: m for m in pick("processor", Direction.OUT)}
    explained = {m.component_id for m in pick("processor", Direction.INTENDED)}
    told = []
    for meter in pick("processor", Direction.IN):
        if meter.component_id in explained or meter.component_id not in outgoing:
            continue
        taken, passed = window.increase(meter), window.increase(outgoing[meter.component_id])
        if taken and passed and taken.amount > passed.amount + taken.error + passed.error:
            told.append(
                f"processor {meter.component_id} took {taken.amount:.0f},"
                f" passed on {passed.amount:.0f}"
            )
    return told
