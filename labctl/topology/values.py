"""Reads a YAML file that people write, and checks its values; `where` names the place in the error."""

from collections.abc import Hashable
from typing import Any

import yaml


class InvalidError(Exception):
    """What is wrong, as a clause without a final full stop."""


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key that is given twice: YAML forbids it, PyYAML ignores it."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable):
                if key in seen:
                    problem = f"key {key!r} is given twice"
                    raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
                seen.add(key)
        return super().construct_mapping(node, deep)


def read(text: str) -> Any:
    """The content of a YAML document; raises InvalidError."""
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a subclass of SafeLoader
    except yaml.YAMLError as error:
        problem = str(error)
        if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
            problem = f"line {error.problem_mark.line + 1}: {error.problem}"
        raise InvalidError(f"it is not valid YAML: {problem}; correct it") from error


def mapping(data: object, where: str, known: set[str] | None = None) -> dict[Any, Any]:
    """`data` as a mapping; raises InvalidError for anything else, and for a key that is not `known`."""
    if not isinstance(data, dict):
        raise InvalidError(f"{where} must be a mapping of keys to values, not {data!r}")
    unknown = [key for key in data if known and key not in known]
    if known and unknown:
        raise InvalidError(f"unknown key {unknown[0]!r} in {where}; known are {', '.join(sorted(known))}")
    return data


def integer(value: object, where: str, low: int, high: int) -> int:
    """`value` as a whole number from `low` to `high`; raises InvalidError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidError(f"{where} must be a whole number from {low} to {high}, not {value!r}")
    if not low <= value <= high:
        raise InvalidError(f"{where} is {value}, which is not from {low} to {high}; correct it")
    return value
