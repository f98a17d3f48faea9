"""Secrets of a lab of the tests: of all characters that have a meaning somewhere on their way."""

from collections.abc import Iterable
from pathlib import Path

import yaml

from labctl.lab.files import make_private, write_private
from labctl.paths import ROOT

# What URLs, TOML, JSON, INI, shells, Jinja, nginx, systemd and Ansible's lookup `password` treat specially.
AWKWARD = " /@:%#?\"'\\${}[]=;,&|<>~`!*+^(){{x}}{%y%}{#z#}%2F%41$HOME$$ salt=a ident=b :key: "
_KINDS = {
    "erlang_cookie": AWKWARD + "c" * (254 - len(AWKWARD)) + " ",  # the longest, with a space at both ends
    "broker_admin": "0123456789012345",  # YAML and JSON read a number
    "broker_monitor": "[1, 2, 3, 'x\"]: yes\\",  # JSON and TOML end a string there
    "broker_flower": "null" + AWKWARD[::-1] + "f" * (252 - len(AWKWARD)),
    "console_session": "true # {{ undefined }} \\n",
}


def secret(name: str, change: int = 0) -> str:
    """The secret of this name; another one for each change. It begins with another character in each."""
    if not change and name in _KINDS:
        return _KINDS[name]
    turn = (sum(map(ord, name)) + 7 * change) % len(AWKWARD)
    return f"{AWKWARD[turn:]}{name}-{change}{AWKWARD[:turn]}"


def declared() -> list[str]:
    """Names of the secrets that each lab has."""
    file = ROOT / "playbooks" / "group_vars" / "all.yml"
    names: list[str] = yaml.safe_load(file.read_text(encoding="utf-8"))["lab_requirements"]["secrets"]
    return names


def write(folder: Path, names: Iterable[str], change: int = 0) -> None:
    """Write these secrets to their files, as a person does."""
    make_private(folder)
    for name in names:
        write_private(folder / name, f"{secret(name, change)}\n")
