"""The tour: short lessons that run on the hosts of the lab."""
