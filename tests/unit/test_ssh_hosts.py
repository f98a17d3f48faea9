"""Commands on hosts that are reached by SSH."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labctl.errors import UsageError
from labctl.paths import LabPaths
from labctl.substrates.ssh import HostSubstrate


def hosts(folder: Path, **variables: object) -> HostSubstrate:
    """A lab of one host with these variables."""
    host = {"ansible_user": "debian", "ansible_become": True, **variables}
    inventory = folder / "hosts.yml"
    inventory.write_text(json.dumps({"workers": {"hosts": {"worker-1": host}}}))
    return HostSubstrate(LabPaths("ssh", folder), inventory)


def test_a_port_and_sudo(tmp_path: Path) -> None:
    words = hosts(tmp_path, ansible_port=2222, ansible_host="203.0.113.31").shell("worker-1", ["id", "-u"])
    assert words[words.index("-p") + 1] == "2222"
    assert words[-2:] == ["debian@203.0.113.31", "sudo id -u"]


@pytest.mark.parametrize("name", ["ansible_become_password", "ansible_become_pass"])
def test_sudo_with_a_password_needs_a_terminal(tmp_path: Path, name: str) -> None:
    lab = hosts(tmp_path, **{name: "{{ vault_sudo }}"})
    with pytest.raises(UsageError, match=r"^worker-1 needs a password for sudo, .*\(NOPASSWD\), or use"):
        lab.shell("worker-1", ["id"])
    assert lab.shell("worker-1", ["id"], terminal=True)[-1] == "sudo id"
