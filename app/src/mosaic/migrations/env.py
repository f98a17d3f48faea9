"""Runs the migrations on the connection of mosaic.migrate."""

from alembic import context

from mosaic.ledger.models import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
