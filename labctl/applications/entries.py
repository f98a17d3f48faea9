"""The applications of a lab, in `.lab/NAME/applications.yml`. A person may edit it: its text is kept."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from labctl.errors import UsageError
from labctl.lab.files import make_private, write_private
from labctl.lab.inventory import added_applications
from labctl.paths import LabPaths

SAMPLE = "mosaic"


def file_of(paths: LabPaths) -> Path:
    """The file with the declarations."""
    return paths.state / "applications.yml"


def read(paths: LabPaths) -> list[dict[str, Any]]:
    """The declarations, maybe none. Raises UsageError when the file cannot be read."""
    found = added_applications(file_of(paths))
    if not all(isinstance(entry, dict) and isinstance(entry.get("name"), str) for entry in found):
        raise UsageError(f"An application in {file_of(paths)} has no name; correct the file.")
    return found


def find(paths: LabPaths, name: str) -> dict[str, Any]:
    """The declaration of an application. Raises UsageError for the sample, and for an unknown one."""
    if name == SAMPLE:
        raise UsageError(f"{SAMPLE} is the lab's own application; name one that ./lab app add has added.")
    entries = read(paths)
    for entry in entries:
        if entry["name"] == name:
            return entry
    known = ", ".join(entry["name"] for entry in entries) or "none; ./lab app add FOLDER adds one"
    raise UsageError(f"The lab has no application {name!r}; there are: {known}.")


def add(paths: LabPaths, entry: dict[str, Any]) -> None:
    """Write a new declaration at the end of the file."""
    entries = read(paths)
    file = file_of(paths)
    text = file.read_text(encoding="utf-8") if entries else ""
    if text and not text.endswith("\n"):
        text += "\n"
    _write(file, text + shown(entry), [*entries, entry])
    _remember(paths, {**_remembered(paths), entry["name"]: ""})


def remove(paths: LabPaths, name: str) -> None:
    """Delete the declaration of an application, and what the lab remembers about it."""
    entries = read(paths)
    file = file_of(paths)
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    lines = text.splitlines(keepends=True)
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    items = root.value if isinstance(root, yaml.SequenceNode) else []
    starts = [item.start_mark.line for item in items] + [len(lines)]
    for index, item in reversed(list(enumerate(entries))):
        if item["name"] == name and index + 1 < len(starts):
            del lines[starts[index] : starts[index + 1]]
    _write(file, "".join(lines), [entry for entry in entries if entry["name"] != name])
    _remember(paths, {key: value for key, value in _remembered(paths).items() if key != name})
    for kind in ("broker", "database"):
        (paths.secrets / f"{kind}_{name}").unlink(missing_ok=True)


def shown(entry: dict[str, Any]) -> str:
    """A declaration as the file has it."""
    workers = [_Flow(worker) for worker in entry["workers"]]
    return yaml.dump([{**entry, "workers": workers}], Dumper=_Dumper, sort_keys=False, width=1000)


def password(paths: LabPaths, kind: str, name: str) -> str:
    """The password of an application at the `broker` or the `database`. Raises UsageError."""
    with suppress(FileNotFoundError, IndexError):
        return (paths.secrets / f"{kind}_{name}").read_text(encoding="utf-8").split()[0]
    raise UsageError(f"{name} has no password for the {kind} yet; finish its deployment with ./lab app add.")


def is_deployed(paths: LabPaths, entry: dict[str, Any]) -> bool:
    """Whether the nodes are configured for the declaration as it is now."""
    return _remembered(paths).get(entry["name"]) == _digest(entry)


def remember_deployed(paths: LabPaths, deployed: list[dict[str, Any]]) -> None:
    """Note that the nodes are configured for these declarations."""
    if deployed:
        _remember(paths, {**_remembered(paths), **{entry["name"]: _digest(entry) for entry in deployed}})


def without_undeployed(paths: LabPaths, name: str) -> list[dict[str, Any]]:
    """The declarations without those whose first deployment failed, except the one with this name."""
    undeployed = {other for other, digest in _remembered(paths).items() if not digest} - {name}
    return [entry for entry in read(paths) if entry["name"] not in undeployed]


def _write(file: Path, text: str, wanted: list[dict[str, Any]]) -> None:
    if not wanted:
        file.unlink(missing_ok=True)
        return
    make_private(file.parent)
    with suppress(yaml.YAMLError):
        if (yaml.safe_load(text) or []) == wanted:
            write_private(file, text)
            return
    write_private(file, "".join(map(shown, wanted)))  # the file was written in another form


def _digest(entry: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(entry, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _remembered(paths: LabPaths) -> dict[str, str]:
    with suppress(OSError, ValueError):
        found: dict[str, str] = json.loads((paths.state / "deployed.json").read_text(encoding="utf-8"))
        return found
    return {}


def _remember(paths: LabPaths, deployed: dict[str, str]) -> None:
    write_private(paths.state / "deployed.json", json.dumps(deployed, indent=2) + "\n")


class _Flow(dict[str, Any]):
    """A mapping that is written on one line."""


class _Dumper(yaml.SafeDumper):
    """Writes a worker on one line, and lists indented."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        super().increase_indent(flow, False)


_Dumper.add_representer(
    _Flow, lambda dumper, data: dumper.represent_mapping("tag:yaml.org,2002:map", data, flow_style=True)
)
