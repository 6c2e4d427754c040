"""The life of one canary as plain data: what the API serves and `coalmine canary` prints."""

import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from core.clock import Instant
from scheduler.store import LedgerStore
from selfcheck.canary.model import Canary, LedgerRow, Look
from selfcheck.canary.recheck.model import Recheck

_ID = re.compile(r"cm-[0-9a-f]{8}-([0-9]{1,18})-([0-9]{1,18})-[0-9a-f]{16}")
_UNIX_ZERO = datetime(1970, 1, 1, tzinfo=UTC)

# Any: JSON.
Life = dict[str, Any]


def is_canary_id(text: str) -> bool:
    """Whether `text` can be the id of a canary."""
    return _ID.fullmatch(text) is not None


async def life_of(ledger: LedgerStore, canary_id: str) -> Life | None:
    """All that is kept of a canary, None when nothing is.

    One that was pruned is known by its rechecks, if it had any; `pruned` is then true, and what
    only its own row could tell is None. Raises StoreError.
    """
    told = _ID.fullmatch(canary_id)
    if told is None:
        return None
    row = await ledger.find(canary_id)
    if row is not None:
        return _whole(row, await ledger.rechecks.of_canary(row.canary.key))
    rechecks = await ledger.rechecks.find(canary_id, int(told[1]), int(told[2]))
    return _remains(rechecks) if rechecks else None


def _whole(row: LedgerRow, rechecks: Sequence[Recheck]) -> Life:
    receipt = row.receipt
    return {
        **_made(row.canary),
        "pruned": False,
        "sent": _iso(row.sent),
        "sent_under": row.sent_under,
        "deadline_s": row.deadline_s,
        "receipt": None if receipt is None else asdict(receipt),
        "looks": [_look(one, row.sent) for one in row.looks],
        "outcome": row.outcome.value,
        "reason": row.reason.value,
        "judged": _iso(row.judged),
        "seen": _iso(row.seen),
        "delay_s": row.delay_s,
        "copies": row.copies,
        "path": row.first_path,
        "empty_read": _iso(row.empty_read),
        "empty_path": row.empty_path,
        "hop_stamps": dict(row.hop_stamps),
        "diff": row.diff,
        "rechecks": [_recheck(one) for one in rechecks],
    }


def _remains(rechecks: Sequence[Recheck]) -> Life:
    """Of a pruned canary: the first outcome went into the totals, seen it was."""
    first = rechecks[0]
    names = (
        "deadline_s receipt looks outcome reason judged delay_s copies path empty_read empty_path"
        " hop_stamps diff"
    )
    return {
        **_made(first.canary),
        **dict.fromkeys(names.split()),
        "pruned": True,
        "sent": _iso(first.sent),
        "sent_under": first.sent_under,
        "seen": max(one.seen for one in rechecks).isoformat(),
        "rechecks": [_recheck(one) for one in rechecks],
    }


def _made(canary: Canary) -> Life:
    key = canary.key
    made = _UNIX_ZERO + timedelta(microseconds=canary.stamp_ns // 1000)
    return {
        "canary_id": canary.canary_id, "route": key.route, "epoch": key.epoch, "seq": key.seq,
        "signal": canary.signal.value, "beat": canary.beat, "service_name": canary.service_name,
        "trace_id": canary.trace_id.hex(), "span_id": canary.span_id.hex(),
        "stamp_ns": str(canary.stamp_ns), "made": made.isoformat(),
    }  # fmt: skip


def _look(look: Look, sent: Instant) -> Life:
    at = sent.utc + timedelta(seconds=look.at_s)
    return {
        "at": at.isoformat(), "at_s": look.at_s, "path": look.path, "complete": look.complete,
        "seen": look.seen, "reason": look.reason.value, "detail": look.detail,
    }  # fmt: skip


def _recheck(one: Recheck) -> Life:
    return {
        "age": one.age, "due": one.due.isoformat(), "state": one.state.value,
        "reason": one.reason.value, "tries": one.tries, "judged": _iso(one.judged),
        "last_seen": one.seen.isoformat(), "missed_at": one.missed_at, "path": one.path,
        "empty_path": one.empty_path, "failed_paths": list(one.failed_paths), "diff": one.diff,
    }  # fmt: skip


def _iso(at: Instant | None) -> str | None:
    return None if at is None else at.utc.isoformat()
