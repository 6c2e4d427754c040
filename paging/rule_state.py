"""The stored form of a rule's state: JSON text with a version.

Constant while everything is fine, so that a healthy check never writes.
"""

import json
from dataclasses import replace
from datetime import datetime, timedelta

from core.clock import Instant
from core.errors import InvariantError
from paging.rules import FLAP_WINDOW, Phase, Rule, RuleState, fresh_state, seconds_between

VERSION = 1
OUTAGE_TOLERANCE_S = 3600.0

_Json = dict[str, object]


def to_json(state: RuleState) -> str:
    """Text of what must survive a restart; when the subject was last heard is left out."""
    body: _Json = {
        "v": VERSION,
        "phase": state.phase.value,
        "window": _bits(state.window),
        "history": _bits(state.history),
        "flapping": state.flapping,
        "passes": state.passes,
        "detail": state.detail,
        "facts": dict(state.facts),
        "acked_by": state.acked_by,
        "muted_by": state.muted_by,
    }
    for name in ("since", "good_since", "checkpoint", "not_before"):
        body[name] = _pack(getattr(state, name))
    for name in ("acked_until", "muted_until"):
        until = getattr(state, name)
        body[name] = None if until is None else until.isoformat()
    return json.dumps(body, sort_keys=True, separators=(",", ":"))


def restored(rule: Rule, text: str, now: Instant) -> RuleState:
    """The state in `text` as it is after a restart. Raises InvariantError on another version.

    `pending` keeps its age when the outage was at most 1 h, and then waits one grace period;
    else it starts again. A restart is never a recovery: the proof of one starts again too.
    Rule: Prometheus `for-outage-tolerance` and `for-grace-period`.
    """
    raw = json.loads(text)
    if raw.get("v") != VERSION:
        raise InvariantError(f"rule state {rule.key}: version {raw.get('v')!r} is not known")
    state = replace(
        fresh_state(rule, now),
        phase=Phase(raw["phase"]),
        window=_fit(_unbits(raw["window"]), rule.n),
        history=_fit(_unbits(raw["history"]), FLAP_WINDOW),
        flapping=raw["flapping"],
        since=_unpack(raw["since"]),
        checkpoint=_unpack(raw["checkpoint"]),
        detail=raw["detail"],
        facts=raw["facts"],
        acked_by=raw["acked_by"],
        acked_until=_when(raw["acked_until"]),
        muted_by=raw["muted_by"],
        muted_until=_when(raw["muted_until"]),
    )
    return _resume_pending(rule, state, now) if state.phase is Phase.PENDING else state


def _resume_pending(rule: Rule, state: RuleState, now: Instant) -> RuleState:
    gap = None if state.checkpoint is None else seconds_between(state.checkpoint, now)
    if gap is None or not 0 <= gap <= OUTAGE_TOLERANCE_S:
        return replace(state, since=now, window=(False,) * rule.n)
    until = Instant(
        now.utc + timedelta(seconds=rule.grace_s), now.boot_id, now.boot_s + rule.grace_s
    )
    return replace(state, not_before=until)


def _bits(values: tuple[bool, ...]) -> str:
    return "".join("1" if value else "0" for value in values)


def _unbits(text: str) -> tuple[bool, ...]:
    return tuple(char == "1" for char in text)


def _fit(values: tuple[bool, ...], size: int) -> tuple[bool, ...]:
    return ((False,) * size + values)[-size:]


def _pack(moment: Instant | None) -> list[object] | None:
    return None if moment is None else [moment.utc.isoformat(), moment.boot_id, moment.boot_s]


def _unpack(packed: list[object] | None) -> Instant | None:
    if packed is None:
        return None
    utc, boot_id, boot_s = packed
    return Instant(datetime.fromisoformat(str(utc)), str(boot_id), float(str(boot_s)))


def _when(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
