"""From a subject in the config to its three rules: the defaults in one place."""

from core.verdict import freshness_limit_s
from paging.config import PagingConfig, Subject
from paging.model import Severity
from paging.rules import Rule, RuleName

# The window of a route or source is already in its verdict; our own checks are exact.
_ONE_OF_ONE = frozenset({"canary", "source", "recheck", "self"})
_DEFAULT_SEVERITY = {
    RuleName.FAIL: Severity.CRITICAL,
    RuleName.DEGRADED: Severity.WARNING,
    RuleName.BLIND: Severity.WARNING,
}
GRACE_AT_MOST_S = 60.0


def unknown_subject(name: str, kind: str) -> Subject:
    """A subject that reported without being configured (one of our own checks)."""
    return Subject(name, kind, every_s=60.0, deadline_s=60.0)


def rules_for(subject: Subject, config: PagingConfig) -> tuple[Rule, ...]:
    """The `fail`, `degraded` and `blind` rules of `subject`, in that order."""
    return tuple(_rule(name, subject, config) for name in RuleName)


def _rule(name: RuleName, subject: Subject, config: PagingConfig) -> Rule:
    single = subject.kind in _ONE_OF_ONE
    k, n = (1, 1) if single else (2, 2)
    for_s = subject.for_s or 0.0
    if name is RuleName.BLIND:
        k, n, for_s = 1, 1, config.blind_after_s
    else:
        k, n = subject.k or k, subject.n or max(n, subject.k or k)
    recover_s = 0.0 if single else 2 * subject.every_s
    return Rule(
        name=name,
        subject=subject.name,
        severity=subject.severity.get(name.value, _DEFAULT_SEVERITY[name]),
        k=k,
        n=n,
        for_s=for_s,
        recover_for_s=recover_s if subject.recover_for_s is None else subject.recover_for_s,
        recover_passes=1 if single else 2,
        fresh_s=freshness(subject),
        grace_s=min(for_s, GRACE_AT_MOST_S),
    )


def freshness(subject: Subject) -> float:
    """Seconds after which a verdict of `subject` is history."""
    return freshness_limit_s(subject.every_s, subject.deadline_s, subject.confirmation_s)
