"""Checks of the values in a file that people write; `where` names the place in the sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class InvalidError(Exception):
    """What is wrong, as a clause without a final stop."""


def mapping(data: object, where: str) -> dict[Any, Any]:
    """`data` as a mapping; raises InvalidError for anything else."""
    if not isinstance(data, dict):
        raise InvalidError(f"{where} must be a mapping of keys to values, not {data!r}")
    return data


def only_known(data: Mapping[Any, Any], known: set[str], where: str) -> None:
    """Raise InvalidError for a key that is not among the known ones."""
    for key in data:
        if key not in known:
            raise InvalidError(f"unknown key {key!r} in {where}; known are {', '.join(sorted(known))}")


def integer(value: object, where: str, low: int, high: int) -> int:
    """`value` as a whole number from `low` to `high`; raises InvalidError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidError(f"{where} must be a whole number from {low} to {high}, not {value!r}")
    if not low <= value <= high:
        raise InvalidError(f"{where} is {value}, which is not from {low} to {high}; correct it")
    return value


def boolean(value: object, where: str) -> bool:
    """`value` as true or false; raises InvalidError for anything else."""
    if not isinstance(value, bool):
        raise InvalidError(f"{where} must be true or false, not {value!r}")
    return value
