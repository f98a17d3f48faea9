"""The environment of ./lab and of every program that it starts.

What the user needs to reach the world passes; other settings of the user do not change what ./lab does.

The standard library alone, because labctl/bootstrap.py uses it too.
"""

import configparser
import os
import pwd
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCALE = "C.UTF-8"  # exists where no locale is generated
#: Settings of these programs do not pass, except for the names in PASSED.
FOREIGN = ("ANSIBLE_", "DOCKER_", "LC_", "MOLECULE_", "PIP_", "PYTEST_", "PYTHON", "VIRTUAL_ENV")
PASSED = {
    # the engine, as labctl.machine.engine takes it
    "DOCKER_CERT_PATH",
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "DOCKER_HOST",
    "DOCKER_TLS_VERIFY",
    # passwords and keys for the hosts of an inventory
    "ANSIBLE_BECOME_PASSWORD_FILE",
    "ANSIBLE_CONNECTION_PASSWORD_FILE",
    "ANSIBLE_PRIVATE_KEY_FILE",
    "ANSIBLE_VAULT_IDENTITY_LIST",
    "ANSIBLE_VAULT_PASSWORD_FILE",
}
#: Settings of pip that pass, from its variables and its files: where packages are, and how to get there.
PIP_PASSED = {
    "CACHE_DIR",
    "CERT",
    "CLIENT_CERT",
    "EXTRA_INDEX_URL",
    "FIND_LINKS",
    "INDEX_URL",
    "NO_CACHE_DIR",
    "NO_INDEX",
    "PROXY",
    "RETRIES",
    "TIMEOUT",
    "TRUSTED_HOST",
}
# Settings of shells, of a pager, of another language and of a git hook.
_DROPPED = {"BASH_ENV", "CDPATH", "ENV", "LANG", "LANGUAGE", "PAGER"}
_DROPPED |= {"GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"}
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_LOCAL = ("localhost", "127.0.0.1", "::1")


def adopt() -> None:
    """Give this process, and so its children, the environment and the umask that ./lab needs."""
    wanted = environment()
    for name in set(os.environ) - set(wanted):
        del os.environ[name]
    os.environ.update(wanted)
    os.umask(0o022)


def environment(given: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a child process, from this one (default: that of this process)."""
    source = os.environ if given is None else given
    result = {name: value for name, value in source.items() if _passes(name)}
    home = source.get("HOME") or pwd.getpwuid(os.geteuid()).pw_dir
    result |= {
        "PATH": source.get("PATH") or os.defpath,
        "HOME": home,
        "LC_ALL": LOCALE,
        "PYTHONPATH": str(ROOT),
        **_pip(source, Path(home)),
        **_no_proxy(source),
    }
    if not os.access(home, os.W_OK):  # Ansible keeps files of its own there
        result["ANSIBLE_HOME"] = str(Path(tempfile.gettempdir(), f"warren-ansible-{os.geteuid()}"))
    return result


def _passes(name: str) -> bool:
    return name in PASSED or not (name in _DROPPED or name.startswith(FOREIGN))


def _no_proxy(source: Mapping[str, str]) -> dict[str, str]:
    """Behind a proxy, this machine's own addresses are reached without it, here and in the nodes."""
    if not any(source.get(name) or source.get(name.upper()) for name in _PROXIES):
        return {}
    listed = source.get("no_proxy") or source.get("NO_PROXY") or ""
    hosts = [host.strip() for host in listed.split(",") if host.strip()]
    if "*" not in hosts:
        hosts += [host for host in _LOCAL if host not in hosts]
    return dict.fromkeys(("no_proxy", "NO_PROXY"), ",".join(hosts))


def _pip(source: Mapping[str, str], home: Path) -> dict[str, str]:
    """Settings of pip as variables, and its files switched off: they may hold `user`, `target` and others."""
    found: dict[str, str] = {}
    for file in _pip_files(source, home):
        parser = configparser.RawConfigParser()
        try:
            parser.read(file, encoding="utf-8")
        except (configparser.Error, OSError, UnicodeDecodeError):
            continue  # pip itself would stop at it
        for section in ("global", "install"):
            for key, value in parser.items(section) if parser.has_section(section) else ():
                found[key.upper().replace("-", "_")] = " ".join(value.split())
    found |= {name.removeprefix("PIP_"): value for name, value in source.items() if name.startswith("PIP_")}
    passed = {f"PIP_{name}": value for name, value in found.items() if name in PIP_PASSED and value}
    return passed | {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def _pip_files(source: Mapping[str, str], home: Path) -> Iterator[Path]:
    """The files that pip reads, the strongest last."""
    if source.get("PIP_CONFIG_FILE") == os.devnull:
        return
    folders = (source.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)
    yield from (Path(folder, "pip", "pip.conf") for folder in folders)
    yield Path("/etc/pip.conf")
    yield home / ".pip" / "pip.conf"
    yield Path(source.get("XDG_CONFIG_HOME") or home / ".config", "pip", "pip.conf")
    if source.get("PIP_CONFIG_FILE"):
        yield Path(source["PIP_CONFIG_FILE"])
