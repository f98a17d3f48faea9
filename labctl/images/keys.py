"""Keys of images: equal keys mean equal contents, so an image is built only when its recipe changed."""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from labctl.errors import UsageError
from labctl.lab.state import declared_topology
from labctl.paths import ROOT, lab_paths
from labctl.topology import model as topology

KEY_LENGTH = 12
_FILE_NAME = re.compile(r"[\w@.-]+(?:/[\w@.-]+)*")
# The same as mosaic_sources and mosaic_requirements in playbooks/group_vars.
APP_SOURCES = ("celery_durable", "app")
APP_REQUIREMENTS = "app/requirements.txt"


class _Loader(yaml.CSafeLoader):
    """Reads a value with a tag of Ansible, such as !vault or !unsafe, as text."""


_Loader.add_multi_constructor("!", lambda loader, tag, node: yaml.serialize(node))  # noqa: ARG005


@cache
def recipe_key(script: str, *arguments: str) -> str:
    """Key of what a script of images/ builds: its recipe, and the settings copied from this machine."""
    done = subprocess.run(
        [str(ROOT / "images" / script), "--key", *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    if done.returncode != 0:
        raise UsageError(f"images/{script} --key failed: {done.stderr.strip()}; restore images/ from git.")
    return done.stdout.strip()


def node_image() -> str:
    """Name of the image on which every other one is built."""
    return f"warren-node:{recipe_key('build-node-image')}"


def image(kind: str) -> str:
    """Name of the image of a kind of node, with its install phase done."""
    return f"warren-{kind}:{key(kind)}"


def is_of_a_lab(tag: str) -> bool:
    """True when an image of this name is one that ./lab builds."""
    prefix, _, rest = tag.rpartition(":")[0].partition("-")
    known = {*topology.GROUPS, "node", "vagrant"}
    return prefix == "warren" and known.issuperset(topology.groups_of(rest))


@cache
def key(kind: str, root: Path = ROOT, base: str = "") -> str:
    """Key of a kind's image: the node image, and all that the install phase of its roles reads."""
    roles = sorted({role for group in topology.groups_of(kind) for role in roles_of(group, root)})
    files, variables = install_reads(roles, root)
    if "mosaic" in roles:
        parts = [f"{source}/{part}" for source in APP_SOURCES for part in ("pyproject.toml", "src/**/*")]
        files.update(_files(root, [APP_REQUIREMENTS, *parts]))
    digest = hashlib.sha256((base or recipe_key("build-node-image")).encode())
    digest.update(json.dumps(variables, sort_keys=True, default=str).encode())
    for file in sorted(files):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(root)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:KEY_LENGTH]


def install_reads(roles: list[str], root: Path = ROOT) -> tuple[set[Path], dict[str, dict[str, Any]]]:
    """Files and variables, {name: {file that sets it: value}}, that the install phase of these roles reads.

    They are those that tasks/install*.yml name, and those named there in turn. A name counts wherever it
    occurs, so the result may be too large; it lacks only a name that is composed at run time.
    """
    names = {
        file: _names(part, file.relative_to(folder))
        for role in roles
        for part in ("tasks", "templates", "files")
        for folder in [root / "roles" / role / part]
        for file in _files(folder, ["**/*"])
    }
    declared = _declared(roles, root)
    files: set[Path] = set()
    variables: dict[str, dict[str, Any]] = {}
    texts = [file.name for file in names if file.match("tasks/install*.yml")]
    while texts:
        text = texts.pop()
        words = set(_FILE_NAME.findall(text))
        if "}}.j2" in text:
            words |= {f"{word}.j2" for word in words}
        for file in {file for file in names if names[file] & words} - files:
            files.add(file)
            if file.relative_to(root).parts[2] != "files":
                texts.append(file.read_text(encoding="utf-8"))
        for name in (declared.keys() & set(re.findall(r"\w+", text))) - variables.keys():
            variables[name] = declared[name]
            texts.append(_text(declared[name]))
    return files, variables


def _names(part: str, file: Path) -> set[str]:
    """Words by which tasks name a file of that part of a role; a folder means everything in it."""
    folders = {folder.as_posix() for folder in file.parents if folder.name}
    return folders | {file.as_posix(), f"{part}/{file.as_posix()}"}


def _declared(roles: list[str], root: Path) -> dict[str, dict[str, Any]]:
    """Variables of playbooks/group_vars and of these roles: {name: {file that sets it: value}}."""
    folders = [f"roles/{role}/{part}" for role in roles for part in ("defaults", "vars")]
    found: dict[str, dict[str, Any]] = {}
    for file in _files(root, [f"{folder}/**/*" for folder in ["playbooks/group_vars", *folders]]):
        content = _load(file)
        for name, value in content.items() if isinstance(content, dict) else ():  # an encrypted file is text
            found.setdefault(name, {})[file.relative_to(root).as_posix()] = value
    return found


def _text(value: Any) -> str:
    """All texts within a value."""
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    return " ".join(map(_text, value)) if isinstance(value, list) else str(value)


def roles_of(group: str, root: Path = ROOT) -> list[str]:
    """Roles that playbooks/site.yml applies to a group, sorted; no role has dependencies."""
    found: set[str] = set()
    for play in _load(root / "playbooks" / "site.yml"):
        if {group, "all"} & set(play.get("hosts", "").split(":")):
            found.update(play["roles"])
    return sorted(found)


def _load(file: Path) -> Any:
    try:
        return yaml.load(file.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a subclass of a safe loader
    except (OSError, yaml.YAMLError) as error:
        raise UsageError(f"{file} cannot be read ({error}); restore it, for example from git.") from error


def _files(root: Path, patterns: Iterable[str]) -> list[Path]:
    found = {file for pattern in patterns for file in root.glob(pattern) if file.is_file()}
    return sorted(file for file in found if "__pycache__" not in file.parts and file.suffix != ".pyc")


def main() -> None:
    """Print the images of the present recipes as JSON: {"node": name, <kind>: name, ...}."""
    try:
        kinds = declared_topology(lab_paths()).kinds
        images = {"node": node_image()} | {kind: image(kind) for kind in kinds}
    except UsageError as error:
        sys.exit(str(error))
    print(json.dumps(images))


if __name__ == "__main__":
    main()
