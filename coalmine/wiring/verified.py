"""What `verify` found, and what follows from it. Pure.

Rules: docs/design.md, "What a user touches". Known bad wins over unknown, unknown over ok; what
was not judged proves nothing.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from core.result import RunEnvelope
from core.verdict import Verdict
from selfcheck.canary.judge import duplicated
from selfcheck.canary.model import LOSSES, LedgerRow, Outcome
from selfcheck.canary.verify import RouteVerification
from selfcheck.canary.window import silent

_ARRIVED = frozenset({Outcome.OK, Outcome.LATE})


class Standing(StrEnum):
    """What one entry came to, best first."""

    OK = "ok"
    WARNING = "warning"
    UNPROVEN = "unproven"
    FAIL = "fail"


_ORDER = list(Standing)


@dataclass(frozen=True, slots=True)
class CheckReport:
    """A check that was run once; `run` is None when it came to no result."""

    name: str
    kind: str
    standing: Standing
    detail: str
    run: RunEnvelope | None


@dataclass(frozen=True, slots=True)
class RouteReport:
    """A route. finding: where canaries were lost, "" when that is not known."""

    name: str
    signal: str
    standing: Standing
    detail: str
    finding: str
    verification: RouteVerification


@dataclass(frozen=True, slots=True)
class Verified:
    """All that was selected, in the order of the config."""

    checks: tuple[CheckReport, ...]
    routes: tuple[RouteReport, ...]
    interrupted: bool

    @property
    def standings(self) -> tuple[Standing, ...]:
        """One per entry."""
        checks = tuple(one.standing for one in self.checks)
        return checks + tuple(one.standing for one in self.routes)

    @property
    def standing(self) -> Standing:
        """The worst of all; of nothing it is `unproven`, as it is of a run that was cut short."""
        found = list(self.standings)
        if self.interrupted or not found:
            found.append(Standing.UNPROVEN)
        return max(found, key=_ORDER.index)


def check_report(name: str, kind: str, run: RunEnvelope | str) -> CheckReport:
    """`run`: the one run, or why there is none."""
    if isinstance(run, str):
        return CheckReport(name, kind, Standing.UNPROVEN, run, None)
    standing = {
        Verdict.OK: Standing.OK,
        Verdict.DEGRADED: Standing.WARNING,
        Verdict.FAIL: Standing.FAIL,
        Verdict.BLIND: Standing.UNPROVEN,
    }[run.verdict]
    told = "" if standing is Standing.OK else f"{run.reason.value}: "
    return CheckReport(name, kind, standing, f"{told}{run.detail}".rstrip(), run)


def route_report(
    name: str, signal: str, finding: str, found: RouteVerification, wanted: int, trouble: str = ""
) -> RouteReport:
    """`found`: the route as it stands in the end; `wanted`: how many canaries were to be sent.

    trouble: why it was given up before its end; even then a loss is a loss.
    """
    standing, detail = _judged(found)
    unended = trouble or f"only {len(found.rows)} of {wanted} were sent in time"
    if standing is not Standing.FAIL and (trouble or len(found.rows) < wanted):
        standing, detail = Standing.UNPROVEN, f"{unended}; {detail}"
    return RouteReport(name, signal, standing, detail, finding, found)


def _judged(found: RouteVerification) -> tuple[Standing, str]:
    rows = found.rows
    bad = [row for row in rows if _is_bad(row, declared=_declared(found))]
    if bad:
        return Standing.FAIL, f"{_counted(bad)} of {len(rows)}{_why(bad[-1])}"
    if found.imbalance:
        return Standing.UNPROVEN, found.imbalance
    open_ends = [row for row in rows if row.outcome in {Outcome.UNKNOWN, Outcome.PENDING}]
    if open_ends:
        why = f"{found.status.reason.value}: {found.status.detail}"
        return Standing.UNPROVEN, f"{_counted(open_ends)} of {len(rows)}; {why}"
    if not [row for row in rows if row.outcome in _ARRIVED]:
        return Standing.UNPROVEN, f"no canary arrived: {_counted(rows) or 'none was sent'}"
    doubled = sum(duplicated(row, 1) for row in rows)
    late = sum(row.outcome is Outcome.LATE for row in rows)
    warnings = [f"{late} late"] if late else []
    warnings += [f"{doubled} stored more often than sent"] if doubled else []
    if warnings:
        return Standing.WARNING, f"{', '.join(warnings)} of {len(rows)}"
    return Standing.OK, f"{_counted(rows)} of {len(rows)}"


def _declared(found: RouteVerification) -> bool:
    return found.status.spec.expect_drop is not None


def _is_bad(row: LedgerRow, *, declared: bool) -> bool:
    undeclared = row.outcome is Outcome.POLICY_DROP and not declared
    return row.outcome in LOSSES or silent(row) or undeclared


def _counted(rows: Sequence[LedgerRow]) -> str:
    words = Counter("taken without an answer" if silent(r) else r.outcome.value for r in rows)
    return ", ".join(f"{count} {word}" for word, count in words.items())


def _why(row: LedgerRow) -> str:
    receipt = row.receipt
    told = row.diff or (receipt.detail if receipt is not None else "")
    return f": {told}" if told else ""
