"""The priority of a job. Gateways and workers of the release before work with this schema too."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the column. PostgreSQL does not rewrite any row for this."""
    op.add_column("job", sa.Column("priority", sa.Text(), server_default="normal", nullable=False))
