"""What screens, the API and the command line may ask: one bounded, consistent read.

Every value here travels as JSON over the API and means the same in the terminal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from core.verdict import Verdict


@dataclass(frozen=True, slots=True)
class TroubleLine:
    """One line of the trust bar; word is OFFLINE, STOPPED, BLIND or EXPORT."""

    word: str
    text: str
    for_s: float
    retry_in_s: float | None


@dataclass(frozen=True, slots=True)
class VitalLine:
    """A part that the screen stands on (database, scheduler …) and its last sign of life."""

    part: str
    verdict: Verdict
    age_s: float
    detail: str


@dataclass(frozen=True, slots=True)
class IncidentRow:
    """An incident as a screen shows it; `strip` is oldest first, None where nothing is known."""

    key: str
    fingerprint: str
    episode: int
    rule: str
    subject: str
    severity: str
    state: str
    verdict: Verdict
    title: str
    summary: str
    hop: str
    evidence: tuple[str, ...]
    since: datetime
    acked_by: str
    acked_until: datetime | None
    muted_by: str
    muted_until: datetime | None
    members: tuple[str, ...]
    pages: tuple[str, ...]
    strip: tuple[Verdict | None, ...]
    seen_age_s: float | None


@dataclass(frozen=True, slots=True)
class CheckRow:
    """A check or route with its present (fresh) verdict and the account of its runs."""

    name: str
    kind: str
    title: str
    verdict: Verdict
    was: Verdict | None
    reason: str
    detail: str
    age_s: float | None
    last_s: float | None
    facts: Mapping[str, float | int | str | bool]
    account: Mapping[str, int]
    strip: tuple[Verdict | None, ...]


@dataclass(frozen=True, slots=True)
class HopCell:
    """The stretch of a route ending at this hop: delay, share lost, queue; None = not known."""

    hop: str
    verdict: Verdict
    delay_s: float | None
    lost_share: float | None
    text: str


@dataclass(frozen=True, slots=True)
class PathRow:
    """One access path of a route's backend, judged on its own. None = nothing shown yet."""

    name: str
    verdict: Verdict
    reason: str
    ok: int
    lost: int
    blind: int
    delay_p50_s: float | None
    delay_p99_s: float | None
    since: datetime | None


@dataclass(frozen=True, slots=True)
class RecheckRow:
    """What became of a route's rechecks at one age; `due` is the sum of `states`."""

    age: str
    due: int
    states: Mapping[str, int]
    balanced: bool


@dataclass(frozen=True, slots=True)
class VolumeRow:
    """What Coalmine itself uses up on a route: canary bytes as sent, once for each try, and reads.

    backend: where the route is read, whose caps they count against. today: in this UTC day.
    ever: since this service began, only ever more.
    """

    backend: str
    bytes_today: int
    reads_today: int
    bytes_ever: int
    reads_ever: int


@dataclass(frozen=True, slots=True)
class RouteRow:
    """A route: verdict, hops in the order of the flow, outcomes, delays, the finding if any.

    paths, rechecks and volume are known to a running instance only.
    """

    name: str
    signal: str
    title: str
    verdict: Verdict
    reason: str
    detail: str
    hops: tuple[HopCell, ...]
    sent: int
    outcomes: Mapping[str, int]
    balanced: bool
    duplicates: str
    delay_p50_s: float | None
    delay_p99_s: float | None
    deadline_s: float
    finding: str
    evidence: tuple[str, ...]
    age_s: float | None
    strip: tuple[Verdict | None, ...]
    paths: tuple[PathRow, ...] = ()
    rechecks: tuple[RecheckRow, ...] = ()
    volume: VolumeRow | None = None


@dataclass(frozen=True, slots=True)
class BalanceRow:
    """One hop or edge of the hop balance; None = could not be read (never 0)."""

    hop: str
    signal: str
    came_in: int | None
    went_out: int | None
    stored: int | None
    intended: int | None
    dropped: int | None
    loss: int | None
    evidence: str
    age_s: float


@dataclass(frozen=True, slots=True)
class SourceRow:
    """An expected source of real telemetry."""

    name: str
    backend: str
    verdict: Verdict
    reason: str
    detail: str
    newest_age_s: float | None


@dataclass(frozen=True, slots=True)
class CostRow:
    """Money of one meter: figures as decimal text, None where unpriced.

    own: the backend whose part of it are our own canaries, "" for what hops measure. Hops measure
    canaries too, so the two are never added.
    """

    meter: str
    signal: str
    book: str
    point: str
    grade: str
    unit: str
    quantity_hour: float | None
    per_gb: str | None
    hour: str | None
    to_date: str | None
    low: str | None
    likely: str | None
    high: str | None
    currency: str
    note: str
    own: str = ""


@dataclass(frozen=True, slots=True)
class LogRow:
    """What was told to whom, and the answer; `who_action` is the id of a folded action."""

    at: datetime
    kind: str
    who: str
    what: str
    answer: str
    verdict: Verdict | None
    who_action: str = ""


@dataclass(frozen=True, slots=True)
class Board:
    """Everything a screen needs, read in one go at `at`."""

    at: datetime
    namespace: str
    source: str
    generation: int
    troubles: tuple[TroubleLine, ...]
    vitals: tuple[VitalLine, ...]
    incidents: tuple[IncidentRow, ...]
    checks: tuple[CheckRow, ...]
    routes: tuple[RouteRow, ...]
    balance: tuple[BalanceRow, ...]
    sources: tuple[SourceRow, ...]
    costs: tuple[CostRow, ...]
    log: tuple[LogRow, ...]


@dataclass(frozen=True, slots=True)
class ActionRequest:
    """An ack, unack or mute of the incident with dedup key `subject`; the id is idempotent."""

    action_id: str
    kind: str
    subject: str
    author: str
    reason: str
    until: datetime | None


class ReadModel(Protocol):
    """The only thing that screens know. Raises StoreError or OSError when it cannot be read."""

    def board(self) -> Board:
        """The whole picture at this moment; blocking, bounded, one transaction."""
        ...

    def act(self, request: ActionRequest) -> None:
        """Append an action; the paging loop folds it in within a second."""
        ...

    def done(self, action_ids: Sequence[str]) -> frozenset[str]:
        """Which of these actions have been folded in."""
        ...
