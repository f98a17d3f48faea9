"""Upgrading the database schema."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, text

MIGRATE_LOCK = 0x6D6F74


def migrate(engine: Engine) -> tuple[str, bool]:
    """Upgrade to the newest version; return it, and whether anything changed.

    The engine's role must own the schema. A simultaneous second call waits for the first.
    """
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATE_LOCK})
        before = MigrationContext.configure(connection).get_current_revision()
        config = Config()
        config.set_main_option("script_location", "mosaic:migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        after = MigrationContext.configure(connection).get_current_revision()
    return after or "", before != after
