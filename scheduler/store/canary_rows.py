"""Canaries as rows and back. No payload is kept: a row rebuilds its canary from its id."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from typing import Any

from core.clock import Instant
from core.errors import StoreError
from core.reason import Reason
from scheduler.store.ledger_tables import CanaryRow, RecheckRow
from selfcheck.canary.make import KEEP, make_canary
from selfcheck.canary.model import (
    Canary,
    CanaryKey,
    LedgerRow,
    Look,
    Outcome,
    Receipt,
    Sent,
    Signal,
)

_RECEIPT = attrgetter(*(one.name for one in fields(Receipt)))
# Looks that are kept of one canary.
LOOKS = 40
# The columns that judging may change.
JUDGED = (
    "receipt", "outcome", "reason", "judged", "seen", "delay_s", "copies", "empty_read",
    "empty_path", "diff", "first_path", "hop_stamps", "looks",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of a canary: enough to make it again.

    The trace id stands for the group, whose routes may have changed since.
    """

    instance: str
    key: CanaryKey
    signal: Signal
    beat: int
    stamp_ns: int
    trace_id: bytes
    service_name: str
    keep: bool
    stamped: bool


Remake = Callable[[Kept], Canary]


def remake(kept: Kept) -> Canary:
    """The canary that `make_canary` made."""
    made = make_canary(
        kept.instance,
        "",
        kept.key,
        kept.beat,
        kept.signal,
        kept.stamp_ns,
        kept.service_name,
        keep=kept.keep,
        stamped=kept.stamped,
    )
    return replace(made, trace_id=kept.trace_id)


def made_of(canary: Canary) -> dict[str, Any]:
    """The columns from which a canary is made again, shared by canaries and rechecks."""
    return {
        "route": canary.key.route,
        "epoch": canary.key.epoch,
        "seq": canary.key.seq,
        "signal": canary.signal.value,
        "beat": canary.beat,
        "stamp_ns": canary.stamp_ns,
        "trace_id": canary.trace_id,
        "service_name": canary.service_name,
        "keep": canary.signal is Signal.METRICS or KEEP in canary.attributes,
        # Where the stamp does not arrive, the value holds the epoch too (`make_canary`).
        "stamped": canary.value == canary.key.seq,
    }


def opened(row: LedgerRow) -> dict[str, Any]:
    """All columns of a new row; their types are those of the table."""
    return {
        **made_of(row.canary),
        "canary_id": row.canary.canary_id,
        "sent_utc": row.sent.utc,
        "sent_boot": row.sent.boot_id,
        "sent_boot_s": row.sent.boot_s,
        "sent_under": row.sent_under,
        "deadline_s": row.deadline_s,
        **judged(row),
    }


def judged(row: LedgerRow) -> dict[str, Any]:
    """The columns of JUDGED; their types are those of the table."""
    return {
        "receipt": write_receipt(row.receipt) if row.receipt else None,
        "outcome": row.outcome.value,
        "reason": row.reason.value,
        "judged": row.judged,
        "seen": row.seen,
        "delay_s": row.delay_s,
        "copies": row.copies,
        "empty_read": row.empty_read,
        "empty_path": row.empty_path,
        "diff": row.diff,
        "first_path": row.first_path,
        "hop_stamps": json.dumps(dict(row.hop_stamps)) if row.hop_stamps else "{}",
        "looks": write_looks(row.looks),
    }


def write_looks(looks: Sequence[Look]) -> str:
    """Looks as JSON text; of more than LOOKS the first and the last ones."""
    some = looks if len(looks) <= LOOKS else (*looks[: LOOKS // 2], *looks[-LOOKS // 2 :])
    return json.dumps(
        [
            [one.at_s, one.path, int(one.complete), int(one.seen), one.reason.value, one.detail]
            for one in some
        ],
        ensure_ascii=False,
        separators=(",", ":"),
    )


def read_looks(text: str) -> tuple[Look, ...]:
    """The looks that `write_looks` wrote."""
    return tuple(
        Look(at_s, path, bool(complete), bool(seen), Reason(reason), detail)
        for at_s, path, complete, seen, reason, detail in json.loads(text)
    )


def write_receipt(receipt: Receipt) -> str:
    """A receipt as JSON text: a list in the order of the fields, as it is kept for each canary."""
    return json.dumps(_RECEIPT(receipt), ensure_ascii=False, separators=(",", ":"))


def read_receipt(text: str) -> Receipt:
    """The receipt that `write_receipt` wrote, or schema 1, which kept the names of the fields."""
    told = json.loads(text)
    sent, reason, detail, tries, first_try, elapsed_s, body_bytes, silent = (
        told.values() if isinstance(told, dict) else told
    )
    return Receipt(
        Sent(sent), Reason(reason), detail, tries, Sent(first_try), elapsed_s, body_bytes, silent
    )


def ledger_row(row: CanaryRow, instance: str, make: Remake) -> LedgerRow:
    """The domain's value of a row. Raises StoreError when the rebuilt canary has another id."""
    stamps: Mapping[str, str] = json.loads(row.hop_stamps)
    return LedgerRow(
        canary=_canary(row, instance, make),
        sent=Instant(row.sent_utc, sys.intern(row.sent_boot), row.sent_boot_s),
        sent_under=sys.intern(row.sent_under),
        deadline_s=row.deadline_s,
        receipt=read_receipt(row.receipt) if row.receipt else None,
        outcome=Outcome(row.outcome),
        reason=Reason(row.reason),
        judged=row.judged,
        seen=row.seen,
        delay_s=row.delay_s,
        copies=row.copies,
        empty_read=row.empty_read,
        empty_path=row.empty_path,
        diff=row.diff,
        first_path=row.first_path,
        hop_stamps=stamps,
        looks=read_looks(row.looks),
    )


def _canary(row: CanaryRow, instance: str, make: Remake) -> Canary:
    canary = make(kept_of(row, instance))
    if canary.canary_id != row.canary_id:
        raise StoreError(
            f"ledger: {row.canary_id} cannot be rebuilt (it would be {canary.canary_id}): "
            "was it written by another instance?"
        )
    return canary


def kept_of(row: CanaryRow | RecheckRow, instance: str) -> Kept:
    """What a row keeps of its canary."""
    return Kept(
        instance,
        CanaryKey(sys.intern(row.route), row.epoch, row.seq),
        Signal(row.signal),
        row.beat,
        row.stamp_ns,
        row.trace_id,
        sys.intern(row.service_name),
        row.keep,
        row.stamped,
    )
