"""Canaries are made here: every part of one is a function of its id, so nothing need be kept.

No part of a trace id is structured: probabilistic samplers read its bits.
"""

import hashlib
from collections.abc import Mapping

from core.clock import Instant
from core.reason import Reason
from selfcheck.canary.model import (
    Canary,
    CanaryKey,
    LedgerRow,
    Outcome,
    Signal,
    body_head,
)

# Changes with what canaries of an id are made of: older ones cannot be made again to compare with.
RECIPE = 2
BODY_BYTES = 100
KEEP = "canary.keep"
TEXT = "canary.text"
# As odd as the body (`model`), but for spaces: agents that parse lines part pairs by them.
ODD_TEXT = "Grüße-日本🐤"
# Sequence numbers of one epoch, in the values of unstamped samples, and epochs until they repeat:
# together what a float holds exactly (2^53).
EPOCH_SPAN = 1 << 32
EPOCHS = 1 << 21
_SECOND_NS = 1_000_000_000


def make_canary(
    instance: str,
    group: str,
    key: CanaryKey,
    beat: int,
    signal: Signal,
    stamp_ns: int,
    service_name: str,
    *,
    keep: bool = True,
    stamped: bool = True,
) -> Canary:
    """The canary of `key`.

    stamp_ns: Unix nanoseconds; for metrics cut to whole seconds, the only precision that every
    time series store keeps.
    keep: whether samplers are asked to spare it; not so on routes that declare a sampling ratio.
    stamped: whether its stamp arrives. Where it does not, the value alone tells a sample from
    those of earlier starts, so that it holds the epoch too.
    """
    canary_id = make_id(instance, key)
    metric = signal is Signal.METRICS
    return Canary(
        key=key,
        signal=signal,
        beat=beat,
        stamp_ns=stamp_ns - stamp_ns % _SECOND_NS if metric else stamp_ns,
        canary_id=canary_id,
        trace_id=trace_id(instance, key.epoch, group, beat),
        span_id=_digest("span", 8, canary_id),
        service_name=service_name,
        service_instance=f"coalmine-{instance}",
        filler=_filler(canary_id),
        value=float(key.seq if stamped else key.epoch % EPOCHS * EPOCH_SPAN + key.seq),
        attributes=_attributes(instance, key, canary_id, service_name, metric=metric, keep=keep),
    )


def next_stamp_ns(now_ns: int, last_ns: int, *, whole_seconds: bool) -> int:
    """The stamp of a canary that is made `now_ns`, after one that was stamped `last_ns`.

    whole_seconds: samples of one series need a second each. A step of the wall clock stays as it
    is.
    """
    if not whole_seconds:
        return now_ns
    stamp_ns = now_ns - now_ns % _SECOND_NS
    return last_ns + _SECOND_NS if 0 <= last_ns - stamp_ns < 5 * _SECOND_NS else stamp_ns


def make_row(canary: Canary, sent: Instant, sent_under: str, deadline_s: float) -> LedgerRow:
    """The row of a canary that is about to be sent: nothing is known of it yet."""
    return LedgerRow(
        canary=canary,
        sent=sent,
        sent_under=sent_under,
        deadline_s=deadline_s,
        receipt=None,
        outcome=Outcome.PENDING,
        reason=Reason.STARTING,
        judged=None,
        seen=None,
        delay_s=None,
        copies=None,
        empty_read=None,
        empty_path="",
        diff="",
        first_path="",
    )


def make_id(instance: str, key: CanaryKey) -> str:
    """Id as text. It ends in a hash, so that no id is the beginning of another."""
    tail = _digest("id", 8, instance, key.route, key.epoch, key.seq).hex()
    return f"cm-{instance}-{key.epoch}-{key.seq}-{tail}"


def _filler(canary_id: str) -> str:
    """What brings the body to its length, determined by the id."""
    missing = BODY_BYTES - len(body_head(canary_id).encode())
    return _digest("body", 64, canary_id).hex()[: max(8, missing)]


def trace_id(instance: str, epoch: int, group: str, beat: int) -> bytes:
    """The 16 bytes that the log, the exemplar and the trace of one beat share."""
    return _digest("trace", 16, instance, epoch, group, beat)


def make_beat(stamp_ns: int, every_s: float) -> int:
    """Number of the interval that holds `stamp_ns`: routes of one group and pace share it."""
    return stamp_ns // round(every_s * _SECOND_NS)


def _attributes(
    instance: str, key: CanaryKey, canary_id: str, service: str, *, metric: bool, keep: bool
) -> Mapping[str, str]:
    if metric:
        # A constant series: whatever changes per canary would be a new series each time.
        return {
            "service.name": service,
            "coalmine.instance": instance,
            "coalmine.route": key.route,
        }
    kept = {KEEP: "true"} if keep else {}
    seq = str(key.seq)
    return {
        "canary.id": canary_id,
        **kept,
        TEXT: ODD_TEXT,
        "coalmine.route": key.route,
        "coalmine.seq": seq,
    }


def _digest(purpose: str, size: int, *parts: object) -> bytes:
    # Length-prefixed, so that ("a", "bc") and ("ab", "c") differ.
    text = "".join(f"{len(str(part))}:{part}" for part in parts)
    return hashlib.blake2b(text.encode(), digest_size=size, person=purpose.encode()).digest()
