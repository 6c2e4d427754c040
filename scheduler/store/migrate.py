"""Brings schemas up to date: `python -m scheduler.store.migrate STORE=URL …`.

Runs in a child process, so that the service never imports Alembic, and a crash of a migration is
not a crash of the service. `-` reads the arguments from standard input, one a line: a URL with a
password must not stand in the process list. An existing SQLite file is copied beside itself
first; each step is one transaction, so a killed migration begins again where it stood.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import inspect, text

from core.errors import StoreError
from scheduler.store.database import Place, Store, read_engine, translated, write_engine

# The newest revision of each store, so that the service can compare without Alembic.
HEADS = {Store.LEDGER: "0003", Store.STATE: "0001", Store.SAMPLES: "0001"}
_SCRIPTS = Path(__file__).parent / "migrations"
_LIMIT_S = 600.0


def revision(place: Place) -> str:
    """The schema's revision, "" where there is none yet. Raises StoreError."""
    if place.file is not None and not place.file.exists():
        return ""
    engine = read_engine(place)
    try:
        with translated(place), engine.begin() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return ""
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
            return str(found or "")
    finally:
        engine.dispose()


def is_behind(place: Place) -> bool:
    """Whether the schema must be brought up to date.

    Raises StoreError when it is newer than this program: nothing is then written.
    """
    found, head = revision(place), HEADS[place.store]
    if found > head:
        raise StoreError(
            f"{place}: schema {found} was written by a newer Coalmine (this one knows {head}); "
            "upgrade this one, or restore the backup that was made before the migration"
        )
    return found != head


def upgrade(places: Sequence[Place]) -> None:
    """Bring the schemas up to date in a child process. Raises StoreError with its last words."""
    lines = [f"{place.store}={place.url.render_as_string(hide_password=False)}" for place in places]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "scheduler.store.migrate", "-"],
            input="\n".join(lines),
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise StoreError(f"migration took over {_LIMIT_S:g} s") from exc
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise StoreError(f"migration failed: {last[0]}")


def migrate(place: Place) -> None:
    """Upgrade one store, in this process."""
    from alembic import command
    from alembic.config import Config

    before = revision(place)
    if before:
        _back_up(place, before)
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.set_main_option("version_locations", str(_SCRIPTS / "versions" / place.store))
    config.set_main_option("path_separator", "newline")
    config.attributes["place"] = place
    command.upgrade(config, "head")


def _back_up(place: Place, before: str) -> None:
    """Copy the file as it was, once per revision."""
    if place.file is None:
        return
    copy = place.file.with_name(f"{place.file.name}.before-{HEADS[place.store]}-from-{before}")
    if copy.exists():
        return
    engine = write_engine(place)
    with translated(place), engine.connect() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None
        raw.execute("VACUUM INTO ?", (str(copy),))
    engine.dispose()
    copy.chmod(0o600)


def main(arguments: Sequence[str]) -> None:
    """Upgrade every `STORE=URL`."""
    from sqlalchemy import make_url

    lines = sys.stdin.read().splitlines() if list(arguments) == ["-"] else arguments
    for line in lines:
        name, _, url = line.partition("=")
        migrate(Place(Store(name), make_url(url)))


if __name__ == "__main__":
    main(sys.argv[1:])
