"""Every playbook is read by the Ansible at hand: the real ones, and those of the Molecule scenarios."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

from labctl.ansible.playbooks import environment
from labctl.paths import ROOT, LabPaths

_PLAY = {"hosts", "ansible.builtin.import_playbook"}


def playbooks() -> list[str]:
    """Every file with a list of plays, relative to the project."""
    files = [*(ROOT / "playbooks").glob("**/*.yml"), *(ROOT / "molecule").glob("*/*.yml")]
    found = []
    for file in sorted(files):
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        if isinstance(content, list) and any(_PLAY & play.keys() for play in content):
            found.append(str(file.relative_to(ROOT)))
    return found


def test_playbooks_are_found() -> None:
    some = {"playbooks/site.yml", "playbooks/substrate/create.yml", "molecule/rabbitmq/restart.yml"}
    assert some <= set(playbooks())


def test_ansible_reads_every_playbook() -> None:
    program = Path(sys.executable).with_name("ansible-playbook")
    surroundings = environment(LabPaths("warren-test"), mitogen=False)
    surroundings["PATH"] = f"{program.parent}{os.pathsep}{surroundings['PATH']}"
    wanted = playbooks()
    done = subprocess.run(
        [str(program), "--inventory", "inventories/docker", "--syntax-check", *wanted],
        cwd=ROOT,
        env=surroundings,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    read = {line.partition(": ")[2] for line in done.stdout.splitlines() if line.startswith("playbook: ")}
    assert {str(Path(name)) for name in read} == set(wanted)
