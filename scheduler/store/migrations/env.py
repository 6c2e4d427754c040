"""Alembic's environment, shared by the three stores; run by scheduler/store/migrate.py only."""
# ruff: noqa: INP001  Alembic loads these scripts by path, they are no package

from alembic import context
from sqlalchemy import text

from scheduler.store.database import Place, write_engine


def _run(place: Place) -> None:
    engine = write_engine(place)
    if place.file is None:
        with engine.begin() as connection:
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {place.store}"))
    with engine.connect() as connection:
        context.configure(
            connection=connection,
            render_as_batch=True,
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


_run(context.config.attributes["place"])
