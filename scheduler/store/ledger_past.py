"""What the ledger tells a route at once: its account, and what it starts from."""

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    case,
    func,
    literal,
    literal_column,
    or_,
    select,
    type_coerce,
    union_all,
)
from sqlmodel import col

from core.clock import Instant
from core.reason import Reason
from scheduler.store.canary_rows import read_receipt
from scheduler.store.ledger_tables import CanaryDayRow, CanaryRow, PathRow, RouteRow
from selfcheck.canary.ledger import (
    HOUR_US,
    HOURS_BACK,
    Brief,
    HourPast,
    Past,
    PathPast,
    late,
    untaken,
    untold,
)
from selfcheck.canary.model import Account, CanaryKey, Outcome, Sent

_SENT = "sent"
_ROUTE: BindParameter[str] = bindparam("route")
# Built once: it is asked for every route and interval.
_ACCOUNT = union_all(
    select(literal(_SENT).label("part"), func.sum(RouteRow.last_seq).label("n")).where(
        col(RouteRow.route) == _ROUTE
    ),
    select(col(CanaryRow.outcome), func.count())
    .where(col(CanaryRow.route) == _ROUTE)
    .group_by(col(CanaryRow.outcome)),
    select(col(CanaryDayRow.outcome), func.sum(CanaryDayRow.n))
    .where(col(CanaryDayRow.route) == _ROUTE)
    .group_by(col(CanaryDayRow.outcome)),
)
_BRIEF = (
    col(CanaryRow.epoch),
    col(CanaryRow.seq),
    col(CanaryRow.sent_utc),
    col(CanaryRow.sent_boot),
    col(CanaryRow.sent_boot_s),
    col(CanaryRow.sent_under),
    col(CanaryRow.outcome),
    col(CanaryRow.reason),
    col(CanaryRow.copies),
    col(CanaryRow.receipt),
    col(CanaryRow.judged),
    col(CanaryRow.delay_s),
    col(CanaryRow.first_path),
    col(CanaryRow.empty_path),
)
_MINE = col(CanaryRow.route) == _ROUTE
# Written out: PostgreSQL takes two parameters of one value for two expressions.
_HOUR = (type_coerce(col(CanaryRow.sent_utc), BigInteger) // literal_column(str(HOUR_US))).label(
    "hour"
)
_RECENT = (
    select(*_BRIEF)
    .where(_MINE)
    .order_by(col(CanaryRow.epoch).desc(), col(CanaryRow.seq).desc())
    .limit(bindparam("limit"))
)
_NEWEST = _RECENT.where(col(CanaryRow.outcome) == bindparam("outcome"))


def account_of(connection: Connection, route: str) -> Account:
    """The accounting identity of one route: live rows and pruned totals, in one snapshot."""
    sent, counts = 0, dict.fromkeys(Outcome, 0)
    for part, n in connection.execute(_ACCOUNT, {"route": route}):
        if part == _SENT:
            sent = int(n or 0)
        else:
            counts[Outcome(part)] += int(n)
    return Account(route, sent, counts)


def past_of(
    connection: Connection, route: str, sent_under: str, midnight: datetime, limit: int
) -> Past:
    """What a route starts from; `limit`: how many of the newest are told in brief."""
    mine = {"route": route}
    recent = connection.execute(_RECENT, {**mine, "limit": limit}).all()
    newest = [
        row
        for outcome in Outcome
        for row in connection.execute(_NEWEST, {**mine, "limit": 1, "outcome": outcome.value})
    ]
    summed = connection.execute(_summed(sent_under, midnight), mine).all()
    others = sum(hour.others for hour in summed)
    return Past(
        recent=_briefs(route, recent[::-1]),
        newest=_briefs(route, newest),
        seen_under=any(hour.seen for hour in summed),
        only_under=bool(summed) and not others,
        sent_today=sum(int(hour.today) for hour in summed),
        hours=[
            HourPast(hour.hour, int(hour.n), hour.deadline_s, hour.delay_s, hour.longest_s)
            for hour in summed
            if hour.n
        ],
        paths=_paths(connection, route, sent_under),
    )


def _paths(connection: Connection, route: str, sent_under: str) -> list[PathPast]:
    kept = select(
        col(PathRow.path),
        col(PathRow.denials),
        col(PathRow.again),
        col(PathRow.reads),
        col(PathRow.outages),
        col(PathRow.shown),
    ).where(col(PathRow.route) == route, col(PathRow.sent_under) == sent_under)
    return [
        PathPast(
            row.path,
            int(row.denials, 16),
            int(row.again, 16),
            int(row.reads, 16),
            tuple(json.loads(row.outages)),
            json.loads(row.shown),
        )
        for row in connection.execute(kept)
    ]


def _summed(sent_under: str, midnight: datetime) -> Select[*tuple[Any, ...]]:
    """By the hour of sending, so that all rows are gone through once."""
    present = col(CanaryRow.sent_under) == sent_under
    arrived = or_(col(CanaryRow.seen).is_not(None), col(CanaryRow.outcome) == Outcome.LOST.value)
    delay_s = col(CanaryRow.delay_s)
    week = col(CanaryRow.sent_utc) >= midnight - HOURS_BACK
    known = and_(present, delay_s.is_not(None), week)
    return (
        select(
            _HOUR,
            _count(col(CanaryRow.sent_utc) >= midnight).label("today"),
            _count(and_(present, arrived)).label("seen"),
            _count(~present).label("others"),
            _count(known).label("n"),
            func.avg(case((known, col(CanaryRow.deadline_s)))).label("deadline_s"),
            func.avg(case((known, delay_s))).label("delay_s"),
            func.max(case((known, delay_s))).label("longest_s"),
        )
        .where(_MINE)
        .group_by(_HOUR)
    )


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((condition, 1), else_=0))


def _briefs(route: str, rows: Sequence[Row[*tuple[Any, ...]]]) -> list[Brief]:
    return [
        Brief(
            CanaryKey(route, row.epoch, row.seq),
            Instant(row.sent_utc, sys.intern(row.sent_boot), row.sent_boot_s),
            row.sent_under,
            Outcome(row.outcome),
            None if row.copies is None else _doubled(row.copies, row.receipt),
            row.judged,
            row.delay_s,
            row.first_path,
            row.empty_path,
            _untaken(row.outcome, row.receipt),
            untold(Outcome(row.outcome), Reason(row.reason)),
            row.receipt is None,
            late(Outcome(row.outcome), Reason(row.reason)),
        )
        for row in rows
    ]


def _untaken(outcome: str, receipt: str | None) -> bool:
    """Few are: a receipt is only read where the sender was not told that it was taken."""
    if receipt is None or receipt.startswith(f'["{Sent.ACCEPTED.value}"'):
        return False
    return untaken(Outcome(outcome), read_receipt(receipt))


def _doubled(copies: int, receipt: str | None) -> bool:
    """More copies than were sent; a receipt is only read where there is a doubt."""
    return copies > 1 and copies > (max(1, read_receipt(receipt).tries) if receipt else 1)
