"""Schema 2 of `ledger`: rechecks, the looks at each canary, and whether its stamp arrives."""
# ruff: noqa: INP001  Alembic loads these scripts by path, they are no package

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add columns and tables. Every canary so far was stamped, and none of its looks was kept."""
    op.add_column(
        "canary", sa.Column("stamped", sa.Boolean(), nullable=False, server_default=sa.true())
    )
    op.add_column("canary", sa.Column("looks", sa.Text(), nullable=False, server_default="[]"))
    op.create_table(
        "recheck",
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("age", sa.Text(), nullable=False),
        sa.Column("age_s", sa.Float(), nullable=False),
        sa.Column("signal", sa.Text(), nullable=False),
        sa.Column("beat", sa.BigInteger(), nullable=False),
        sa.Column("stamp_ns", sa.BigInteger(), nullable=False),
        sa.Column("trace_id", sa.LargeBinary(), nullable=False),
        sa.Column("service_name", sa.Text(), nullable=False),
        sa.Column("keep", sa.Boolean(), nullable=False),
        sa.Column("stamped", sa.Boolean(), nullable=False),
        sa.Column("sent_utc", sa.BigInteger(), nullable=False),
        sa.Column("sent_boot", sa.Text(), nullable=False),
        sa.Column("sent_boot_s", sa.Float(), nullable=False),
        sa.Column("sent_under", sa.Text(), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.Column("missed_at", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("judged", sa.Text(), nullable=True),
        sa.Column("judged_utc", sa.BigInteger(), nullable=True),
        sa.Column("empty_read", sa.Text(), nullable=True),
        sa.Column("empty_path", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("diff", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("route", "epoch", "seq", "age", name=op.f("pk_recheck")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_recheck_route_state_due"), "recheck", ["route", "state", "due"], unique=False
    )
    op.create_table(
        "recheck_due",
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("age", sa.Text(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("route", "age", name=op.f("pk_recheck_due")),
    )
    op.create_table(
        "recheck_total",
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("age", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("route", "age", "state", name=op.f("pk_recheck_total")),
    )
