"""Watching the lab for the console: brokers, worker hosts, database, beat; one watcher for all who look."""
