"""The application's wheels: how they are built, keyed and installed, without a network."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from labctl.images import keys
from labctl.paths import ROOT

FILES = ROOT / "roles" / "mosaic" / "files"
# pip finds nothing outside.
CUT_OFF = {
    **{name: value for name, value in os.environ.items() if not name.startswith("PIP_")},
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_INDEX_URL": "http://127.0.0.1:9",
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
}


def project(folder: Path, name: str) -> Path:
    """A source folder with one module and one file of data."""
    package = folder / name / "src" / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f'"""{name}."""\n__version__ = "1.0"\n')
    (package / "data.txt").write_text("x")
    (folder / name / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["flit_core"]\nbuild-backend = "flit_core.buildapi"\n'
        f'[project]\nname = "{name}"\nrequires-python = ">=3.11"\ndynamic = ["version", "description"]\n'
    )
    return folder / name


def build(requirements: Path, cache: Path, *sources: Path) -> dict[str, Any]:
    """{"wheels", "key"}, as the role reads it."""
    command = [sys.executable, str(FILES / "build_wheel.py"), *map(str, (requirements, cache, *sources))]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=CUT_OFF)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture
def requirements(tmp_path: Path) -> Path:
    """An empty list of them."""
    file = tmp_path / "requirements.txt"
    file.touch()
    return file


def test_each_source_makes_a_wheel_and_an_edit_in_any_a_new_key(tmp_path: Path, requirements: Path) -> None:
    sources = [project(tmp_path, "first"), project(tmp_path, "second")]
    before = build(requirements, tmp_path / "cache", *sources)
    names = ["first-1.0-py3-none-any.whl", "second-1.0-py3-none-any.whl"]
    assert [Path(wheel).name for wheel in before["wheels"]] == names
    built = Path(before["wheels"][0]).stat().st_mtime_ns
    assert build(requirements, tmp_path / "cache", *sources) == before
    assert Path(before["wheels"][0]).stat().st_mtime_ns == built, "built again"
    seen = {before["key"]}
    for file in (*(source / "src" / source.name / "data.txt" for source in sources), requirements):
        file.write_text("# changed\n")
        seen.add(build(requirements, tmp_path / "cache", *sources)["key"])
    assert len(seen) == 4
    assert sorted(path.name for path in sources[0].iterdir()) == ["pyproject.toml", "src"]


def test_a_source_that_cannot_be_built_is_a_sentence(tmp_path: Path, requirements: Path) -> None:
    source = project(tmp_path, "first")
    text = (source / "pyproject.toml").read_text().replace("flit_core.buildapi", "absent_backend")
    (source / "pyproject.toml").write_text(text)
    with pytest.raises(AssertionError, match="contains the build backends"):
        build(requirements, tmp_path / "cache", source)
    assert not list((tmp_path / "cache").iterdir())


def test_wheels_hold_every_file_of_their_sources(tmp_path: Path) -> None:
    sources = [ROOT / name for name in keys.APP_SOURCES]
    wheels = build(ROOT / keys.APP_REQUIREMENTS, tmp_path, *sources)["wheels"]
    held = {
        name for wheel in wheels for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name
    }
    there = {
        path.relative_to(source / "src").as_posix()
        for source in sources
        for path in (source / "src").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == there
    assert {"mosaic/py.typed", "mosaic/migrations/script.py.mako", "celery_durable/py.typed"} <= held


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment for all installations of this module, since creating one takes seconds."""
    made = tmp_path_factory.mktemp("venv") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(made)], check=True)
    return made


# The right one comes last: what is installed already needs no hash.
@pytest.mark.parametrize("pinned", ["wrong", "nothing", "right"])
def test_only_what_has_the_pinned_hash_is_installed(
    tmp_path: Path, requirements: Path, venv: Path, pinned: str
) -> None:
    needed = Path(build(requirements, tmp_path / "needed", project(tmp_path, "needed"))["wheels"][0])
    hashes = {"right": hashlib.sha256(needed.read_bytes()).hexdigest(), "wrong": "0" * 64}
    suffix = f" --hash=sha256:{hashes[pinned]}" if pinned in hashes else ""
    requirements.write_text(f"needed==1.0{suffix}\n")
    built = build(requirements, tmp_path / "cache", project(tmp_path, "first"), project(tmp_path, "second"))
    target = tmp_path / "target"
    target.mkdir()
    (target / "venv").symlink_to(venv)
    for file in (FILES / "install-wheel", requirements, *built["wheels"]):
        shutil.copy(file, target)
    wheels = [Path(wheel).name for wheel in built["wheels"]]
    done = subprocess.run(
        ["sh", str(target / "install-wheel"), built["key"], requirements.name, *wheels],
        check=False,
        capture_output=True,
        text=True,
        env={**CUT_OFF, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(needed.parent)},
    )
    if pinned == "right":
        assert done.returncode == 0, done.stderr
        assert [path.name for path in (target / "installed").iterdir()] == [built["key"]]
        found = {path.name for path in target.glob("venv/lib/python3*/site-packages/*")}
        assert {"first", "second", "needed"} <= found
    else:
        assert done.returncode != 0
        assert "hash" in done.stderr.lower()
        assert not (target / "installed").exists()
