"""A verification as lines, as JSON, as JUnit, and as an exit code. Pure."""

from xml.sax.saxutils import quoteattr

from coalmine.exits import Exit
from coalmine.wiring.verified import CheckReport, RouteReport, Standing, Verified
from core.text import safe_text

_DETAIL = 300
_EXITS = {
    Standing.OK: Exit.OK,
    Standing.WARNING: Exit.OK,
    Standing.UNPROVEN: Exit.NOT_PROVEN,
    Standing.FAIL: Exit.FAIL,
}
_HEAD = ("", "NAME", "KIND", "SENT", "WHAT")


def exit_of(found: Verified, *, strict: bool) -> Exit:
    """The code that `coalmine verify` ends with. `strict`: a warning anywhere is a failure."""
    standings = found.standings
    if strict and Standing.WARNING in standings:
        return Exit.FAIL
    return _EXITS[found.standing]


def as_lines(found: Verified, code: Exit) -> list[str]:
    """A table and a last line with the sum of it."""
    rows = [_HEAD, *map(_check_cells, found.checks), *map(_route_cells, found.routes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD) - 1)]
    lines = [
        "  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in (rows if len(rows) > 1 else [])
    ]
    for one in found.routes:
        lines += [f"{one.name}: {one.finding}"] if one.finding else []
        lines += [f"{one.name}: {told}" for told in (_paths(one),) if told]
    return [*lines, f"{_summary(found)} (exit {int(code)})"]


def _check_cells(one: CheckReport) -> tuple[str, str, str, str, str]:
    return one.standing.value, one.name, one.kind, "-", safe_text(one.detail, _DETAIL)


def _route_cells(one: RouteReport) -> tuple[str, str, str, str, str]:
    sent = str(len(one.verification.rows))
    return one.standing.value, one.name, one.signal, sent, safe_text(one.detail, _DETAIL)


def _paths(one: RouteReport) -> str:
    status = one.verification.status
    paths = ", ".join(
        f"{path.name} {path.verdict.value} ({path.ok} ok, {path.lost} lost, {path.blind} blind)"
        for path in status.paths
    )
    return f"read by {paths}; deadline {status.deadline_s:.0f} s" if paths else ""


def _summary(found: Verified) -> str:
    standings = found.standings
    if not standings:
        return "nothing was selected: nothing is proven"
    counts = ", ".join(f"{standings.count(one)} {one.value}" for one in Standing)
    return f"interrupted: {counts}" if found.interrupted else counts


def as_data(found: Verified, code: Exit) -> dict[str, object]:
    """The report as plain data; seconds and counts, null where something is not known."""
    return {
        "exit": int(code),
        "standing": found.standing.value,
        "interrupted": found.interrupted,
        "checks": [_check_data(one) for one in found.checks],
        "routes": [_route_data(one) for one in found.routes],
    }


def _check_data(one: CheckReport) -> dict[str, object]:
    run = one.run
    return {
        "name": one.name,
        "kind": one.kind,
        "standing": one.standing.value,
        "detail": one.detail,
        "verdict": run.verdict.value if run else None,
        "reason": run.reason.value if run else None,
        "duration_s": _duration_s(one),
    }


def _route_data(one: RouteReport) -> dict[str, object]:
    found = one.verification
    status = found.status
    account = status.account
    return {
        "name": one.name,
        "signal": one.signal,
        "standing": one.standing.value,
        "detail": one.detail,
        "finding": one.finding,
        "sent": account.sent if account else None,
        "outcomes": {name.value: n for name, n in account.by_outcome.items()} if account else None,
        "imbalance": found.imbalance,
        "deadline_s": status.deadline_s,
        "delay_p50_s": status.delay_p50_s,
        "duplicates": status.duplicates,
        "paths": [
            {"name": path.name, "verdict": path.verdict.value, "ok": path.ok, "lost": path.lost,
             "blind": path.blind}
            for path in status.paths
        ],
        "canaries": [
            {"id": row.canary.canary_id, "outcome": row.outcome.value, "reason": row.reason.value,
             "delay_s": row.delay_s}
            for row in found.rows
        ],
    }  # fmt: skip


def _duration_s(one: CheckReport) -> float | None:
    return None if one.run is None else one.run.ended.boot_s - one.run.started.boot_s


def as_junit(found: Verified, *, strict: bool) -> str:
    """JUnit XML: `failure` for what is known bad, `error` for what is not proven."""
    cases = [
        _case(one.name, f"check.{one.kind}", one.standing, one.detail, strict=strict)
        for one in found.checks
    ]
    cases += [
        _case(one.name, f"route.{one.signal}", one.standing, f"{one.detail} {one.finding}".strip(),
              strict=strict)
        for one in found.routes
    ]  # fmt: skip
    if found.interrupted or not cases:
        why = "interrupted" if found.interrupted else "nothing was selected"
        cases.append(_case("verify", "coalmine", Standing.UNPROVEN, why, strict=strict))
    failures = sum("<failure" in case for case in cases)
    errors = sum("<error" in case for case in cases)
    head = (
        f'<testsuite name="coalmine verify" tests="{len(cases)}" failures="{failures}"'
        f' errors="{errors}">'
    )
    return "\n".join(
        ['<?xml version="1.0" encoding="UTF-8"?>', "<testsuites>", head, *cases,
         "</testsuite>", "</testsuites>", ""]
    )  # fmt: skip


def _case(name: str, group: str, standing: Standing, detail: str, *, strict: bool) -> str:
    head = f"<testcase name={quoteattr(name)} classname={quoteattr(group)}"
    element = {Standing.FAIL: "failure", Standing.UNPROVEN: "error"}.get(standing, "")
    if strict and standing is Standing.WARNING:
        element = "failure"
    if not element:
        return f"{head}/>"
    message = quoteattr(safe_text(detail, _DETAIL))
    return f"{head}><{element} type={quoteattr(standing.value)} message={message}/></testcase>"
