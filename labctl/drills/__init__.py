"""Drills: a fault under load, and a ledger that shows what became of every accepted task."""
