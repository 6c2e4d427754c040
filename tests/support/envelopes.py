"""Envelopes and board rows for tests: what is not given is unremarkable."""

from core.clock import Clock, instant
from core.reason import Reason
from core.result import RunEnvelope, Trust
from core.verdict import Verdict
from scheduler.readmodel import Board, CheckRow, RouteRow

REASON = {
    Verdict.OK: Reason.OK,
    Verdict.DEGRADED: Reason.SLOW,
    Verdict.FAIL: Reason.STATUS,
    Verdict.BLIND: Reason.HARNESS,
}


def envelope(clock: Clock, check="shop", verdict=Verdict.OK, detail="", *, kind="http", **facts):
    """A run that has just ended."""
    now = instant(clock)
    return RunEnvelope(
        check=check, kind=kind, generation=3, epoch=1, scheduled_at=now.utc, started=now,
        ended=now, verdict=verdict, reason=REASON[verdict], detail=detail, facts=facts,
        trust=Trust(0.1, 0.2, 0.3),
    )  # fmt: skip


def check(name="shop", verdict=Verdict.OK, **changes) -> CheckRow:
    """A row of a check that ran a second ago."""
    given = {
        "name": name, "kind": "http", "title": "", "verdict": verdict, "was": None, "reason": "ok",
        "detail": "", "age_s": 1.0, "last_s": 0.5, "account": {}, "strip": (),
        "facts": {"late_s": 0.0, "lag_s": 0.0, "queue_s": 0.0, "last_ok_utc_s": 0.0},
    }  # fmt: skip
    return CheckRow(**{**given, **changes})


def route(name="logs", **changes) -> RouteRow:
    """A row of a route that has sent nothing yet."""
    given = {
        "name": name, "signal": "logs", "title": "", "verdict": Verdict.BLIND,
        "reason": "starting", "detail": "", "hops": (), "sent": 0,
        "outcomes": {"ok": 0, "lost": 0}, "balanced": True, "duplicates": "none",
        "delay_p50_s": None, "delay_p99_s": None, "deadline_s": 60.0, "finding": "",
        "evidence": (), "age_s": None, "strip": (),
    }  # fmt: skip
    return RouteRow(**{**given, **changes})


def board(clock: Clock, **changes) -> Board:
    """An empty board."""
    given = {
        "at": clock.utc(), "namespace": "tests", "source": "live", "generation": 1,
        "troubles": (), "vitals": (), "incidents": (), "checks": (), "routes": (), "balance": (),
        "sources": (), "costs": (), "log": (),
    }  # fmt: skip
    return Board(**{**given, **changes})


class FixedModel:
    """A ReadModel that shows one board and remembers what it was told to do."""

    def __init__(self, shown: Board) -> None:
        self.shown, self.acts = shown, []

    def board(self) -> Board:
        if isinstance(self.shown, Exception):
            raise self.shown
        return self.shown

    def act(self, request) -> None:
        self.acts.append(request)

    def done(self, action_ids) -> frozenset[str]:
        return frozenset(action_ids) & {one.action_id for one in self.acts}
