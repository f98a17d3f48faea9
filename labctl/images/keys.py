"""Keys of images: equal keys mean equal contents, so an image is made only when its recipe changed."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from labctl.errors import UsageError
from labctl.lab.state import declared_topology
from labctl.paths import ROOT, lab_paths
from labctl.topology import model as topology

KEY_LENGTH = 12
ROLE_PARTS = (
    "tasks/install*.yml",
    "defaults/**/*",
    "vars/**/*",
    "files/**/*",
    "meta/**/*",
    "templates/**/*.service.j2",
)
_APP_PARTS = ("app/src/**/*", "app/pyproject.toml", "app/requirements.txt")


@cache
def base_key() -> str:
    """Key of the node image: its recipe and what it takes over from this machine."""
    done = subprocess.run(
        [str(ROOT / "images" / "build-node-image"), "--key"],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    if done.returncode != 0:
        raise UsageError(
            f"images/build-node-image --key failed: {done.stderr.strip()}; restore images/ from git."
        )
    return done.stdout.strip()


def node_image() -> str:
    """Name of the image that every other one begins with."""
    return f"warren-node:{base_key()}"


def image(kind: str) -> str:
    """Name of the image of a kind of node, which holds its install phase."""
    return f"warren-{kind}:{key(kind)}"


def is_of_a_lab(tag: str) -> bool:
    """True when an image of this name is one that labs make."""
    prefix, _, rest = tag.rpartition(":")[0].partition("-")
    known = {*topology.GROUPS, "node", "vagrant"}
    return prefix == "warren" and known.issuperset(topology.groups_of(rest))


@cache
def key(kind: str, root: Path = ROOT, base: str = "") -> str:
    """Key of a kind's image: the node image, and all that the install phase of its roles reads."""
    roles = sorted({role for group in topology.groups_of(kind) for role in roles_of(group, root)})
    patterns = [f"roles/{role}/{part}" for role in roles for part in ROLE_PARTS]
    patterns.append("playbooks/group_vars/**/*")
    if "mosaic" in roles:
        patterns += _APP_PARTS
    digest = hashlib.sha256((base or base_key()).encode())
    for file in _files(root, patterns):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(root)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:KEY_LENGTH]


def roles_of(group: str, root: Path = ROOT) -> list[str]:
    """Roles that playbooks/site.yml applies to a group, with the roles they depend on, sorted."""
    found: set[str] = set()
    waiting = [
        name
        for play in _plays(root / "playbooks" / "site.yml")
        if _targets(play, group)
        for name in _roles(play)
    ]
    while waiting:
        role = waiting.pop()
        if role not in found:
            found.add(role)
            waiting += _dependencies(root / "roles" / role / "meta" / "main.yml")
    return sorted(found)


def _plays(playbook: Path) -> Iterator[dict[str, Any]]:
    try:
        content = yaml.safe_load(playbook.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UsageError(f"{playbook} cannot be read ({error}); restore it, for example from git.") from error
    for entry in content or []:
        imported = entry.get("ansible.builtin.import_playbook") or entry.get("import_playbook")
        if imported:
            yield from _plays(playbook.parent / imported)
        else:
            yield entry


def _targets(play: dict[str, Any], group: str) -> bool:
    hosts = play.get("hosts", [])
    patterns = hosts if isinstance(hosts, list) else str(hosts).replace(",", ":").split(":")
    return group in patterns or "all" in patterns


def _roles(play: dict[str, Any]) -> Iterator[str]:
    for role in play.get("roles", []):
        yield role if isinstance(role, str) else role.get("role") or role["name"]
    for section in ("pre_tasks", "tasks", "post_tasks"):
        for task in play.get(section, []):
            for word in ("import_role", "include_role"):
                called = task.get(f"ansible.builtin.{word}") or task.get(word)
                if called:
                    yield called["name"]


def _dependencies(meta: Path) -> list[str]:
    if not meta.exists():
        return []
    listed = (yaml.safe_load(meta.read_text(encoding="utf-8")) or {}).get("dependencies") or []
    return [entry if isinstance(entry, str) else entry.get("role") or entry["name"] for entry in listed]


def _files(root: Path, patterns: Iterable[str]) -> list[Path]:
    found = {file for pattern in patterns for file in root.glob(pattern) if file.is_file()}
    return sorted(file for file in found if "__pycache__" not in file.parts and file.suffix != ".pyc")


def main() -> None:
    """Print, as JSON, which images belong to the present recipes: {"node": name, <kind>: name, ...}."""
    try:
        kinds = declared_topology(lab_paths()).kinds
        images = {"node": node_image()} | {kind: image(kind) for kind in kinds}
    except UsageError as error:
        sys.exit(str(error))
    print(json.dumps(images))


if __name__ == "__main__":
    main()
