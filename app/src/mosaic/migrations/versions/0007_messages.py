"""The way of a part's message: when the broker confirmed the job and got the message, and when the worker
received and acknowledged it.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the columns, which rewrites no row, and the table of acknowledgements."""
    op.add_column("job", sa.Column("confirmed_at", sa.DateTime(timezone=True)))
    op.add_column("attempt", sa.Column("message", postgresql.JSONB()))
    op.create_table(
        "acknowledgement",
        sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column(
            "stored_at", sa.DateTime(timezone=True), server_default=sa.func.clock_timestamp(), nullable=False
        ),
        sa.Column("tasks", postgresql.JSONB(), nullable=False),
    )
    op.create_index("ix_acknowledgement_stored_at", "acknowledgement", ["stored_at"])
