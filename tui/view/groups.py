"""One page, one row: incidents that another one's page carries stand under that one.

Nothing is folded away that needs more attention than the row it would stand under.
"""

from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from core.verdict import Verdict
from scheduler.readmodel import IncidentRow

SEVERITY = {"critical": "CRIT", "warning": "WARN"}


def section_of(row: IncidentRow) -> int:
    """0 needs somebody, 1 cannot be told, 2 somebody has it or nobody wants to be told."""
    if row.acked_by or row.muted_by:
        return 2
    return 1 if row.verdict is Verdict.BLIND else 0


def severity_of(row: IncidentRow) -> int:
    """0 is the most severe; what is not known comes last."""
    return list(SEVERITY).index(row.severity) if row.severity in SEVERITY else len(SEVERITY)


def carried(leader: IncidentRow, rows: Sequence[IncidentRow]) -> list[IncidentRow]:
    """Those of `rows` that the page of `leader` carries, in their order.

    Members are named by subject, and a subject may have incidents that the page does not carry:
    when it has more of them than the page names, none of them is taken for a member.
    """
    if not leader.members:
        return []
    named = Counter(leader.members)
    mine = [row for row in rows if row.subject in named and row.key != leader.key]
    there = Counter(row.subject for row in mine)
    return [row for row in mine if not row.members and there[row.subject] == named[row.subject]]


def folded(rows: Sequence[IncidentRow], pending: AbstractSet[str]) -> frozenset[str]:
    """Keys of the rows that stand under another one. pending: whose ack is on its way."""
    return frozenset(
        row.key
        for leader in rows
        for row in carried(leader, rows)
        if row.key in pending or _no_more_urgent(row, leader)
    )


def _no_more_urgent(row: IncidentRow, leader: IncidentRow) -> bool:
    # An ack moves a row out of sight, never one that nobody has acked.
    return section_of(row) >= section_of(leader) and severity_of(row) >= severity_of(leader)
