"""Schema 1 of `ledger`: canaries, their totals, and what was due."""
# ruff: noqa: INP001  Alembic loads these scripts by path, they are no package

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "canary",
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("canary_id", sa.Text(), nullable=False),
        sa.Column("signal", sa.Text(), nullable=False),
        sa.Column("beat", sa.BigInteger(), nullable=False),
        sa.Column("stamp_ns", sa.BigInteger(), nullable=False),
        sa.Column("trace_id", sa.LargeBinary(), nullable=False),
        sa.Column("service_name", sa.Text(), nullable=False),
        sa.Column("keep", sa.Boolean(), nullable=False),
        sa.Column("sent_utc", sa.BigInteger(), nullable=False),
        sa.Column("sent_boot", sa.Text(), nullable=False),
        sa.Column("sent_boot_s", sa.Float(), nullable=False),
        sa.Column("sent_under", sa.Text(), nullable=False),
        sa.Column("deadline_s", sa.Float(), nullable=False),
        sa.Column("receipt", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("judged", sa.Text(), nullable=True),
        sa.Column("seen", sa.Text(), nullable=True),
        sa.Column("delay_s", sa.Float(), nullable=True),
        sa.Column("copies", sa.Integer(), nullable=True),
        sa.Column("empty_read", sa.Text(), nullable=True),
        sa.Column("empty_path", sa.Text(), nullable=False),
        sa.Column("diff", sa.Text(), nullable=False),
        sa.Column("first_path", sa.Text(), nullable=False),
        sa.Column("hop_stamps", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("route", "epoch", "seq", name=op.f("pk_canary")),
        sa.UniqueConstraint("canary_id", name=op.f("uq_canary_canary_id")),
    )
    op.create_index(
        op.f("ix_canary_route_outcome_epoch_seq"),
        "canary",
        ["route", "outcome", "epoch", "seq"],
        unique=False,
    )
    op.create_index(op.f("ix_canary_sent_utc"), "canary", ["sent_utc"], unique=False)
    op.create_table(
        "canary_day",
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("day", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("route", "day", "outcome", name=op.f("pk_canary_day")),
    )
    op.create_table(
        "epoch",
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("begun", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_epoch")),
    )
    op.create_table(
        "instance",
        sa.Column("one", sa.BigInteger(), nullable=False),
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("beat", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("one", name=op.f("pk_instance")),
    )
    op.create_table(
        "route",
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("route", "epoch", name=op.f("pk_route")),
    )
    op.create_table(
        "schedule",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("anchor", sa.BigInteger(), nullable=False),
        sa.Column("every_s", sa.Float(), nullable=False),
        sa.Column("accounted_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_schedule")),
    )
    op.create_table(
        "transition",
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("was", sa.Text(), nullable=False),
        sa.Column("became", sa.Text(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("route", "was", "became", name=op.f("pk_transition")),
    )
