"""Logs of all hosts, as the role log_shipper publishes them: stored in the database, shown live."""
