"""What localisation is given: values that could be stored and replayed."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.reason import Reason
from core.verdict import Verdict
from selfcheck.canary.model import Signal
from selfcheck.hops.balance import HopBalance, hop_balance
from selfcheck.hops.increase import Window
from selfcheck.hops.queue import QueueState, queues

_MAKE_A_RATE = 2


@dataclass(frozen=True, slots=True)
class RouteEvidence:
    """What the newest judged canaries of one route say.

    hops: in the order of the flow, the backend's name last; the ends `send` and `read` may be
        given too and are passed over.
    lost, ok_of, of: canaries lost, seen unaltered, and all whose deadline has passed.
    rejected: refused at injection; refused_connection: at least one got no connection at all.
    maybe_silent: accepted by an endpoint that never answered.
    read_broken: why the backend could not be read, None = it was read.
    never_seen: no canary of this route was ever sighted.
    policy_dropped: drops that the route does not declare, as the ledger holds them.
    drop_declared: the route declares a drop, so that counters of intent explain no loss here.
    stamped: delivered canaries by the hop that stamped them.
    by: how canaries are handed to the first hop, such as `file`: two ways into one hop may fail
        apart.
    passed_at: when each canary of `ok_of` was sent, in Unix seconds.
    missed_from: when the first one missed in this trouble was sent; None when none was.
    """

    name: str
    signal: Signal
    hops: tuple[str, ...]
    verdict: Verdict
    reason: Reason
    lost: int
    of: int
    ok_of: int
    rejected: int
    refused_connection: bool
    maybe_silent: int
    read_broken: Reason | None
    never_seen: bool
    policy_dropped: int
    drop_declared: bool
    stamped: Mapping[str, int] = field(default_factory=dict)
    by: str = ""
    passed_at: tuple[float, ...] = ()
    missed_from: float | None = None
    # The hops between the ends, the backend last: asked for again and again, so made once.
    path: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Leave the ends out of the hops."""
        path = tuple(hop for hop in self.hops if hop not in {"send", "read"})
        object.__setattr__(self, "path", path)

    @property
    def backend(self) -> str:
        """Name of the store that is read."""
        return self.path[-1]

    @property
    def entry(self) -> str:
        """The hop that canaries are handed to."""
        return self.path[0]

    @property
    def direct(self) -> bool:
        """Whether it writes straight to the store."""
        return len(self.path) == 1

    @property
    def missed(self) -> int:
        """Canaries that did not get through, however that came to light."""
        return self.lost + self.rejected + self.maybe_silent + self.policy_dropped

    @property
    def rate(self) -> float:
        """Share of its canaries that are missed since the trouble began; one alone makes none.

        What a declared sampler explains was not tried: what it dropped met no fault.
        """
        if self.missed < _MAKE_A_RATE:
            return 0.0
        return self.missed / (self.missed + self.passed_since(self.missed_from))

    def passed_since(self, since: float | None) -> int:
        """Canaries that were sent at `since` or later and arrived unaltered; None = never."""
        return 0 if since is None else sum(at >= since for at in self.passed_at)


@dataclass(frozen=True, slots=True)
class HopState:
    """One hop as its own metrics show it. reachable None = there is no reader for it."""

    hop: str
    reachable: bool | None
    reason: Reason
    balances: Mapping[Signal, HopBalance]
    queues: Mapping[Signal, tuple[QueueState, ...]]
    retry_left_s: float | None = None

    @property
    def refuses(self) -> bool:
        """Its metrics endpoint refuses connections."""
        return self.reachable is False and self.reason in {Reason.REFUSED, Reason.RESET}

    @property
    def silent(self) -> bool:
        """Its metrics endpoint takes connections and answers nothing."""
        return self.reachable is False and self.reason is Reason.TIMEOUT


def hop_state(
    hop: str, window: Window, retry_left_s: float | None = None, trend: Window | None = None
) -> HopState:
    """The state of a hop from its scrapes; without any, nothing is known of it.

    window: about the time of the loss. trend: a longer one for the queues, such as 30 minutes.
    retry_left_s: what is left of the exporter's retry budget, None = not known.
    """
    if not window.scrapes:
        return HopState(hop, None, Reason.STARTING, {}, {}, retry_left_s)
    last = window.scrapes[-1]
    return HopState(
        hop=hop,
        reachable=last.reachable,
        reason=last.reason,
        balances={signal: hop_balance(hop, signal, window) for signal in Signal},
        queues={signal: queues(trend or window, signal) for signal in Signal},
        retry_left_s=retry_left_s,
    )


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything that one localisation looks at, of one window.

    loopback: the verdict of the route through the built-in gateway, None = there is none.
    """

    routes: tuple[RouteEvidence, ...]
    hops: Mapping[str, HopState]
    loopback: Verdict | None
