"""How the role celery_app packs the source of an application, and installs it beside what runs."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from tests.unit.rendering import ROLES

FILES = ROLES / "celery_app" / "files"
PACK = FILES / "pack_source.py"
INSTALL = FILES / "install-release"
ACTIVATE = FILES / "activate-release"
RUN = FILES / "run-release"
# As the real one, it reads $$ as $ in the words of the command, and replaces variables, of which it has none.
SYSTEMD_RUN = f"""#!{sys.executable}
import os, re, sys
words = sys.argv[sys.argv.index("/bin/sh") :]
os.execv(words[0], [re.sub(r"[$]([$]|{{\\w+}}|\\w+)", lambda f: "$" * (f[1] == "$"), word) for word in words])
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """An application as people have it, with what only its author needs beside it."""
    folder = tmp_path / "shop"
    for name in (
        "requirements.txt",
        "shop/celery.py",
        "shop/data/env.txt",
        ".git/objects/x",
        "shop/env/settings.py",
        ".venv/lib/y.py",
        "web/node_modules/z.js",
        "shop/__pycache__/celery.pyc",
        "my environment/pyvenv.cfg",
        "my environment/bin/python",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"# {name}\n")
    (folder / "requirements.txt").write_text("celery\n")
    return folder


def pack(source: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    """Run the program of the controller."""
    command = [sys.executable, str(PACK), str(source), str(cache)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def packed(source: Path, cache: Path) -> dict[str, str]:
    """What it prints: archive and key."""
    done = pack(source, cache)
    assert done.returncode == 0, done.stderr
    answer: dict[str, str] = json.loads(done.stdout)
    return answer


def test_what_only_its_author_needs_is_left_out(source: Path, tmp_path: Path) -> None:
    with tarfile.open(packed(source, tmp_path / "cache")["archive"]) as tar:
        assert sorted(tar.getnames()) == [
            "requirements.txt",
            "shop/celery.py",
            "shop/data/env.txt",
            "shop/env/settings.py",
        ]
        assert {(member.uid, member.uname, member.mtime) for member in tar.getmembers()} == {(0, "", 0)}


def test_the_same_source_is_the_same_release(source: Path, tmp_path: Path) -> None:
    first = packed(source, tmp_path / "cache")
    (source / ".git" / "more").write_text("x")
    (source / "shop" / "celery.py").touch()
    assert packed(source, tmp_path / "cache") == first
    assert len(list((tmp_path / "cache").iterdir())) == 1
    (source / "shop" / "celery.py").write_text("edited")
    assert packed(source, tmp_path / "cache")["key"] != first["key"]


def test_a_file_that_becomes_a_program_is_another_release(source: Path, tmp_path: Path) -> None:
    first = packed(source, tmp_path / "cache")
    (source / "shop" / "celery.py").chmod(0o755)
    assert packed(source, tmp_path / "cache")["key"] != first["key"]


def test_a_folder_that_cannot_be_installed_is_refused(source: Path, tmp_path: Path) -> None:
    (source / "requirements.txt").unlink()
    done = pack(source, tmp_path / "cache")
    assert done.returncode == 1
    assert "has neither pyproject.toml nor requirements.txt; add a requirements.txt" in done.stderr
    assert "is no folder" in pack(tmp_path / "absent", tmp_path / "cache").stderr


def test_a_folder_that_is_too_large_is_refused_and_its_largest_file_named(
    source: Path, tmp_path: Path
) -> None:
    with (source / "shop" / "data" / "dump.sql").open("wb") as file:
        file.truncate(300_000_000)
    done = pack(source, tmp_path / "cache")
    assert done.returncode == 1
    assert "300 MB in 5 files, more than 200 MB (the largest is shop/data/dump.sql)" in done.stderr


@pytest.mark.parametrize("target", ["{outside}/id_rsa", "{outside}", "data", "absent"])
def test_a_link_is_packed_only_when_its_target_is_a_file_of_the_source(
    source: Path, tmp_path: Path, target: str
) -> None:
    (tmp_path / "id_rsa").write_text("secret")
    (source / "shop" / "key").symlink_to(target.format(outside=tmp_path))
    done = pack(source, tmp_path / "cache")
    assert done.returncode == 1
    assert "shop/key is a link, but not to a file in" in done.stderr
    (source / "shop" / "key").unlink()
    (source / "shop" / "key").symlink_to("data/env.txt")
    with tarfile.open(packed(source, tmp_path / "cache")["archive"]) as tar:
        assert tar.getmember("shop/key").isfile()


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """A folder of wheels without contents, in the place of a package registry."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in ("celery", "sqlalchemy", "psycopg", "broken"):
        about = f"{name}-9.0.dist-info"
        with zipfile.ZipFile(folder / f"{name}-9.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}.py", "")
            wheel.writestr(
                f"{about}/METADATA",
                f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.0\nProvides-Extra: binary\n",
            )
            wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{about}/RECORD", "")
    return folder


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """The application's folder on a host."""
    folder = tmp_path / "root" / "opt" / "shop"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(autouse=True)
def tools(tmp_path: Path) -> Path:
    """Folder with runuser and chown, which only root may run; each writes its arguments to the file `log`."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name, then in (("runuser", 'shift 3; exec "$@"'), ("chown", "")):
        (folder / name).write_text(f'#!/bin/sh\necho "{name} $*" >>{folder}/log\n{then}\n')
        (folder / name).chmod(0o755)
    return folder


def install(node: Path, index: Path, source: Path) -> tuple[str, str]:
    """Install and activate the source on the host; returns its key and what the installer complains about."""
    answer = packed(source, index.parent / "cache")
    (node / f"{answer['key']}.tar.gz").write_bytes(Path(answer["archive"]).read_bytes())
    environment = {
        "PATH": f"{index.parent / 'tools'}:{Path(sys.executable).parent}:/usr/bin:/bin",
        "LAB_ROOT": str(node.parents[1]),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(index),
        "PIP_NO_CACHE_DIR": "1",
    }
    done = subprocess.run(
        [str(INSTALL), "shop", answer["key"], answer["requirements"]],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert (done.returncode == 0) is (done.stderr == ""), done.stderr
    if done.returncode == 0:
        assert not (node / "installed" / answer["key"]).exists(), "it must not run before its deploy commands"
        subprocess.run([str(ACTIVATE), "shop", answer["key"]], check=True, env=environment)
    return answer["key"], done.stderr


def edit(source: Path, text: str) -> None:
    """Change the application's code."""
    (source / "shop" / "celery.py").write_text(f"word = {text!r}\n")


def word(node: Path) -> str:
    """What the application's code says, by the interpreter of its current release."""
    command = [str(node / "current/venv/bin/python"), "-c", "import shop.celery as c; print(c.word)"]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd="/").stdout.strip()


def test_a_release_is_installed_beside_those_that_run(node: Path, index: Path, source: Path) -> None:
    keys = []
    with ExitStack() as processes:
        for text in ("one", "two", "three"):
            edit(source, text)
            key, complaint = install(node, index, source)
            assert complaint == ""
            assert word(node) == text
            assert [path.name for path in (node / "installed").iterdir()] == [key]
            assert (node / "current").readlink() == Path("releases", key)
            keys.append(key)
            if text == "one":
                release = os.open(node / "releases" / key, os.O_RDONLY)
                processes.callback(os.close, release)
                fcntl.flock(release, fcntl.LOCK_SH)
    one, _, three = keys
    assert {path.name for path in (node / "releases").iterdir()} == {one, three}
    assert not list(node.glob("*.tar.gz"))


def environment_of(node: Path) -> Path:
    """The environment of the current release."""
    return (node / "current" / "environment").readlink()


def test_an_environment_is_built_again_only_when_the_requirements_changed(
    node: Path, index: Path, source: Path
) -> None:
    edit(source, "one")
    install(node, index, source)
    first = environment_of(node)
    built = (first / "complete").stat().st_mtime_ns
    edit(source, "two")
    assert install(node, index, source)[1] == ""
    assert (word(node), environment_of(node)) == ("two", first)
    assert (first / "complete").stat().st_mtime_ns == built
    (source / "requirements.txt").write_text("celery\nbroken\n")
    assert install(node, index, source)[1] == ""
    assert environment_of(node) != first
    assert not first.exists(), "no release uses it"


@pytest.mark.parametrize("file", ["setup.py", "requirements.txt", "pyproject.toml"])
def test_requirements_that_depend_on_the_source_belong_to_one_release(
    source: Path, tmp_path: Path, file: str
) -> None:
    if file != "requirements.txt":
        (source / "requirements.txt").unlink()
        (source / "pyproject.toml").write_text('[project]\nname = "shop"\nversion = "1"\n')
    (source / file).write_text(
        {
            "setup.py": "",
            "requirements.txt": "celery\n./library\n",
            "pyproject.toml": '[project]\nname = "shop"\ndynamic = ["dependencies"]\n',
        }[file]
    )
    answer = packed(source, tmp_path / "cache")
    assert answer["requirements"] == answer["key"]


def test_an_included_file_belongs_to_the_requirements(source: Path, tmp_path: Path) -> None:
    (source / "requirements.txt").write_text("-r more/base.txt\n")
    (source / "more").mkdir()
    (source / "more" / "base.txt").write_text("celery\n")
    first = packed(source, tmp_path / "cache")["requirements"]
    edit(source, "other")
    assert packed(source, tmp_path / "cache")["requirements"] == first
    (source / "more" / "base.txt").write_text("celery\nflask\n")
    assert packed(source, tmp_path / "cache")["requirements"] != first


def test_what_a_failed_installation_left_is_deleted(node: Path, index: Path, source: Path) -> None:
    edit(source, "good")
    install(node, index, source)
    (source / "requirements.txt").write_text("celery\nabsent-package\n")
    failed, _ = install(node, index, source)
    assert len(list((node / "environments").iterdir())) == 2
    assert (node / f"{failed}.tar.gz").exists()
    (source / "requirements.txt").write_text("celery\n")
    edit(source, "better")
    better, complaint = install(node, index, source)
    assert complaint == ""
    assert [path.name for path in (node / "releases").iterdir()] == [better]
    assert [path.name for path in (node / "environments").iterdir()] == [
        (node / "current" / "environment").readlink().name
    ]
    assert not list(node.glob("*.tar.gz"))


def test_requirements_that_do_not_install_leave_what_runs(node: Path, index: Path, source: Path) -> None:
    edit(source, "good")
    good, _ = install(node, index, source)
    (source / "requirements.txt").write_text("celery\nabsent-package\n")
    _, complaint = install(node, index, source)
    assert complaint.endswith("The requirements of shop do not install, for the reason above.\n")
    assert "absent-package" in complaint
    assert (node / "current").readlink() == Path("releases", good)
    assert [path.name for path in (node / "installed").iterdir()] == [good]
    (source / "requirements.txt").write_text("sqlalchemy\n")
    assert "The requirements of shop do not install celery" in install(node, index, source)[1]


@pytest.mark.parametrize("root", [".", "src"])
def test_a_project_file_beside_requirements_builds_nothing(
    node: Path, index: Path, source: Path, root: str
) -> None:
    (source / "pyproject.toml").write_text('[tool.poetry]\nname = "no-such-package"\n')
    (source / "src").mkdir()
    if root == "src":
        (source / "shop").rename(source / "src" / "shop")
    (source / root / "shop" / "celery.py").write_text("word = 'found'\n")
    assert install(node, index, source)[1] == ""
    assert word(node) == "found"


def test_an_interrupted_installation_is_repeated(node: Path, index: Path, source: Path) -> None:
    edit(source, "whole")
    key = packed(source, index.parent / "cache")["key"]
    (node / "releases" / key / "venv").mkdir(parents=True)
    assert install(node, index, source) == (key, "")
    assert word(node) == "whole"


def test_root_writes_nothing_where_the_build_may_have_put_a_link(
    node: Path, index: Path, source: Path, tools: Path
) -> None:
    """The build of a package can replace each file of its folder by a link to a file of the host."""
    foreign = tools.parent / "shadow"
    foreign.write_text("secret")
    foreign.chmod(0o600)
    os.utime(foreign, (1, 1))
    build = f"touch venv/open; chmod 777 venv/open; ln -s {foreign} venv/link"
    (tools / "python3").write_text(
        f'#!/bin/sh\n{sys.executable} "$@" && case "$*" in "-m venv venv") {build} ;; esac\n'
    )
    (tools / "python3").chmod(0o755)
    key, complaint = install(node, index, source)
    assert complaint == ""
    environment = (node / "releases" / key / "environment").readlink()
    assert (environment / "venv/open").stat().st_mode & 0o777 == 0o755
    assert (foreign.stat().st_mode & 0o777, foreign.stat().st_mtime) == (0o600, 1)
    log = (tools / "log").read_text().splitlines()
    assert [line for line in log if line.startswith("chown")] == [
        "chown -hR shop:shop code venv",
        "chown -hR root:root code venv",
    ]


def test_no_host_activates_a_release_before_all_have_it_and_its_commands_have_run() -> None:
    folder = ROLES / "celery_app/tasks"
    *_, copy, install = yaml.safe_load((folder / "releases.yml").read_text())
    run, check, refuse, activate = yaml.safe_load((folder / "activate.yml").read_text())
    assert activate["name"] == "Activate new releases"
    for task in (copy, install, run, refuse):
        assert task.get("any_errors_fatal"), task["name"]
    assert (check["delegate_to"], check["ignore_unreachable"]) == ("{{ celery_app_deploy_host }}", True)
    assert refuse["loop"] == f"{{{{ {check['register']}.results }}}}"
    assert "not item.stat.exists | default(false)" in refuse["when"], "also of a host that did not answer"


@pytest.mark.parametrize("state", ["inactive", "active", "activating"])
def test_commands_run_one_after_the_other_and_once_at_a_time(node: Path, tools: Path, state: str) -> None:
    (node / "releases" / "k").mkdir(parents=True)
    (tools / "systemctl").write_text(f"#!/bin/sh\necho {state}\n")
    (tools / "systemd-run").write_text(SYSTEMD_RUN)
    for name in ("systemctl", "systemd-run"):
        (tools / name).chmod(0o755)
    environment = {"PATH": f"{tools}:/usr/bin:/bin", "LAB_ROOT": str(node.parents[1])}
    words = [str(RUN), "shop", "k", "X='a  $b'; echo \"$X\" ${X}", "exit 3", "echo never"]
    done = subprocess.run(words, check=False, capture_output=True, text=True, env=environment)
    if state == "inactive":
        assert (done.returncode, done.stdout, done.stderr) == (3, "a  $b a $b\n", "")
    else:
        assert (done.returncode, done.stdout) == (1, "")
        assert "systemctl stop lab-run-shop.service" in done.stderr
