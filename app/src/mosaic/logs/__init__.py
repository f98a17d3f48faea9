"""Logs of all hosts: read from the journal, published to an exchange, stored in the database, followed live."""
