"""The control program behind ./lab."""
