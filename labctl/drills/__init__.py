"""Drills: a fault under load, and a ledger that shows what happened to every accepted task."""
