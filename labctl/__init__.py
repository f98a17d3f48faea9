"""The control program behind ./lab."""

VERSION = "1.1.0.dev0"  # the last release is 1.0.0
