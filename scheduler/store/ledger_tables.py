"""Schema of `ledger`: canaries, their totals, and what was due."""

from datetime import datetime

from sqlalchemy import BigInteger, Index, LargeBinary, Text
from sqlmodel import Field, SQLModel

from core.clock import Instant
from scheduler.store.columns import Moment, Utc, named_metadata


class LedgerTable(SQLModel):
    """Base of all tables of this store."""

    metadata = named_metadata()


class InstanceRow(LedgerTable, table=True):
    """One row: which instance this is, and who serves it."""

    __tablename__ = "instance"
    one: int = Field(primary_key=True, sa_type=BigInteger)
    instance: str = Field(sa_type=Text)
    holder: str = Field(sa_type=Text)
    beat: Instant | None = Field(sa_type=Moment)


class EpochRow(LedgerTable, table=True):
    """Every start of the service; a number is committed before its first use."""

    __tablename__ = "epoch"
    number: int = Field(primary_key=True, sa_type=BigInteger)
    begun: Instant = Field(sa_type=Moment)


class RouteRow(LedgerTable, table=True):
    """The last sequence number of a route in an epoch: what `sent` is summed from."""

    __tablename__ = "route"
    route: str = Field(primary_key=True, sa_type=Text)
    epoch: int = Field(primary_key=True, sa_type=BigInteger)
    last_seq: int = Field(sa_type=BigInteger)


class CanaryRow(LedgerTable, table=True):
    """One canary. No payload: content is a function of the id."""

    __tablename__ = "canary"
    __table_args__ = (Index(None, "route", "outcome", "epoch", "seq"),)
    route: str = Field(primary_key=True, sa_type=Text)
    epoch: int = Field(primary_key=True, sa_type=BigInteger)
    seq: int = Field(primary_key=True, sa_type=BigInteger)
    canary_id: str = Field(unique=True, sa_type=Text)
    signal: str = Field(sa_type=Text)
    beat: int = Field(sa_type=BigInteger)
    stamp_ns: int = Field(sa_type=BigInteger)
    trace_id: bytes = Field(sa_type=LargeBinary)
    service_name: str = Field(sa_type=Text)
    keep: bool
    sent_utc: datetime = Field(index=True, sa_type=Utc)
    sent_boot: str = Field(sa_type=Text)
    sent_boot_s: float
    sent_under: str = Field(sa_type=Text)
    deadline_s: float
    receipt: str | None = Field(sa_type=Text)
    outcome: str = Field(sa_type=Text)
    reason: str = Field(sa_type=Text)
    judged: Instant | None = Field(sa_type=Moment)
    seen: Instant | None = Field(sa_type=Moment)
    delay_s: float | None
    copies: int | None
    empty_read: Instant | None = Field(sa_type=Moment)
    empty_path: str = Field(sa_type=Text)
    diff: str = Field(sa_type=Text)
    first_path: str = Field(sa_type=Text)
    hop_stamps: str = Field(sa_type=Text)
    stamped: bool
    looks: str = Field(sa_type=Text)


class PathRow(LedgerTable, table=True):
    """What an access path of a route answered of late: bits as hexadecimal text.

    outages: JSON, Unix seconds. shown: JSON, days since 1970 by part of a record.
    """

    __tablename__ = "path"
    route: str = Field(primary_key=True, sa_type=Text)
    path: str = Field(primary_key=True, sa_type=Text)
    sent_under: str = Field(sa_type=Text)
    denials: str = Field(sa_type=Text)
    again: str = Field(sa_type=Text)
    reads: str = Field(sa_type=Text)
    outages: str = Field(sa_type=Text)
    shown: str = Field(sa_type=Text)


class CanaryDayRow(LedgerTable, table=True):
    """Totals of pruned canaries by route, UTC day and outcome."""

    __tablename__ = "canary_day"
    route: str = Field(primary_key=True, sa_type=Text)
    day: str = Field(primary_key=True, sa_type=Text)
    outcome: str = Field(primary_key=True, sa_type=Text)
    n: int = Field(sa_type=BigInteger)


class TransitionRow(LedgerTable, table=True):
    """How often canaries of a route went from one outcome to another."""

    __tablename__ = "transition"
    route: str = Field(primary_key=True, sa_type=Text)
    was: str = Field(primary_key=True, sa_type=Text)
    became: str = Field(primary_key=True, sa_type=Text)
    n: int = Field(sa_type=BigInteger)


class RecheckRow(LedgerTable, table=True):
    """One canary at one age. Complete in itself: it outlives the canary's own row.

    failed_paths: JSON.
    """

    __tablename__ = "recheck"
    # The key holds most of a row's columns in common with its neighbours: no second tree for it.
    __table_args__ = (Index(None, "route", "state", "due"), {"sqlite_with_rowid": False})
    route: str = Field(primary_key=True, sa_type=Text)
    epoch: int = Field(primary_key=True, sa_type=BigInteger)
    seq: int = Field(primary_key=True, sa_type=BigInteger)
    age: str = Field(primary_key=True, sa_type=Text)
    age_s: float
    signal: str = Field(sa_type=Text)
    beat: int = Field(sa_type=BigInteger)
    stamp_ns: int = Field(sa_type=BigInteger)
    trace_id: bytes = Field(sa_type=LargeBinary)
    service_name: str = Field(sa_type=Text)
    keep: bool
    stamped: bool
    sent_utc: datetime = Field(sa_type=Utc)
    sent_boot: str = Field(sa_type=Text)
    sent_boot_s: float
    sent_under: str = Field(sa_type=Text)
    due: datetime = Field(sa_type=Utc)
    seen: datetime = Field(sa_type=Utc)
    missed_at: str = Field(sa_type=Text)
    state: str = Field(sa_type=Text)
    reason: str = Field(sa_type=Text)
    tries: int
    judged: Instant | None = Field(sa_type=Moment)
    judged_utc: datetime | None = Field(sa_type=Utc)
    empty_read: Instant | None = Field(sa_type=Moment)
    empty_path: str = Field(sa_type=Text)
    path: str = Field(sa_type=Text)
    diff: str = Field(sa_type=Text)
    failed_paths: str = Field(sa_type=Text)


class RecheckDueRow(LedgerTable, table=True):
    """How many rechecks of a route and age have become due: what their account is held against."""

    __tablename__ = "recheck_due"
    route: str = Field(primary_key=True, sa_type=Text)
    age: str = Field(primary_key=True, sa_type=Text)
    n: int = Field(sa_type=BigInteger)


class RecheckTotalRow(LedgerTable, table=True):
    """Totals of pruned rechecks by route, age and state."""

    __tablename__ = "recheck_total"
    route: str = Field(primary_key=True, sa_type=Text)
    age: str = Field(primary_key=True, sa_type=Text)
    state: str = Field(primary_key=True, sa_type=Text)
    n: int = Field(sa_type=BigInteger)


class ScheduleRow(LedgerTable, table=True):
    """Up to when the due runs of a check are accounted for."""

    __tablename__ = "schedule"
    name: str = Field(primary_key=True, sa_type=Text)
    generation: int = Field(sa_type=BigInteger)
    anchor: datetime = Field(sa_type=Utc)
    every_s: float
    accounted_until: datetime = Field(sa_type=Utc)
