"""Schema of `state`: rules, incidents, the outbox, and what people did."""

from datetime import datetime

from sqlalchemy import BigInteger, Index, Integer, Text
from sqlmodel import Field, SQLModel

from core.clock import Instant
from scheduler.store.columns import Moment, Utc, named_metadata

# SQLite gives out row numbers only for INTEGER keys.
_Number = BigInteger().with_variant(Integer, "sqlite")


class StateTable(SQLModel):
    """Base of all tables of this store."""

    metadata = named_metadata()


class StateInstanceRow(StateTable, table=True):
    """One row: the instance that this store belongs to."""

    __tablename__ = "instance"
    one: int = Field(primary_key=True, sa_type=BigInteger)
    instance: str = Field(sa_type=Text)


class RuleStateRow(StateTable, table=True):
    """JSON text of a rule's state."""

    __tablename__ = "rule_state"
    key: str = Field(primary_key=True, sa_type=Text)
    content: str = Field(sa_type=Text)


class IncidentEventRow(StateTable, table=True):
    """Append-only: every state that an incident was ever in. The truth."""

    __tablename__ = "incident_event"
    n: int | None = Field(default=None, primary_key=True, sa_type=_Number)
    fingerprint: str = Field(index=True, sa_type=Text)
    episode: int = Field(sa_type=BigInteger)
    event: str = Field(sa_type=Text)
    document: str = Field(sa_type=Text)


class IncidentRow(StateTable, table=True):
    """The newest event of each episode: a projection, never the truth."""

    __tablename__ = "incident"
    __table_args__ = (Index(None, "state", "changed"),)
    fingerprint: str = Field(primary_key=True, sa_type=Text)
    episode: int = Field(primary_key=True, sa_type=BigInteger)
    state: str = Field(sa_type=Text)
    changed: datetime = Field(sa_type=Utc)
    document: str = Field(sa_type=Text)


class DeliveryRow(StateTable, table=True):
    """The outbox: one row for every page that is or was owed to a receiver's target."""

    __tablename__ = "delivery"
    __table_args__ = (Index(None, "answer", "created_utc"),)
    dedup_key: str = Field(primary_key=True, sa_type=Text)
    receiver: str = Field(primary_key=True, sa_type=Text)
    target: str = Field(primary_key=True, sa_type=Text)
    action: str = Field(primary_key=True, sa_type=Text)
    seq: int = Field(primary_key=True, sa_type=BigInteger)
    page: str = Field(sa_type=Text)
    fallback: str = Field(sa_type=Text)
    fallback_of: str = Field(sa_type=Text)
    due: Instant = Field(sa_type=Moment)
    created: Instant = Field(sa_type=Moment)
    created_utc: datetime = Field(sa_type=Utc)
    tries: int
    answer: str = Field(sa_type=Text)
    detail: str = Field(sa_type=Text)
    thread: str = Field(sa_type=Text)
    lease_epoch: int = Field(sa_type=BigInteger)
    lease_until: datetime | None = Field(sa_type=Utc)


class ActionRow(StateTable, table=True):
    """Append-only: what API, command line or terminal asked for."""

    __tablename__ = "action"
    n: int | None = Field(default=None, primary_key=True, sa_type=_Number)
    action_id: str = Field(unique=True, sa_type=Text)
    kind: str = Field(sa_type=Text)
    subject: str = Field(sa_type=Text)
    author: str = Field(sa_type=Text)
    reason: str = Field(sa_type=Text)
    until: datetime | None = Field(sa_type=Utc)
    at: Instant = Field(sa_type=Moment)


class FoldedRow(StateTable, table=True):
    """Marks an action as folded into the state; the action itself is never rewritten."""

    __tablename__ = "folded"
    action_id: str = Field(primary_key=True, sa_type=Text)


class ConfigRevisionRow(StateTable, table=True):
    """Which config was in force from when on, by the hash of its content."""

    __tablename__ = "config_revision"
    generation: int = Field(primary_key=True, sa_type=BigInteger)
    epoch: int = Field(primary_key=True, sa_type=BigInteger)
    content_hash: str = Field(sa_type=Text)
    at: Instant = Field(sa_type=Moment)
