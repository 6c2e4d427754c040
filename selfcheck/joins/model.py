"""A join, and the pair of canaries it is judged by. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from selfcheck.canary.model import LedgerRow, Outcome

# A record without its trace id is altered, and it is such a one that a link is judged for.
_SEEN = frozenset({Outcome.OK, Outcome.LATE, Outcome.ALTERED})
# A chance that is not met in the life of a service that asks once a minute.
_RARE = 1e-6


@dataclass(frozen=True, slots=True)
class Join:
    """A link from the records of one route to the traces of another; both share their beats."""

    name: str
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Beat:
    """What one beat left in the stores: a log line or a sample, and a span of the same trace."""

    record: LedgerRow
    span: LedgerRow


def newest_beat(records: Sequence[LedgerRow], spans: Sequence[LedgerRow]) -> Beat | None:
    """The newest beat of which both canaries were seen; None when there is none.

    Each may be found by itself: only then does a broken link say something of the link.
    """
    by_trace: Mapping[bytes, LedgerRow] = {
        row.canary.trace_id: row for row in spans if row.outcome in _SEEN
    }
    found = [
        Beat(row, by_trace[row.canary.trace_id])
        for row in records
        if row.outcome in _SEEN and row.canary.trace_id in by_trace
    ]
    return max(found, key=lambda beat: beat.record.canary.key, default=None)


def longest_gap(kept: float) -> int:
    """How many beats later, at the most, is one whose canaries both samplers keep again.

    kept: the share of such beats, in (0, 1]; 1 = nothing is dropped on purpose.
    """
    return 1 if kept >= 1 else math.ceil(math.log(_RARE) / math.log1p(-kept))
