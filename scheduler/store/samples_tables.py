"""Schema of `samples`: history, which may be shed and decides nothing."""

from datetime import datetime

from sqlalchemy import BigInteger, Index, LargeBinary, Text
from sqlmodel import Field, SQLModel

from core.clock import Instant
from scheduler.store.columns import Moment, Utc, named_metadata


class SamplesTable(SQLModel):
    """Base of all tables of this store."""

    metadata = named_metadata()


class RunColumns(SQLModel):
    """The columns of one RunEnvelope, but for its key."""

    kind: str = Field(sa_type=Text)
    generation: int = Field(sa_type=BigInteger)
    epoch: int = Field(sa_type=BigInteger)
    worker: str = Field(sa_type=Text)
    started: Instant = Field(sa_type=Moment)
    ended: Instant = Field(sa_type=Moment)
    verdict: str = Field(sa_type=Text)
    reason: str = Field(sa_type=Text)
    detail: str = Field(sa_type=Text)
    facts: str = Field(sa_type=Text)
    late_s: float
    queue_s: float
    lag_s: float
    v: int


class RunRow(SamplesTable, RunColumns, table=True):
    """A run that was not `ok`, or whose verdict differed from the one before."""

    __tablename__ = "run"
    __table_args__ = (Index(None, "scheduled_at"),)
    name: str = Field(primary_key=True, sa_type=Text)
    location: str = Field(primary_key=True, sa_type=Text)
    scheduled_at: datetime = Field(primary_key=True, sa_type=Utc)
    attempt: int = Field(primary_key=True)


class LatestRunRow(SamplesTable, RunColumns, table=True):
    """The newest run of each check and location, whatever its verdict."""

    __tablename__ = "latest_run"
    name: str = Field(primary_key=True, sa_type=Text)
    location: str = Field(primary_key=True, sa_type=Text)
    scheduled_at: datetime = Field(sa_type=Utc)
    attempt: int


class RunPackRow(SamplesTable, table=True):
    """All runs of one check in one hour, eight bytes each, with their sums."""

    __tablename__ = "run_pack"
    __table_args__ = (Index(None, "hour"),)
    name: str = Field(primary_key=True, sa_type=Text)
    location: str = Field(primary_key=True, sa_type=Text)
    hour: datetime = Field(primary_key=True, sa_type=Utc)
    n_ok: int
    n_degraded: int
    n_fail: int
    n_blind: int
    min_s: float
    max_s: float
    sum_s: float
    points: bytes = Field(sa_type=LargeBinary)


class VitalRow(SamplesTable, table=True):
    """The last sign of life of one part of the service."""

    __tablename__ = "vitals"
    part: str = Field(primary_key=True, sa_type=Text)
    at: Instant = Field(sa_type=Moment)
    verdict: str = Field(sa_type=Text)
    detail: str = Field(sa_type=Text)


class HopWindowRow(SamplesTable, table=True):
    """In and out of one hop over one window; NULL = could not be read."""

    __tablename__ = "hop_window"
    __table_args__ = (Index(None, "ended"),)
    hop: str = Field(primary_key=True, sa_type=Text)
    signal: str = Field(primary_key=True, sa_type=Text)
    ended: datetime = Field(primary_key=True, sa_type=Utc)
    seconds: float
    came_in: int | None = Field(sa_type=BigInteger)
    went_out: int | None = Field(sa_type=BigInteger)
    stored: int | None = Field(sa_type=BigInteger)
    intended: int | None = Field(sa_type=BigInteger)
    dropped: int | None = Field(sa_type=BigInteger)


class MeterHourRow(SamplesTable, table=True):
    """Usage of one hour at one measuring point; NULL = could not be read."""

    __tablename__ = "meter_hour"
    hour: datetime = Field(primary_key=True, sa_type=Utc)
    signal: str = Field(primary_key=True, sa_type=Text)
    point: str = Field(primary_key=True, sa_type=Text)
    source: str = Field(primary_key=True, sa_type=Text)
    items: int | None = Field(sa_type=BigInteger)
    body_bytes: int | None = Field(sa_type=BigInteger)
    seconds: float
