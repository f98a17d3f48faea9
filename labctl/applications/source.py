"""The source folder of an application: what of it is deployed, and what it declares."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from labctl.errors import UsageError
from labctl.paths import ROOT, LabPaths

NODE_PYTHON = "3.13"  # the nodes have Debian 13
PACK = ROOT / "roles" / "celery_app" / "files" / "pack_source.py"
_NAME = re.compile(r"(?!pg_)[a-z][a-z0-9_]{1,30}")


def pack(paths: LabPaths, folder: Path) -> dict[str, str]:
    """Pack the folder as its deployment does: archive, key, requirements. Raises UsageError."""
    command = [sys.executable, "-I", str(PACK), str(folder), str(paths.cache / "applications")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["it cannot be packed; correct its files."]
        raise UsageError(lines[-1])
    packed: dict[str, str] = json.loads(done.stdout)
    return packed


@contextmanager
def unpacked(packed: dict[str, str]) -> Iterator[Path]:
    """A copy of what is deployed, so that an import that writes files does not change the source."""
    with TemporaryDirectory() as scratch, tarfile.open(packed["archive"]) as archive:
        archive.extractall(scratch, filter="data")
        yield Path(scratch).resolve()


def check_python(folder: Path) -> None:
    """Raise UsageError when the project's pyproject.toml excludes the Python of the nodes."""
    document = _document(folder)
    wanted = str(document.get("project", {}).get("requires-python", ""))
    poetry = document.get("tool", {}).get("poetry", {}).get("dependencies", {}).get("python", "")
    with suppress(InvalidSpecifier):
        if not SpecifierSet(wanted or _specifier(str(poetry))).contains(f"{NODE_PYTHON}.5"):
            raise UsageError(
                f"{folder / 'pyproject.toml'} requires Python {wanted or poetry}, and the nodes have Python"
                f" {NODE_PYTHON}: change this requirement, after you have tried the application with this"
                " version."
            )


def _specifier(poetry: str) -> str:
    """A requirement of Poetry, such as `^3.11` or `3.11.2`, as a specifier of pip; "" for alternatives."""

    def converted(part: str) -> str:
        found = re.fullmatch(r"([~^]?)((\d+)(?:\.(\d+))?[\d.]*(?:\.\*)?)", part.strip())
        if not found:
            return part
        sign, version, major, minor = found.groups()
        if not sign:
            return f"=={version}"
        below = f"{major}.{int(minor) + 1}" if sign == "~" and minor else int(major) + 1
        return f">={version},<{below}"

    return "" if "|" in poetry else ",".join(map(converted, poetry.split(",")))


def name_of(folder: Path, chosen: str) -> str:
    """The name of the application: `chosen`, else of the project, else of the folder. Raises UsageError."""
    project = str(_document(folder).get("project", {}).get("name") or folder.name)
    name = chosen or re.sub(r"\W+", "_", project).strip("_").lower()
    file = ROOT / "playbooks" / "group_vars" / "all.yml"
    taken = yaml.safe_load(file.read_text(encoding="utf-8"))["lab_requirements"]["taken_names"]
    if not _NAME.fullmatch(name) or name in (*taken, "mosaic"):
        raise UsageError(
            f"The application cannot have the name {name!r}, which must have 2 to 31 lower-case letters,"
            " digits and underscores, begin with a letter, not with pg_, and not be a name that the lab uses:"
            " choose another with --name."
        )
    return name


def django_settings(folder: Path) -> str:
    """The value of DJANGO_SETTINGS_MODULE in manage.py, "" for a project that is not Django's."""
    with suppress(OSError):
        text = (folder / "manage.py").read_text(encoding="utf-8", errors="replace")
        found = re.search(r"DJANGO_SETTINGS_MODULE[\"']\s*[,\]]\s*=?\s*[\"']([\w.]+)", text)
        return found[1] if found else ""
    return ""


def mentions(folder: Path, word: str) -> bool:
    """Whether the code has this word."""
    return any(word in file.read_text(encoding="utf-8", errors="replace") for file in folder.rglob("*.py"))


def _document(folder: Path) -> dict[str, Any]:
    file = folder / "pyproject.toml"
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UsageError(f"{file} is not valid TOML, {error}: correct it, then try again.") from None
