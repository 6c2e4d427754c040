"""The text of a page: pure. What is lost, where, how sure, since when, what is missing."""

from collections.abc import Mapping, Sequence

from core.clock import Instant
from core.result import Fact
from core.text import safe_text
from paging.model import Incident
from paging.rules import RuleName

SUMMARY_LIMIT = 1024
TITLE_LIMIT = 120
_MEMBERS_NAMED = 8
_EVIDENCE_NAMED = 3


def title_of(rule: RuleName, subject: str, kind: str, *, flapping: bool) -> str:
    """One line that names subject and condition."""
    if flapping:
        return safe_text(f"{subject}: flapping", TITLE_LIMIT)
    if rule is RuleName.BLIND:
        return safe_text(f"watcher blind: {subject}", TITLE_LIMIT)
    if rule is RuleName.DEGRADED:
        return safe_text(f"{subject}: degraded", TITLE_LIMIT)
    words = {
        "canary": f"{subject}: telemetry is not arriving",
        "source": f"source {subject.removeprefix('source:')} quiet",
    }
    return safe_text(words.get(kind, f"{subject}: failing"), TITLE_LIMIT)


def evidence_of(facts: Mapping[str, Fact]) -> tuple[str, ...]:
    """Facts `evidence_1`, `evidence_2` … in order."""
    names = [name for name in facts if name.startswith("evidence_") and name[9:].isdigit()]
    ordered = sorted(names, key=lambda name: int(name[9:]))
    return tuple(safe_text(str(facts[name]), 300) for name in ordered)


def summary_of(facts: Mapping[str, Fact], detail: str, hop: str, since: Instant) -> str:
    """Finding or detail, place, evidence, what is missing, cost: at most 1,024 characters."""
    finding = str(facts.get("finding", "")) or detail or "no further detail"
    parts = [finding]
    if hop and hop not in finding:
        parts.append(f"at {hop}")
    parts.append(f"since {since.utc:%Y-%m-%d %H:%M:%SZ}")
    parts += evidence_of(facts)[:_EVIDENCE_NAMED]
    for name, word in (
        ("confidence", "confidence"),
        ("missing", "missing"),
        ("loss_cost", "cost of the loss"),
    ):
        if facts.get(name) not in (None, ""):
            parts.append(f"{word}: {facts[name]}")
    return safe_text(" · ".join(parts), SUMMARY_LIMIT)


def with_members(leader: Incident, members: Sequence[Incident]) -> str:
    """The leader's summary with those it carries named and counted, within the limit."""
    if not members:
        return leader.summary
    named = ", ".join(one.subject for one in members[:_MEMBERS_NAMED])
    more = len(members) - _MEMBERS_NAMED
    tail = safe_text(f" · also {named}" + (f" and {more} more" if more > 0 else ""), 500)
    head = safe_text(leader.summary, SUMMARY_LIMIT - len(tail))
    return head + tail
