"""Build the application's wheel, unless this source has one already.

    build_wheel.py SOURCE CACHE

Prints {"wheel": path, "key": 12 hex digits of the sources and the requirements}. Runs on the controller.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def source_key(source: Path) -> str:
    """Digest of all that goes into an installation of the application."""
    digest = hashlib.sha256()
    files = [source / "pyproject.toml", source / "requirements.txt"]
    files += [path for path in (source / "src").rglob("*") if path.is_file()]
    for path in sorted(files):
        if "__pycache__" in path.parts or any(part.endswith(".egg-info") for part in path.parts):
            continue
        digest.update(f"{path.relative_to(source)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def build(source: Path, folder: Path) -> None:
    """Put the wheel into `folder`, which appears only when it is whole; the source tree stays untouched."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        tree = Path(scratch, "tree")
        shutil.copytree(
            source, tree, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__", "tests")
        )
        pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--wheel-dir", f"{scratch}/wheel", str(tree)], check=True, stdout=sys.stderr)
        Path(scratch, "wheel").rename(folder)


def main() -> None:
    """Build if need be, and say where the wheel is."""
    source, cache = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    key = source_key(source)
    folder = cache / key
    if not folder.exists():
        build(source, folder)
    print(json.dumps({"wheel": str(next(folder.glob("*.whl"))), "key": key}))


if __name__ == "__main__":
    main()
