"""Canaries and what is known of them: the values that cross the seams of `selfcheck`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from core.clock import Instant
from core.reason import Reason


class Signal(StrEnum):
    """The kinds of telemetry."""

    LOGS = "logs"
    METRICS = "metrics"
    TRACES = "traces"


class Outcome(StrEnum):
    """What became of one canary. `duplicated` is no outcome: it is a mark beside one."""

    PENDING = "pending"
    OK = "ok"
    LATE = "late"
    LOST = "lost"
    ALTERED = "altered"
    REJECTED = "rejected"
    POLICY_DROP = "policy_drop"
    UNKNOWN = "unknown"


VERIFIED = frozenset({Outcome.OK, Outcome.LATE, Outcome.LOST, Outcome.ALTERED})
LOSSES = frozenset({Outcome.LOST, Outcome.ALTERED, Outcome.REJECTED})


@dataclass(frozen=True, slots=True, order=True)
class CanaryKey:
    """Identity in the ledger: `seq` is dense from 1 within an epoch of a route."""

    route: str
    epoch: int
    seq: int


def body_head(canary_id: str) -> str:
    """How the body of a canary begins.

    With what hops and stores spoil that take text for plain letters: capitals, spaces beside each
    other, characters of two, three and four bytes in UTF-8.
    """
    return f"Coalmine canary {canary_id} Grüße  日本🐤 "


@dataclass(frozen=True, slots=True)
class Canary:
    """One record to be sent. Its content is a function of its id (`canary.make`).

    stamp_ns: event time, Unix nanoseconds; whole seconds for metrics.
    beat: the number that the log, the exemplar and the trace of one group share.
    filler: end of the body, which need not be kept whole. value: the sample's value, for metrics
    the sequence number.
    span_*: of traces, severity_*: of logs, in OTLP's words; the same for every canary.
    """

    key: CanaryKey
    signal: Signal
    beat: int
    stamp_ns: int
    canary_id: str
    trace_id: bytes
    span_id: bytes
    service_name: str
    service_instance: str
    filler: str
    value: float
    attributes: Mapping[str, str]
    span_name: str = "coalmine.canary"
    span_kind: str = "internal"
    span_status: str = "unset"
    span_duration_ns: int = 1_000_000
    severity_text: str = "INFO"
    severity_number: int = 9

    @property
    def body(self) -> str:
        """One line of at least 100 bytes of UTF-8 with the id inside."""
        return f"{body_head(self.canary_id)}{self.filler}"


class Sent(StrEnum):
    """What an injector knows after sending."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    MAYBE = "maybe"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The receiving end's word. MAYBE: the request may have left, no answer is known.

    silent: a connection stood and the endpoint never answered: `fail(inject)` of the route.
    first_try: what the first attempt alone came to.
    """

    sent: Sent
    reason: Reason
    detail: str
    tries: int
    first_try: Sent
    elapsed_s: float
    body_bytes: int
    silent: bool

    @property
    def untaken(self) -> str:
        """Why its sender holds the canary for lost, in words; "" when it was told otherwise.

        What we could not find out for reasons of our own says nothing of the endpoint.
        """
        if self.sent is Sent.REJECTED:
            return f"refused: {self.detail}"
        if self.silent:
            return "taken without an answer"
        broken = self.sent is Sent.MAYBE and self.reason is Reason.MAYBE_SENT
        return f"the answer broke off: {self.detail}" if broken else ""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A canary as a store returned it. None = this access path does not show that part.

    stamp_ns: the record's own timestamp at the store's precision: the only proof of identity, so
    that a path which counts only (None) proves nothing of a canary.
    copies: how many records with this id the store returned (None = not observable).
    fields: what else the record shows, as `canary.fields` spells it.
    """

    canary_id: str
    stamp_ns: int | None
    copies: int | None
    body: str | None
    value: float | None
    attributes: Mapping[str, str]
    hop_stamps: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Look:
    """One read that looked for a canary. at_s: when it was asked, in seconds after sending."""

    at_s: float
    path: str
    complete: bool
    seen: bool
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One canary as the ledger keeps it.

    deadline_s: seconds after `sent` until it may be called lost, as of the time it was sent.
    sent_under: fingerprint of the parameters (adapter, path, tenant) in force when it was sent.
    empty_read: first complete read after the deadline that did not contain it, with its path.
    looks: the reads that looked for it, the first and the last ones where they were many.
    """

    canary: Canary
    sent: Instant
    sent_under: str
    deadline_s: float
    receipt: Receipt | None
    outcome: Outcome
    reason: Reason
    judged: Instant | None
    seen: Instant | None
    delay_s: float | None
    copies: int | None
    empty_read: Instant | None
    empty_path: str
    diff: str
    first_path: str
    hop_stamps: Mapping[str, str] = field(default_factory=dict)
    looks: tuple[Look, ...] = ()


@dataclass(frozen=True, slots=True)
class Account:
    """The accounting identity of one route, read in one snapshot.

    sent: rows ever committed (sum over epochs of the last sequence number).
    by_outcome: every outcome, live rows plus pruned totals; zero where there is none.
    """

    route: str
    sent: int
    by_outcome: Mapping[Outcome, int]

    @property
    def balanced(self) -> bool:
        """Whether `sent` is the sum of all outcomes."""
        return self.sent == sum(self.by_outcome.values())
