"""Build the wheels of the application and of its own libraries, unless these sources have them already.

    build_wheel.py REQUIREMENTS CACHE SOURCE...

A SOURCE is a folder with pyproject.toml and src/. Prints {"wheels": [paths], "key": 12 hex digits of the
sources and the requirements}. Runs on the controller, whose Python has what builds them; needs no network.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path


def source_key(requirements: Path, sources: list[Path]) -> str:
    """Digest of all that goes into an installation of the application."""
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
    """Put the wheels into `folder`, which appears only when they are whole."""
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
    """Build if need be, and say where the wheels are."""
    requirements, cache, *sources = (Path(word).resolve() for word in sys.argv[1:])
    key = source_key(requirements, sources)
    folder = cache / key
    if not folder.exists():
        try:
            build(sources, folder)
        except subprocess.CalledProcessError:
            sys.exit(
                "The wheels could not be built, for the reason above; the Python that runs Ansible needs"
                " their build backends: install requirements.txt into it, as ./lab does."
            )
    print(json.dumps({"wheels": sorted(map(str, folder.glob("*.whl"))), "key": key}))


if __name__ == "__main__":
    main()
