"""Schema 3 of `ledger`: what access paths answered of late, and which of them failed a recheck."""
# ruff: noqa: INP001  Alembic loads these scripts by path, they are no package

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the table and the column. Nothing is known of any path so far."""
    op.add_column(
        "recheck", sa.Column("failed_paths", sa.Text(), nullable=False, server_default="[]")
    )
    op.create_table(
        "path",
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("sent_under", sa.Text(), nullable=False),
        sa.Column("denials", sa.Text(), nullable=False),
        sa.Column("again", sa.Text(), nullable=False),
        sa.Column("reads", sa.Text(), nullable=False),
        sa.Column("outages", sa.Text(), nullable=False),
        sa.Column("shown", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("route", "path", name=op.f("pk_path")),
    )
