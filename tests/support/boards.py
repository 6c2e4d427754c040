"""Boards as screens get them, built by state: healthy, burning, a storm, a first start."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from core.verdict import Verdict
from scheduler.readmodel import (
    BalanceRow,
    Board,
    CheckRow,
    CostRow,
    HopCell,
    IncidentRow,
    LogRow,
    PathRow,
    RecheckRow,
    RouteRow,
    SourceRow,
    TroubleLine,
    VitalLine,
)

AT = datetime(2026, 11, 21, 3, 12, 44, tzinfo=UTC)
OK, DEGRADED, FAIL, BLIND = Verdict.OK, Verdict.DEGRADED, Verdict.FAIL, Verdict.BLIND


def strip(*parts: tuple[Verdict | None, int]) -> tuple[Verdict | None, ...]:
    """A strip of runs: `strip((OK, 20), (FAIL, 10))`."""
    return tuple(verdict for verdict, times in parts for _ in range(times))


def incident(name: str, verdict: Verdict = FAIL, minutes: float = 14, **changes) -> IncidentRow:
    row = IncidentRow(
        key=f"prod-eu:{name}:1", fingerprint=name, episode=1, rule="fail", subject=name,
        severity="critical" if verdict is FAIL else "warning", state="firing", verdict=verdict,
        title=name, summary="6 of 10 lost after the gateway", hop="loki",
        evidence=("sent 10 at 03:08:10Z, found 4 at 30, 60, 90 s",
                  "confirmed by id and by search, uncached"),
        since=AT - timedelta(minutes=minutes), acked_by="", acked_until=None, muted_by="",
        muted_until=None, members=(), pages=("pagerduty trigger: accepted 202",),
        strip=strip((OK, 15), (verdict, 15)), seen_age_s=4.0,
    )  # fmt: skip
    return replace(row, **changes)


def check(name: str, verdict: Verdict = OK, age_s: float | None = 8.0, **changes) -> CheckRow:
    row = CheckRow(
        name=name, kind="http", title="", verdict=verdict, was=None, reason=verdict.value,
        detail="", age_s=age_s, last_s=0.1, facts={"status": 200, "connect_s": 0.011},
        account={"due": 1440, "ok": 1439, "running": 1}, strip=strip((verdict, 30)),
    )  # fmt: skip
    return replace(row, **changes)


def route(name: str, verdict: Verdict = OK, hops: str = "send gateway loki read", **changes):
    names = hops.split()
    cells = tuple(HopCell(hop, OK, 0.02 * (at + 1), None, "") for at, hop in enumerate(names))
    row = RouteRow(
        name=name, signal="logs", title="", verdict=verdict, reason=verdict.value, detail="",
        hops=cells, sent=120, outcomes={"ok": 118, "pending": 2}, balanced=True, duplicates="",
        delay_p50_s=1.2, delay_p99_s=2.4, deadline_s=60.0, finding="", evidence=(), age_s=4.0,
        strip=strip((verdict, 30)),
        paths=(PathRow("by_id", verdict, "ok", 6, 0, 0, 1.2, 2.4, AT),
               PathRow("search", verdict, "ok", 2, 0, 0, 1.3, 2.6, None)),
        rechecks=(RecheckRow("1h", 3, {"ok": 2, "lost": 1}, True),),
    )  # fmt: skip
    return replace(row, **changes)


def cost(meter: str, **changes) -> CostRow:
    row = CostRow(
        meter=meter, signal=meter.partition(".")[0], book="google-cloud", point="M4", grade="V",
        unit="GB", quantity_hour=17.2, per_gb="0.500", hour="8.60", to_date="4240", low="4190",
        likely="4386", high="4560", currency="USD",
        note="list price, not your contract; 490 h of this month were not measured: modelled",
    )  # fmt: skip
    return replace(row, **changes)


def board(**changes) -> Board:
    """Everything is well."""
    value = Board(
        at=AT, namespace="prod-eu", source="live", generation=1, troubles=(),
        vitals=(VitalLine("database", OK, 2.0, ""), VitalLine("scheduler", OK, 1.0, ""),
                VitalLine("export", OK, 4.0, "")),
        incidents=(),
        checks=tuple(check(f"shop-{n}") for n in range(6)),
        routes=(route("logs-gw"), route("logs-direct", hops="send loki read"),
                route("traces-gw", hops="send agent gateway tempo read", signal="traces")),
        balance=(BalanceRow("gateway", "logs", 12040, 12031, 9, 0, 0, 0, "own counters", 9.0),),
        sources=(SourceRow("payments", "logs", OK, "ok", "", 2.0),), costs=(), log=(),
    )  # fmt: skip
    return replace(value, **changes)


def burning() -> Board:
    """Three incidents, one blind, one acked, one muted; a located loss on a route."""
    lossy = replace(
        route("logs-gw", FAIL), reason="silent_loss", detail="6 of 10 lost",
        hops=(HopCell("send", OK, 0.02, None, ""), HopCell("gateway", OK, 0.0004, None, ""),
              HopCell("loki", FAIL, None, 0.6, ""), HopCell("read", BLIND, None, None, "")),
        finding="lost between gateway and loki, 6 of 10, confidence high",
        evidence=("counters agree: 7,219 of 12,031", "straight to loki 10 of 10"),
        outcomes={"ok": 112, "lost": 6, "pending": 2}, strip=strip((OK, 15), (FAIL, 15)),
    )  # fmt: skip
    return board(
        troubles=(TroubleLine("BLIND", "jaeger refuses reads, 401", 1260.0, 12.0),),
        incidents=(
            incident("logs-gw", title="canary logs", episode=3, members=("metrics-gw",)),
            incident("checkout", minutes=6, summary="login step over 10 s", hop="eu-west"),
            incident("traces-gw", DEGRADED, 31, summary="visible after 41 s, limit 30", hop="tempo"),
            incident("traces-jaeger", BLIND, 21, rule="blind", summary="read refused, 401",
                     hop="jaeger", strip=strip((OK, 10), (BLIND, 20)), seen_age_s=30.0),
            incident("cost-logs", DEGRADED, 65, summary="+38 % in 7 d", hop="", acked_by="ana",
                     acked_until=AT + timedelta(hours=2, minutes=51)),
            incident("tls-api-old", DEGRADED, 545, summary="6 days left", hop="", muted_by="leo",
                     muted_until=AT + timedelta(minutes=48)),
        ),
        checks=(
            check("checkout", FAIL, 22.0), check("logs-gw", FAIL, 4.0, kind="canary"),
            check("traces-gw", DEGRADED, 9.0, kind="canary"),
            check("tls-api-old", DEGRADED, 720.0, kind="tls"),
            check("traces-jaeger", BLIND, 30.0, kind="canary"),
            check("backup", BLIND, 1140.0, was=OK, reason="ok"),
            *(check(f"shop-{n}") for n in range(6)),
        ),
        routes=(
            lossy, route("logs-direct", hops="send loki read"),
            replace(route("traces-gw", DEGRADED, hops="send agent gateway tempo read"),
                    signal="traces", delay_p50_s=38.0),
            replace(route("traces-jaeger", BLIND, hops="send jaeger read"), signal="traces",
                    reason="auth", detail="401", strip=strip((OK, 9), (None, 21)), age_s=30.0),
        ),
        balance=(
            BalanceRow("gateway", "logs", 12040, 12031, 9, 0, 0, 0, "own counters, queue 9", 9.0),
            BalanceRow("loki", "logs", 4812, None, None, 0, None, None, "no counter", 11.0),
        ),
        sources=(SourceRow("payments", "logs", FAIL, "quiet", "expected every 2 s", 840.0),
                 SourceRow("cart", "logs", OK, "ok", "", 2.0)),
        costs=(
            cost("logs.ingest"), cost("metrics.ingest", per_gb=None, point="M3"),
            cost("traces.ingest", book="our-contract", point="", grade="", quantity_hour=None,
                 per_gb=None, hour=None, to_date=None, low=None, likely=None, high=None,
                 currency="", note="unpriced: no entry for this signal"),
        ),
        log=(
            LogRow(AT - timedelta(minutes=1), "page", "pagerduty", "canary logs: trigger",
                   "accepted 202", OK),
            LogRow(AT - timedelta(minutes=2), "ack", "ana", "cost-logs", "stored", OK, "id-1"),
        ),
    )  # fmt: skip


def storm(incidents: int = 500) -> Board:
    """Many incidents at once."""
    rows = tuple(
        incident(f"route-{n:03}", FAIL if n % 3 else DEGRADED, minutes=n % 60 + 1)
        for n in range(incidents)
    )
    return board(incidents=rows, checks=tuple(check(row.subject, row.verdict) for row in rows))


def first_start() -> Board:
    """Configured, nothing has reported yet."""
    waiting = {"verdict": BLIND, "age_s": None, "last_s": None, "account": {}, "strip": ()}
    checks = tuple(
        replace(check(f"shop-{n}"), reason="starting", detail="no result yet", **waiting)
        for n in range(6)
    )
    routes = (
        replace(route("logs-gw", BLIND), reason="starting", age_s=None, strip=(), sent=0,
                hops=tuple(HopCell(hop, BLIND, None, None, "") for hop in ("send", "loki", "read"))),
    )  # fmt: skip
    return board(checks=checks, routes=routes, balance=(), sources=())
