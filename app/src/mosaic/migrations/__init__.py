"""Alembic environment and versions of the ledger's schema."""
