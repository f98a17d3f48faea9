"""Playbook runs: events become a recap and a log, failures become sentences."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest
import yaml

from labctl.ansible import failures, playbooks
from labctl.ansible.failures import Failure, explain, refusals, registry_unreachable
from labctl.errors import LabError
from labctl.paths import ROOT, LabPaths
from labctl.screen import Step

PLAY = """---
- name: Three ways to end
  hosts: all
  gather_facts: false
  connection: local
  tasks:
    - name: Say something
      ansible.builtin.command: echo hello
      changed_when: inventory_hostname == 'b'
    - name: Keep quiet
      ansible.builtin.command: echo hunter2
      no_log: true
      changed_when: false
    - name: Fail and go on
      ansible.builtin.command: /bin/false
      ignore_errors: true
      changed_when: false
    - name: Loop
      ansible.builtin.command: "test {{ item }} != bad"
      loop: [good, bad]
      changed_when: false
      when: inventory_hostname == fails | default('')
"""


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabPaths:
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks" / "play.yml").write_text(PLAY, encoding="utf-8")
    (tmp_path / "hosts").write_text(
        f"[g]\na\nb\n[g:vars]\nansible_python_interpreter={sys.executable}\n", encoding="utf-8"
    )
    monkeypatch.setattr(playbooks, "ROOT", tmp_path)
    monkeypatch.setenv("LAB_MITOGEN", "0")
    return LabPaths("x", tmp_path)


def run(paths: LabPaths, **variables: object) -> playbooks.Run:
    return playbooks.run(
        paths, "play.yml", Step("test"), inventory=paths.root / "hosts", variables=variables, keep_stdout=True
    )


def test_a_run_counts_changes_and_writes_a_private_log(paths: LabPaths) -> None:
    done = run(paths)
    assert done.changed == 1
    assert {host: numbers["ignored"] for host, numbers in done.recap.items()} == {"a": 1, "b": 1}
    assert stat.S_IMODE(done.log.stat().st_mode) == 0o600
    log = done.log.read_text(encoding="utf-8")
    assert "TASK Say something (ansible.builtin.command)" in log
    assert "changed: b" in log
    assert "hunter2" not in log


def test_a_failure_names_host_task_item_and_log(paths: LabPaths) -> None:
    with pytest.raises(LabError) as caught:
        run(paths, fails="b")
    said = str(caught.value)
    assert "b: task “Loop”" in said
    assert "bad" in said
    assert "log: " in said
    assert "Fail and go on" not in said


def test_a_playbook_that_cannot_start_shows_the_reason(paths: LabPaths) -> None:
    (paths.root / "playbooks" / "play.yml").write_text("- hosts: [\n", encoding="utf-8")
    with pytest.raises(LabError, match=r"(?s)play\.yml stopped with status \d+.*YAML"):
        run(paths)


def test_odd_lines_are_noise_not_a_crash(paths: LabPaths, tmp_path: Path) -> None:
    with (tmp_path / "log").open("w", encoding="utf-8") as log:
        reader = playbooks._Reader(playbooks.Run("p", tmp_path / "log"), Step("x"), log)
        for line in ("[WARNING]: hm", '{"event": "unknown"}', '{"event": broken', ""):
            reader.line(line)
        reader.line(json.dumps({"event": "stats", "hosts": {"a": {"changed": 2}, "b": {"changed": 3}}}))
    assert reader.run.changed == 5
    assert reader.run.noise == ["[WARNING]: hm", '{"event": "unknown"}', '{"event": broken']


@pytest.mark.parametrize(
    "text",
    [
        "E: Failed to fetch http://mirror/dists/x  Could not connect to mirror:80",
        "Temporary failure resolving 'mirror'",
        "HTTPSConnectionPool(host='index', port=443): Max retries exceeded with url: /simple/celery/",
        "ERROR: Could not find a version that satisfies the requirement celery==5.7.0",
    ],
)
def test_an_unreachable_registry_is_distinguished(text: str) -> None:
    assert registry_unreachable(text)
    said = explain("site.yml", 2, [Failure("worker-2", "mosaic : Install", text)], [], "log")
    assert said.startswith("A package registry could not be reached from worker-2 (task: mosaic : Install)")
    assert "run ./lab up again: it continues" in said


def test_a_plain_failure_is_not_blamed_on_the_network() -> None:
    assert not registry_unreachable("rabbitmqctl: node down, connection refused by broker-1")


def test_many_failures_are_cut_short() -> None:
    failures = [Failure(f"worker-{n}", "Do it", "no") for n in range(1, 8)]
    assert "and 4 more failures" in explain("site.yml", 2, failures, [], "log")


def test_the_last_line_of_a_long_message_is_shown() -> None:
    traceback = ["The command failed.", *(f'  File "f{n}.py"' for n in range(30)), "OSError: read-only"]
    said = explain("site.yml", 2, [Failure("worker-1", "Deploy", "\n".join(traceback))], [], "log")
    assert "The command failed." in said
    assert "OSError: read-only" in said
    assert len(said.splitlines()) < 16


FIRST = failures._PREFLIGHT


def test_the_names_of_a_refusal_are_those_of_the_playbooks() -> None:
    """A play or task that is renamed in one place only would turn a refusal into a failure."""
    first, *_ = yaml.safe_load((ROOT / "playbooks" / "preflight.yml").read_text(encoding="utf-8"))
    assert first["name"] == failures._PREFLIGHT
    for refusal in failures._REFUSALS:
        role, _, task = refusal.partition(" : ")
        assert f"- name: {task}\n" in (ROOT / "roles" / role / "tasks" / "precheck.yml").read_text()


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (
            "Failed to connect to the host via ssh: debian@host: Permission denied (publickey).",
            "worker-1 refuses the SSH login; correct ansible_user",
        ),
        ("Task failed: SSH authentication is incorrect", "worker-1 refuses the SSH login"),
        ("Failed to connect to the host via ssh: Host key verification failed.", "known_hosts"),
        ("sudo: sorry, you must have a tty to run sudo", "set ansible_pipelining to false in the inventory"),
        ("Missing sudo password", "worker-1 needs the right password for sudo; set ansible_become_password"),
        ("sudo password is incorrect", "worker-1 needs the right password for sudo"),
        ("EOF on stream; last 100 lines received:\nkex_exchange: Connection reset", "is not reached by SSH"),
        ("The clock of worker-1 is 300 s behind the controller's.", "The clock of worker-1 is 300 s behind"),
    ],
)
def test_a_host_that_is_not_fit_is_refused_in_a_sentence(message: str, sentence: str) -> None:
    (found,) = refusals([Failure("worker-1", "Look at the host", message, FIRST)])
    assert sentence in found


def test_a_broker_with_data_of_others_is_refused_with_the_message_of_the_role() -> None:
    failure = Failure("broker-1", failures._REFUSALS[0], "it is not ours", "Brokers")
    assert refusals([failure]) == ["it is not ours"]


def test_a_failure_after_the_preflight_is_no_refusal() -> None:
    first = Failure("worker-1", "Look at the host", "its clock", FIRST)
    later = Failure("worker-2", "base : Install the packages", "no", "Every host")
    assert refusals([first, later]) == []
    assert refusals([]) == []
