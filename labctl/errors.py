"""Errors that end a command; each message is one sentence with cause and remedy."""


class LabError(Exception):
    """The lab says no: a check or a playbook failed."""

    exit_code = 1


class UsageError(LabError):
    """Wrong usage or a missing prerequisite."""

    exit_code = 2
