"""Errors that end a command; each message is one sentence with cause and remedy."""


class LabError(Exception):
    """A check or a playbook failed, or the lab is unhealthy."""

    exit_code = 1


class UsageError(LabError):
    """Wrong usage, or something that the command needs is missing."""

    exit_code = 2
