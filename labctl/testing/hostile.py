"""What a lab of the tests withstands: a user's environment, a proxy on its nodes, and awkward secrets."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml
from docker.models.containers import Container

from labctl.errors import LabError
from labctl.lab.files import make_private, write_private
from labctl.paths import ROOT

#: Settings of a user that must not change what ./lab does.
ENVIRONMENT = {
    "ANSIBLE_CONFIG": "/no/such.cfg",
    "ANSIBLE_ROLES_PATH": "/no/roles",
    "ANSIBLE_REMOTE_USER": "nobody",
    "ANSIBLE_INVENTORY": "/no/hosts",
    "ANSIBLE_STDOUT_CALLBACK": "oneline",
    "ANSIBLE_STRATEGY": "free",
    "ANSIBLE_CHECK_MODE_MARKERS": "1",
    "PIP_USER": "1",
    "PIP_TARGET": "/no/target",
    "PIP_REQUIRE_VIRTUALENV": "1",
    "PYTHONHOME": "/no/python",
    "PYTHONSTARTUP": "/no/start.py",
    "PYTHONWARNINGS": "error",
    "PYTHONOPTIMIZE": "2",
    "PYTHONIOENCODING": "ascii",
    "PYTHONPATH": "/no/modules",
    "DOCKER_API_VERSION": "1.12",
    "DOCKER_DEFAULT_PLATFORM": "linux/none",
    "LC_ALL": "xx_YY.ISO-8859-1",
    "LC_TIME": "xx_YY.UTF-8",
    "LANG": "xx_YY.UTF-8",
    "LANGUAGE": "xx",
    "CDPATH": "/usr",
    "GIT_DIR": "/no/git",
    "VIRTUAL_ENV": "/no/venv",
    "PYTEST_ADDOPTS": "--no-such-option",
    "TERM": "dumb",
    "NO_COLOR": "1",
    "COLUMNS": "40",
}
NOWHERE = "http://127.0.0.1:9"
_SITE = "/usr/lib/python3/dist-packages/nowhere.pth"  # Python runs it whenever it starts
_PROXY = f"import os; os.environ.update(http_proxy='{NOWHERE}', https_proxy='{NOWHERE}')\n"

# What URLs, TOML, JSON, INI, shells, Jinja, nginx, systemd and Ansible's lookup `password` treat specially.
AWKWARD = " /@:%#?\"'\\${}[]=;,&|<>~`!*+^(){{x}}{%y%}{#z#}%2F%41$HOME$$ salt=a ident=b :key: "
_KINDS = {
    "erlang_cookie": AWKWARD + "c" * (254 - len(AWKWARD)) + " ",  # the longest, with a space at both ends
    "broker_admin": "0123456789012345",  # YAML and JSON read a number
    "broker_monitor": "[1, 2, 3, 'x\"]: yes\\",  # JSON and TOML end a string there
    "broker_flower": "null" + AWKWARD[::-1] + "f" * (252 - len(AWKWARD)),
    "console_session": "true # {{ undefined }} \\n",
}


def environment() -> dict[str, str]:
    """That of this process, made hostile, without HOME, with a proxy that leads nowhere and without no_proxy.

    It is no proxy that ./lab takes over into the nodes' images, because these could not be built behind it.
    """
    kept = {name: value for name, value in os.environ.items() if name.lower() not in ("home", "no_proxy")}
    return kept | ENVIRONMENT | {"all_proxy": NOWHERE}


def command(words: Sequence[str]) -> list[str]:
    """The command line that runs a program with a umask that lets nobody else read its files."""
    return ["sh", "-c", 'umask 077; exec "$@"', "sh", *words]


def set_proxy(nodes: Iterable[Container]) -> None:
    """Give each Python that Ansible or a check starts on these nodes a proxy that leads nowhere."""
    for node in nodes:
        done = node.exec_run(["sh", "-c", 'printf %s "$0" >"$1"', _PROXY, _SITE])
        if done.exit_code != 0:
            raise LabError(f"{node.name}: {_SITE} cannot be written: {done.output!r}")


def unset_proxy(nodes: Iterable[Container]) -> None:
    """Take it away: what installs packages there needs the world."""
    for node in nodes:
        node.exec_run(["rm", "-f", _SITE])


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
