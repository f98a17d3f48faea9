"""Pack the source folder of an application, unless the cache has the archive already.

    pack_source.py SOURCE CACHE

Prints {"archive": path, "key": 12 hex digits of the contents, "requirements": 12 hex digits of what the
environment of the release depends on}. Runs on the controller, with the standard
library only.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

LEFT_OUT = {".git", ".hg", ".svn", ".tox", ".nox", ".venv", "node_modules", "__pycache__"}
LEFT_OUT |= {".mypy_cache", ".pytest_cache", ".ruff_cache", ".lab"}
MAX_MB = 200


class SourceError(Exception):
    """Why a folder cannot be deployed, as a sentence with its remedy."""


def files(source: Path) -> list[Path]:
    """The files to deploy, relative to the folder, sorted. Raises SourceError for another link."""

    def found() -> Iterator[Path]:
        for folder, folders, names in os.walk(source):
            folders[:] = [
                name for name in folders if name not in LEFT_OUT and not is_environment(folder, name)
            ]
            yield from (Path(folder, name) for name in folders if Path(folder, name).is_symlink())
            for name in names:
                file = Path(folder, name)
                if (file.is_file() or file.is_symlink()) and not name.endswith(".pyc"):
                    yield file

    chosen = sorted(file.relative_to(source) for file in found())
    for file in chosen:
        target = (source / file).resolve()
        if not target.is_relative_to(source) or not target.is_file():
            raise SourceError(
                f"{source / file} is a link, but not to a file in {source}; replace it by a copy, or"
                " remove it."
            )
    return chosen


def is_environment(folder: str, name: str) -> bool:
    """Whether a folder is a virtual environment, whatever its name."""
    return Path(folder, name, "pyvenv.cfg").exists()


def check(source: Path, chosen: list[Path]) -> None:
    """Raise SourceError unless the folder can be installed."""
    if not source.is_dir():
        raise SourceError(f"{source} is no folder; give the folder with the application's source.")
    if not {Path("pyproject.toml"), Path("requirements.txt")} & set(chosen):
        raise SourceError(
            f"{source} has neither pyproject.toml nor requirements.txt; add a requirements.txt that names"
            " celery and what else the application imports."
        )
    size = sum((source / file).stat().st_size for file in chosen) // 1_000_000
    if size > MAX_MB:
        largest = max(chosen, key=lambda file: (source / file).stat().st_size)
        raise SourceError(
            f"{source} has {size} MB in {len(chosen)} files, more than {MAX_MB} MB (the largest is"
            f" {largest}); move what the application does not need out of it."
        )


def key_of(source: Path, chosen: list[Path]) -> str:
    """Digest of names, execute permissions and contents."""
    digest = hashlib.sha256()
    for file in chosen:
        content = (source / file).read_bytes()
        mode = os.access(source / file, os.X_OK)
        digest.update(f"{file.as_posix()}\0{mode}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


def requirements_of(source: Path, chosen: list[Path], key: str) -> str:
    """Digest of what the application requires; `key` where that may depend on any file of the source."""
    wanted = [Path("requirements.txt")]
    files: set[Path] = set()
    if wanted[0] not in chosen:
        if Path("setup.py") in chosen or _is_dynamic(source / "pyproject.toml"):
            return key
        files = {Path(name) for name in ("pyproject.toml", "setup.cfg")} & set(chosen)
    while wanted:
        file = wanted.pop()
        if file not in chosen or file in files:
            continue
        files.add(file)
        for line in (source / file).read_text(encoding="utf-8", errors="replace").splitlines():
            other = re.match(r"\s*(?:-r|--requirement|-c|--constraint)[\s=]*(\S+)", line)
            if other:
                wanted.append(Path(os.path.normpath(file.parent / other[1])))
            elif re.match(r"\s*(-e|--editable|\.|/|file:)|[^#]*@\s*(file:|\.)", line):
                return key
    digest = hashlib.sha256()
    for file in sorted(files):
        content = (source / file).read_bytes()
        digest.update(f"{file.as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


def _is_dynamic(project: Path) -> bool:
    """Whether a build computes the project's dependencies, or they are in other folders."""
    try:
        text = project.read_text(encoding="utf-8")
        declared = tomllib.loads(text)
    except FileNotFoundError:
        return False
    except ValueError:
        return True
    dynamic = declared.get("project", {}).get("dynamic", [])
    built = "build-system" in declared and "project" not in declared
    static = "poetry" in declared.get("tool", {}) and not re.search(r"\bpath\s*=", text)
    local = re.search(r"@\s*(file:|\.)", text)
    return bool(local or {"dependencies", "optional-dependencies"} & set(dynamic) or (built and not static))


def pack(source: Path, chosen: list[Path], archive: IO[bytes]) -> None:
    """Write the archive; links become the files that they name, and nothing names a user of this machine."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.mode = 0o755 if member.mode & 0o100 else 0o644
        member.uid = member.gid = member.mtime = 0
        member.uname = member.gname = ""
        return member

    with (
        gzip.GzipFile(fileobj=archive, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", dereference=True) as tar,
    ):
        for file in chosen:
            tar.add(source / file, arcname=file.as_posix(), filter=plain)


def main() -> None:
    """Pack the folder if the cache lacks it, and print where the archive is."""
    source, cache = (Path(word).resolve() for word in sys.argv[1:3])
    try:
        chosen = files(source)
        check(source, chosen)
    except SourceError as error:
        sys.exit(str(error))
    key = key_of(source, chosen)
    archive = cache / f"{key}.tar.gz"
    if not archive.exists():
        cache.mkdir(parents=True, exist_ok=True)
        incomplete = cache / f"{key}.{os.getpid()}"
        with incomplete.open("wb") as file:
            pack(source, chosen, file)
        incomplete.rename(archive)
    requirements = requirements_of(source, chosen, key)
    print(json.dumps({"archive": str(archive), "key": key, "requirements": requirements}))


if __name__ == "__main__":
    main()
