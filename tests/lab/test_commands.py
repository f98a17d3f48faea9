"""The commands of ./lab on a running lab: their output and exit status."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.lab.commands import UserLab
from tests.lab.pictures import size_of


def test_status_json_has_its_shape_and_is_healthy(lab: UserLab) -> None:
    done = lab.run("status", "--json")
    assert done.status == 0, str(done)
    status = done.json()
    assert set(status) >= {"healthy", "nodes", "cluster", "workers", "queues"}
    assert status["healthy"] is True
    names = [node["name"] for node in status["nodes"]]
    assert len(names) == len(set(names))
    for node in status["nodes"]:
        assert set(node) >= {"name", "group", "state", "services"}
        assert node["state"] == "running"
        assert set(node["services"].values()) == {"active"}, node
    brokers = sorted(node["name"] for node in status["nodes"] if node["group"] == "brokers")
    cluster = status["cluster"]
    assert cluster["members"] == cluster["running"] == brokers
    assert cluster["partitions"] == cluster["alarms"] == []
    assert cluster["seen_alike_by_all"] is True
    for worker, queues in status["workers"].items():
        assert {"mosaic.render", "mosaic.scale", "mosaic.digest", f"mosaic.host.{worker}"} <= set(queues)
    assert status["queues"]["mosaic.render"]["type"] == "quorum"
    assert sorted(status["queues"]["mosaic.render"]["online"]) == brokers


def test_status_for_a_person(lab: UserLab) -> None:
    done = lab.run("status")
    assert done.status == 0, str(done)
    for word in ("broker-1", "worker-1", "rabbitmq-server", "healthy"):
        assert word in done.out


def test_demo_json_has_its_shape(lab: UserLab) -> None:
    done = lab.run("demo", "--json", "--width", "640", "--height", "400", "--tile", "64")
    assert done.status == 0, str(done)
    demo = done.json()
    assert set(demo) >= {"job", "tiles", "by_host", "seconds", "image"}
    assert demo["tiles"] == 70 == sum(demo["by_host"].values())
    assert len(demo["by_host"]) >= 2
    assert demo["seconds"] > 0
    assert size_of(Path(demo["image"]).read_bytes()) == (640, 400)


def test_verify_json_has_its_shape(lab: UserLab) -> None:
    done = lab.run("verify", "--json", "-k", "test_beat_ticks")
    assert done.status == 0, str(done)
    assert {"passed": 1, "failed": 0, "skipped": 0, "failures": []}.items() <= done.json().items()


def test_open_prints_address_and_password(lab: UserLab, stranger: httpx.Client) -> None:
    done = lab.run("open")
    assert done.status == 0
    lines = done.out.splitlines()
    assert lines[0].startswith("https://127.0.0.1:")
    password = next(line for line in lines if line.startswith("password")).removeprefix("password  ")
    assert stranger.get("/api/jobs", auth=("lab", password)).status_code == 200


def test_shell_runs_a_command_and_returns_its_status(lab: UserLab) -> None:
    assert lab.run("shell", "worker-1", "hostname").out.strip() == "worker-1"
    assert lab.run("shell", "worker-1", "sh", "-c", "exit 7").status == 7


def test_logs_of_a_node_and_of_a_unit(lab: UserLab) -> None:
    node = lab.run("logs", "gateway-1", "-n", "50")
    assert node.status == 0
    assert "gateway-1" in node.out
    unit = lab.run("logs", "mosaic-worker@render", "-n", "2000")
    assert unit.status == 0
    assert {"worker-1", "worker-2"} <= {word for line in unit.out.splitlines() for word in line.split()}


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["status", "--nonsense"],
        ["shell", "no-such-node", "true"],
        ["demo", "--width", "wide"],
        ["run", "no-such-playbook.yml"],
        ["--inventory", "/nonexistent", "status"],
    ],
    ids=" ".join,
)
def test_wrong_usage(lab: UserLab, arguments: list[str]) -> None:
    """Exit status 2, a message on stderr without a traceback, nothing on stdout."""
    done = lab.run(*arguments)
    assert done.status == 2, str(done)
    assert done.err.strip()
    assert "Traceback" not in done.err + done.out
    assert not done.out.strip()


def test_an_invalid_lab_name() -> None:
    done = UserLab("Not_A_Name").run("status")
    assert done.status == 2, str(done)
    assert "LAB_NAME" in done.err
    assert "Traceback" not in done.err


def test_secrets_are_in_no_log(lab: UserLab) -> None:
    """Neither in the journals of the nodes nor in the logs of ./lab."""
    secrets = {file.name: file.read_text().removesuffix("\n") for file in (lab.state / "secrets").iterdir()}
    texts = {str(file): file.read_text(errors="replace") for file in (lab.state / "logs").glob("*.log")}
    for node in lab.status()["nodes"]:
        texts[node["name"]] = lab.run("logs", node["name"], "-n", "200000").out
    shown = [
        (name, place) for place, text in texts.items() for name, value in secrets.items() if value in text
    ]
    assert not shown


def test_only_its_user_can_read_the_state_of_a_lab(lab: UserLab) -> None:
    for file in [*lab.state.glob("secrets/*"), lab.state / "pki" / "ca.key", *lab.state.glob("logs/*.log")]:
        assert file.stat().st_mode & 0o077 == 0, file
    assert lab.state.stat().st_mode & 0o077 == 0
