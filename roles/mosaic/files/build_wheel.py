"""Build the wheels of the application and of its own libraries, unless the cache has them already.

    build_wheel.py REQUIREMENTS CACHE SOURCE...

A SOURCE is a folder with pyproject.toml and src/. Prints {"wheels": [paths], "key": 12 hex digits of the
sources and the requirements}. Runs on the controller with a Python that has the
build backends; needs no network.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path


def source_key(requirements: Path, sources: list[Path]) -> str:
    """Digest of the sources and requirements of an installation of the application."""
    digest = hashlib.sha256(requirements.read_bytes())
    for source in sources:
        files = [source / "pyproject.toml", *(path for path in (source / "src").rglob("*") if path.is_file())]
        for path in sorted(files):
            if "__pycache__" in path.parts or any(part.endswith(".egg-info") for part in path.parts):
                continue
            content = path.read_bytes()
            digest.update(f"{path.relative_to(source.parent)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


def build(sources: list[Path], folder: Path) -> None:
    """Build the wheels and create `folder` with them as the last step, so that it is never incomplete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        wheels = Path(scratch, "wheels")
        pip = [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-index",
            "--no-deps",
            "--no-build-isolation",
        ]
        subprocess.run([*pip, "--wheel-dir", str(wheels), *map(str, sources)], check=True, stdout=sys.stderr)
        wheels.rename(folder)


def main() -> None:
    """Build the wheels if they are missing, and print their paths."""
    requirements, cache, *sources = (Path(word).resolve() for word in sys.argv[1:])
    key = source_key(requirements, sources)
    folder = cache / key
    if not folder.exists():
        try:
            build(sources, folder)
        except subprocess.CalledProcessError:
            sys.exit(
                "The wheels could not be built, for the reason above; install requirements.txt, which"
                " contains the build backends, into the Python that runs Ansible, as ./lab does."
            )
    print(json.dumps({"wheels": sorted(map(str, folder.glob("*.whl"))), "key": key}))


if __name__ == "__main__":
    main()
