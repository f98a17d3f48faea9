"""Logs of all hosts: read from the journal, published, stored in the database, shown live."""
