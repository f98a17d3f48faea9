"""The state of the lab: readings, and the states of hosts."""
