"""Mosaic: work cut into parts that run on many hosts, each part entered in a ledger."""

__version__ = "1.0.0"
