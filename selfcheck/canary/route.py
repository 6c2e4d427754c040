"""What a route is, and what is known of it at a moment."""

from dataclasses import dataclass
from datetime import datetime

from core.reason import Reason
from core.verdict import Verdict
from selfcheck.canary.model import Account, LedgerRow, Signal
from selfcheck.canary.policy import ExpectDrop


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """A route as configured.

    hops: names in the order of the flow; the first is `send`, the last `read`, before it the
    backend. group: routes of one group and pace share a beat. sent_under: fingerprint of injector,
    backend, tenant and path; rows sent under another are never called lost under this one.
    target_s: delay above which a canary is slow; None = learned. stamped: whether records keep the
    stamps of their canaries on this route. by: the kind of injector that hands them over.
    """

    name: str
    signal: Signal
    every_s: float
    group: str
    hops: tuple[str, ...]
    backend: str
    expect_drop: ExpectDrop | None
    service_name: str
    sent_under: str
    target_s: float | None
    stamped: bool = True
    by: str = ""

    @property
    def keep(self) -> bool:
        """Whether canaries ask samplers to spare them: not where sampling is to be measured."""
        return not self.sampled

    @property
    def sampled(self) -> bool:
        """Whether a sampler of a known ratio is declared."""
        return self.expect_drop is not None and self.expect_drop.ratio is not None


@dataclass(frozen=True, slots=True)
class PathStatus:
    """One access path on its own, over its newest answers: how often it showed a canary.

    lost: how often it did not show what the store held. delay_p50_s, delay_p99_s: of what it has
    shown lately, in seconds from sending to the read, so at most one poll too long; None = it has
    shown none. since: when its present verdict began, as far as this service knows.
    evidence: whether it decides over canaries, or is watched for its own sake.
    """

    name: str
    verdict: Verdict
    reason: Reason
    ok: int
    lost: int
    blind: int
    delay_p50_s: float | None
    delay_p99_s: float | None
    since: datetime | None
    evidence: bool = True


@dataclass(frozen=True, slots=True)
class RouteStatus:
    """A route at one moment. None = not known.

    rows: the judged canaries that make the verdict, newest first. losses: those among them that
    count as failures. duplicates: `seen`, `none` or `not_observable`. account: None before the
    ledger was read. clocks: of a route that is not ok, the clocks at its ends that are
    off, as sentences; `detail` holds them too.
    """

    spec: RouteSpec
    verdict: Verdict
    reason: Reason
    detail: str
    account: Account | None
    rows: tuple[LedgerRow, ...]
    losses: int
    pending: int
    delay_p50_s: float | None
    delay_p99_s: float | None
    deadline_s: float
    paths: tuple[PathStatus, ...]
    duplicates: str
    newest_verified_age_s: float | None
    ever_seen: bool
    clocks: tuple[str, ...] = ()
