"""Column types: moments are exact on both databases, whatever a driver thinks of time zones."""

import sys
from datetime import UTC, datetime, timedelta

from sqlalchemy import BigInteger, Dialect, MetaData, Text
from sqlalchemy.types import TypeDecorator

from core.clock import Instant

_UNIX_ZERO = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# Set before the first table: SQLite can only alter constraints that have a name.
_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


def named_metadata() -> MetaData:
    """Metadata of one store, with the naming convention of all."""
    return MetaData(naming_convention=_NAMES)


def to_us(moment: datetime) -> int:
    """Unix microseconds of an aware moment; exact. Raises ValueError on a naive one."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone")
    return (moment - _UNIX_ZERO) // _MICROSECOND


def from_us(us: int) -> datetime:
    """The aware UTC moment of Unix microseconds; exact."""
    return _UNIX_ZERO + us * _MICROSECOND


class Utc(TypeDecorator[datetime]):
    """An aware moment as Unix microseconds."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """To the database."""
        del dialect
        return None if value is None else to_us(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """From the database."""
        del dialect
        return None if value is None else from_us(value)


class Moment(TypeDecorator[Instant]):
    """An Instant as text: Unix microseconds, boot seconds, boot id."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Instant | None, dialect: Dialect) -> str | None:
        """To the database."""
        del dialect
        return None if value is None else write_instant(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Instant | None:
        """From the database."""
        del dialect
        return None if value is None else read_instant(value)


def write_instant(value: Instant) -> str:
    """An Instant as one word of text; floats keep every bit."""
    return f"{to_us(value.utc)} {value.boot_s!r} {value.boot_id}"


def read_instant(text: str) -> Instant:
    """The Instant that `write_instant` wrote."""
    us, boot_s, boot_id = text.split(" ", 2)
    return Instant(from_us(int(us)), sys.intern(boot_id), float(boot_s))
