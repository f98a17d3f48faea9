"""The user's own environment changes nothing: real child processes under hostile environments."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from labctl import VERSION, bootstrap
from labctl.ansible import playbooks
from labctl.paths import ROOT, LabPaths
from labctl.programs import surroundings
from labctl.testing.hostile import ENVIRONMENT as HOSTILE

NEEDED = {
    "http_proxy": "http://proxy.example:3128",
    "HTTPS_PROXY": "http://proxy.example:3128",
    "REQUESTS_CA_BUNDLE": "/etc/company.pem",
    "SSL_CERT_FILE": "/etc/company.pem",
    "PIP_INDEX_URL": "https://index.example/simple",
    "PIP_CERT": "/etc/company.pem",
    "PIP_CACHE_DIR": "/var/cache/pip",
    "ANSIBLE_VAULT_PASSWORD_FILE": "/etc/vault",
    "SSH_AUTH_SOCK": "/run/agent",
    "LAB_TOPOLOGY": "inventories/topology-trial.yml",
    "LAB_MITOGEN": "0",
}


def child(code: str, **given: str) -> str:
    """Stdout of Python code in a child that gets what `given` leaves of the environment."""
    base = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/root")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env=surroundings.environment(base | given),
    )
    return done.stdout


def test_a_child_sees_what_is_needed_and_nothing_that_is_hostile() -> None:
    seen = json.loads(child("import json, os; print(json.dumps(dict(os.environ)))", **HOSTILE, **NEEDED))
    assert {name: seen.get(name) for name in NEEDED} == NEEDED
    gone = HOSTILE.keys() - {"LC_ALL", "PYTHONPATH", "TERM", "NO_COLOR", "COLUMNS"}
    assert not gone & seen.keys()
    assert (seen["LC_ALL"], seen["PYTHONPATH"]) == ("C.UTF-8", str(ROOT))


def test_a_child_prints_unicode_and_keeps_its_assertions() -> None:
    code = "import sys; assert sys.flags.optimize == 0; print(sys.stdout.encoding, '✓ ü')"
    assert child(code, **HOSTILE).lower() == "utf-8 ✓ ü\n"


def test_ansible_reads_its_settings_from_the_project_alone() -> None:
    programs = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    hostile = {**os.environ, **HOSTILE, **programs}
    code = (
        "import os, subprocess; from labctl.ansible import playbooks; from labctl.paths import LabPaths;"
        "from labctl.programs import surroundings; surroundings.adopt();"
        "env = playbooks.environment(LabPaths('x'), mitogen=False);"
        "print(subprocess.run(['ansible-config', 'dump', '--only-changed'], env=env, check=True,"
        "      capture_output=True, text=True).stdout)"
    )
    hostile |= {"PYTHONPATH": str(ROOT)}
    del hostile["PYTHONHOME"], hostile["PYTHONWARNINGS"], hostile["PYTHONOPTIMIZE"]
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=hostile
    )
    assert f"CONFIG_FILE() = {ROOT / 'ansible.cfg'}" in done.stdout
    for wrong in ("/no/", "nobody", "oneline", "free"):
        assert wrong not in done.stdout
    assert "DEFAULT_ROLES_PATH" in done.stdout


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, None),
        ({"no_proxy": "a.example"}, "a.example"),
        ({"https_proxy": "http://p:1"}, "localhost,127.0.0.1,::1"),
        (
            {"HTTP_PROXY": "http://p:1", "NO_PROXY": "a.example, localhost"},
            "a.example,localhost,127.0.0.1,::1",
        ),
        ({"all_proxy": "socks5://p:1", "no_proxy": "*"}, "*"),
    ],
)
def test_behind_a_proxy_this_machine_is_reached_without_it(
    given: dict[str, str], expected: str | None
) -> None:
    assert surroundings.environment(given).get("no_proxy") == expected
    code = "import os, urllib.request as r; print(bool(r.proxy_bypass('127.0.0.1')))"
    if expected and expected != "a.example":
        assert child(code, **given) == "True\n"


def test_pip_gets_its_index_from_the_users_files_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "pip"
    folder.mkdir(parents=True)
    (folder / "pip.conf").write_text(
        "[global]\nindex-url = https://index.example/simple\nuser = true\n"
        "trusted-host =\n  a.example\n  b.example\n"
        "[install]\ntarget = /no/target\nno-binary = :all:\n"
    )
    given = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        check=True,
        capture_output=True,
        text=True,
        env=surroundings.environment(given),
    )
    assert "https://index.example/simple" in done.stdout
    assert "a.example b.example" in done.stdout
    for wrong in ("user", "target", "no-binary"):
        assert wrong not in done.stdout
    stronger = surroundings.environment({**given, "PIP_INDEX_URL": "https://other.example/simple"})
    assert stronger["PIP_INDEX_URL"] == "https://other.example/simple"


def test_a_home_that_is_unset_is_the_users_own() -> None:
    found = surroundings.environment({"PATH": os.environ["PATH"]})
    assert Path(found["HOME"]).is_absolute()


def test_without_a_home_that_can_be_written_ansible_has_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    found = surroundings.environment({"HOME": str(tmp_path)})
    assert found["HOME"] == str(tmp_path)
    assert Path(found["ANSIBLE_HOME"]).parent == Path(tempfile.gettempdir())


def test_files_for_the_nodes_can_be_read_there_with_any_umask(tmp_path: Path) -> None:
    code = (
        "import os; from labctl.programs import surroundings; surroundings.adopt();"
        f"open({str(tmp_path / 'file')!r}, 'w').close()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, umask=0o077, cwd=ROOT)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project without .git, in a folder with a space and an umlaut, with .venv made."""
    folder = tmp_path_factory.mktemp("copy") / "my läb"
    for name in ("lab", "labctl", "inventories", "playbooks", "requirements.txt", "ansible.cfg"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            folder.mkdir(exist_ok=True)
            shutil.copy2(source, folder / name)
    venv = folder / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    (packages,) = venv.glob("lib/python3*/site-packages")
    own = next(path for path in sys.path if path.endswith("site-packages"))
    (packages / "tests.pth").write_text(own + "\n")  # instead of an installation
    (venv / bootstrap.STAMP).write_text(
        bootstrap.wanted_stamp(venv).replace(str(bootstrap.VENV), str(venv)), encoding="utf-8"
    )
    return folder


def launch(script: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    base = {"PATH": os.environ["PATH"], "LAB_NAME": "no-such-lab"}  # and no HOME
    return subprocess.run(
        [str(script), *words],
        check=False,
        capture_output=True,
        text=True,
        cwd="/",
        env=base | environment,
    )


@pytest.mark.parametrize("link", [False, True])
def test_the_script_works_in_a_path_with_a_space_and_an_umlaut(
    copy: Path, tmp_path: Path, link: bool
) -> None:
    script = copy / "lab"
    if link:
        (tmp_path / "a link").symlink_to(copy)
        script = tmp_path / "a link" / "lab"
    version = launch(script, "--version", **HOSTILE)
    assert (version.stdout, version.stderr, version.returncode) == (f"Warren {VERSION}\n", "", 0)
    listed = launch(script, "list", "--json", **HOSTILE)
    assert isinstance(json.loads(listed.stdout), list)
    status = launch(script, "status", **HOSTILE)
    assert status.returncode == 2
    assert status.stderr.startswith("There is no lab no-such-lab; ./lab up creates it")
    assert launch(script, "validate", **HOSTILE).stdout.startswith(
        "inventories/topology.yml is valid: 9 hosts"
    )
    assert not (copy / ".lab").exists()


# Mitogen splits a path at its spaces, and Ansible alone does not; labctl puts this Python first on PATH.
INTERPRETER = """"{{ 'python3' if ' ' in ansible_playbook_python else ansible_playbook_python }}\""""


@pytest.mark.parametrize("mitogen", [False, True])
def test_ansible_starts_the_python_of_such_a_path(copy: Path, tmp_path: Path, mitogen: bool) -> None:
    play = tmp_path / "play.yml"
    play.write_text(
        "- hosts: localhost\n  gather_facts: false\n  vars:\n"
        f"    ansible_python_interpreter: {INTERPRETER}\n"
        "  tasks:\n    - ansible.builtin.command: {argv: ['true']}\n"
    )
    code = (
        "import os, sys; from labctl.ansible import playbooks; from labctl.paths import LabPaths;"
        "words = [sys.executable, '-m', 'ansible', 'playbook', '-i', 'localhost,', '-c', 'local'];"
        f"env = playbooks.environment(LabPaths('x'), mitogen={mitogen}) | {{'ANSIBLE_HOME': sys.argv[2]}};"
        "os.execve(sys.executable, [*words, sys.argv[1]], env)"
    )
    done = subprocess.run(
        [str(copy / ".venv" / "bin" / "python"), "-c", code, str(play), str(tmp_path / "ansible")],
        check=False,
        capture_output=True,
        text=True,
        cwd=copy,
    )
    assert "failed=0" in done.stdout, done.stdout + done.stderr
    assert "changed=1" in done.stdout
    for file in (ROOT / "playbooks" / "substrate" / "vars.yml", *(ROOT / "roles").glob("*/tasks/*.yml")):
        text = file.read_text(encoding="utf-8")
        assert text.count(INTERPRETER) == (text.count("delegate_to: localhost") or "vars.yml" in str(file))
    assert playbooks.environment(LabPaths("x"), mitogen=mitogen)["ANSIBLE_CONFIG"] == str(
        ROOT / "ansible.cfg"
    )


def test_the_environment_is_built_in_such_a_path(tmp_path: Path) -> None:
    folder = tmp_path / "my läb"
    (folder / "labctl" / "programs").mkdir(parents=True)
    for name in ("__init__.py", "bootstrap.py", "programs/__init__.py", "programs/surroundings.py"):
        shutil.copy2(ROOT / "labctl" / name, folder / "labctl" / name)
    (folder / "requirements.txt").write_text("")
    done = subprocess.run(
        [sys.executable, str(folder / "labctl" / "bootstrap.py")],
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "PIP_USER": "1", "PIP_TARGET": "/no/target", "LC_ALL": "xx_YY"},
    )
    assert done.returncode == 0, done.stderr
    assert (folder / ".venv" / bootstrap.STAMP).is_file()


def test_the_index_and_the_proxy_reach_the_nodes() -> None:
    def settings(**given: str) -> str:
        done = subprocess.run(
            ["sh", "-c", ". images/host.sh; host_proxies"],
            check=True,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=surroundings.environment({"PATH": os.environ["PATH"], **given}),
        )
        return done.stdout

    found = settings(PIP_INDEX_URL="https://index.example/simple", PIP_USER="1", https_proxy="http://p:1")
    assert "PIP_INDEX_URL=https://index.example/simple\n" in found
    assert "https_proxy=http://p:1\n" in found
    assert "no_proxy=localhost,127.0.0.1,::1\n" in found
    assert "USER" not in found
    assert settings(PIP_EXTRA_INDEX_URL="https://a.example https://b.example") == ""
