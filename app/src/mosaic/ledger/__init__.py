"""The ledger in PostgreSQL: jobs, their parts, every attempt at them, and what they produced."""
