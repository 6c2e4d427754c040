"""Builders of scrapes and routes for the tests of the hop work."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from core.clock import Instant
from core.reason import Reason
from core.verdict import Verdict
from selfcheck.canary.model import Signal
from selfcheck.hops.evidence import HopState, RouteEvidence, hop_state
from selfcheck.hops.increase import Window
from selfcheck.hops.protocol import Direction, HopCounters, Meter

START = datetime(2026, 11, 21, tzinfo=UTC)
LOGS = Signal.LOGS

RECEIVED = Meter("receiver", "otlp", Direction.IN, LOGS)
REFUSED = Meter("receiver", "otlp", Direction.REFUSED, LOGS)
SENT = Meter("exporter", "otlp_http", Direction.OUT, LOGS)
FAILED = Meter("exporter", "otlp_http", Direction.DROPPED, LOGS)
NOT_QUEUED = Meter("queue", "otlp_http", Direction.DROPPED, LOGS)
QUEUE = Meter("exporter", "otlp_http", Direction.STORED, LOGS)
CAPACITY = Meter("exporter", "otlp_http", Direction.CAPACITY, LOGS)
FILTERED = Meter("processor", "filter/drop", Direction.INTENDED, LOGS)


def at(seconds: float) -> Instant:
    return Instant(START + timedelta(seconds=seconds), "boot-1", 1000.0 + seconds)


def scrape(
    seconds: float,
    meters: Mapping[Meter, float],
    *,
    hop: str = "gateway",
    started: float | None = 0.0,
    unread: tuple[str, ...] = (),
    reachable: bool = True,
    reason: Reason = Reason.OK,
) -> HopCounters:
    return HopCounters(hop, at(seconds), reachable, reason, "", started, meters, unread)


def steady(growth: Mapping[Meter, float], scrapes: int = 6, hop: str = "gateway") -> Window:
    """A window of scrapes 10 s apart in which each meter grows by `growth` per scrape."""
    return Window(
        tuple(
            scrape(
                10.0 * i,
                {
                    m: 1000.0 * (m.direction is not Direction.STORED) + g * i
                    if m.direction is not Direction.CAPACITY
                    else g
                    for m, g in growth.items()
                },
                hop=hop,
            )
            for i in range(scrapes)
        )
    )


def state(growth: Mapping[Meter, float], hop: str = "gateway") -> HopState:
    return hop_state(hop, steady(growth, hop=hop))


def down(hop: str, reason: Reason) -> HopState:
    gone = scrape(0, {}, hop=hop, reachable=False, reason=reason, unread=("metrics",))
    return hop_state(hop, Window((gone,)))


def route(
    name: str = "gw-logs",
    hops: tuple[str, ...] = ("send", "gateway", "loki", "read"),
    verdict: Verdict = Verdict.OK,
    reason: Reason = Reason.OK,
    **given: object,
) -> RouteEvidence:
    fields: dict[str, object] = {
        "signal": LOGS,
        "lost": 0,
        "of": 6,
        "ok_of": 6 if verdict is Verdict.OK else 0,
        "rejected": 0,
        "refused_connection": False,
        "maybe_silent": 0,
        "read_broken": None,
        "never_seen": False,
        "policy_dropped": 0,
        "drop_declared": False,
    }
    fields |= given
    # The fault showed with the first canary, and each route has sent throughout.
    missed = ("lost", "rejected", "maybe_silent", "policy_dropped")
    dated = {
        "passed_at": tuple(map(float, range(int(fields["ok_of"])))),
        "missed_from": 0.0 if any(fields[name] for name in missed) else None,
    }
    return RouteEvidence(name, hops=hops, verdict=verdict, reason=reason, **{**dated, **fields})
