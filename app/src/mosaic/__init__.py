"""Warren's sample application: jobs with parts that run on many hosts, and a ledger of these parts."""

__version__ = "1.0.0"
