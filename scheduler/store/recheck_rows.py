"""Rechecks as rows and back."""

import json
from typing import Any

from core.clock import Instant
from core.reason import Reason
from scheduler.store.canary_rows import Remake, kept_of, made_of
from scheduler.store.ledger_tables import RecheckRow
from selfcheck.canary.recheck.model import Recheck, RecheckState


def planned(item: Recheck) -> dict[str, Any]:
    """All columns of a new row; their types are those of the table."""
    return {
        **made_of(item.canary),
        "age": item.age,
        "age_s": item.age_s,
        "sent_utc": item.sent.utc,
        "sent_boot": item.sent.boot_id,
        "sent_boot_s": item.sent.boot_s,
        "sent_under": item.sent_under,
        "due": item.due,
        **changed(item),
    }


def changed(item: Recheck) -> dict[str, Any]:
    """The columns that a look may change; their types are those of the table."""
    return {
        "seen": item.seen,
        "missed_at": item.missed_at,
        "state": item.state.value,
        "reason": item.reason.value,
        "tries": item.tries,
        "judged": item.judged,
        "judged_utc": item.judged.utc if item.judged else None,
        "empty_read": item.empty_read,
        "empty_path": item.empty_path,
        "path": item.path,
        "diff": item.diff,
        "failed_paths": json.dumps(item.failed_paths),
    }


def recheck(row: RecheckRow, instance: str, make: Remake) -> Recheck:
    """The domain's value of a row."""
    return Recheck(
        canary=make(kept_of(row, instance)),
        age=row.age,
        age_s=row.age_s,
        sent=Instant(row.sent_utc, row.sent_boot, row.sent_boot_s),
        sent_under=row.sent_under,
        seen=row.seen,
        missed_at=row.missed_at,
        state=RecheckState(row.state),
        reason=Reason(row.reason),
        tries=row.tries,
        judged=row.judged,
        empty_read=row.empty_read,
        empty_path=row.empty_path,
        path=row.path,
        diff=row.diff,
        failed_paths=tuple(json.loads(row.failed_paths)),
    )
