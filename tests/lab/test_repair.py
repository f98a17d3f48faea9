"""`./lab up` repairs the lab: deleted nodes, brokers without data, interrupted runs."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import httpx

from tests.lab.commands import Done, UserLab, docker, processes_of, wait_for

QUEUE = "mosaic.check"
# The program waits for the confirm of each message. It retries its connection, as every client must: until
# the proxy detects that a broker is down, it may forward a connection to it.
PUBLISH = """
import json, pika, sys, tomllib
queue, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
url = tomllib.load(open('/etc/mosaic/mosaic.toml', 'rb'))['broker']['url']
retrying = '?connection_attempts=5&retry_delay=1&stack_timeout=4&socket_timeout=4'
channel = pika.BlockingConnection(pika.URLParameters(url + retrying)).channel()
channel.exchange_declare(queue, 'topic', durable=True)
channel.queue_declare(queue, durable=True, arguments={'x-queue-type': 'quorum'})
channel.queue_bind(queue, queue, '#')
channel.confirm_delivery()
for number in range(first, last):
    persistent = pika.BasicProperties(delivery_mode=2)
    channel.basic_publish(queue, 'number', str(number).encode(), persistent, mandatory=True)
print(json.dumps(last - first))
"""
CONSUME = """
import json, pika, sys, tomllib
url = tomllib.load(open('/etc/mosaic/mosaic.toml', 'rb'))['broker']['url']
retrying = '?connection_attempts=5&retry_delay=1&stack_timeout=4&socket_timeout=4'
channel = pika.BlockingConnection(pika.URLParameters(url + retrying)).channel()
channel.basic_qos(prefetch_count=200)
found = []
for method, _, body in channel.consume(sys.argv[1], inactivity_timeout=5):
    if method is None:
        break
    found.append(int(body))
    channel.basic_ack(method.delivery_tag)
channel.cancel()
channel.queue_delete(sys.argv[1])
channel.exchange_delete(sys.argv[1])
print(json.dumps(found))
"""


def changed(done: Done) -> int:
    """Number of changes that `up` reports."""
    match = re.search(r"changed=(\d+)", done.out)
    assert match, str(done)
    return int(match[1])


def assert_up(done: Done) -> None:
    """Assert that `up` succeeded."""
    assert done.status == 0, str(done)


def tasks_of(log: Path) -> int:
    """Number of tasks in the log of a run of site.yml."""
    return log.read_text().count("TASK ")


def begin(lab: UserLab, tasks: int) -> tuple[int, list[int]]:
    """Start `up` and wait until site.yml has begun this many tasks; returns its and Ansible's processes."""
    known = set((lab.state / "logs").glob("*-site-*.log"))
    process = lab.start("up", "--no-verify", "--no-demo")

    def far_enough() -> bool:
        assert process.poll() is None, process.communicate()[0]
        return any(tasks_of(log) >= tasks for log in set((lab.state / "logs").glob("*-site-*.log")) - known)

    wait_for(f"{tasks} tasks", 300, far_enough, poll=0.05)
    return process.pid, processes_of(["ansible-playbook"], f"LAB_NAME={lab.name}")


def ended(pid: int, seconds: float = 30) -> int:
    """Exit status of a child process, or minus the signal that ended it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.1)
    raise AssertionError(f"process {pid} still runs after {seconds:.0f} s")


def no_process_is_left(lab: UserLab) -> None:
    """Assert that Ansible ends with the command that started it."""
    wait_for(
        "Ansible's processes end",
        15,
        lambda: not processes_of(["ansible-playbook", "mitogen"], f"LAB_NAME={lab.name}"),
    )


def test_up_repairs_nodes_and_finishes_what_was_interrupted(
    spare_lab: UserLab, console: httpx.Client
) -> None:
    """The test deletes four nodes, a broker with its volume, and stops one.

    It interrupts `up` three times: it kills Ansible, kills ./lab, and presses Ctrl-C. The next `up` repairs
    the lab. All confirmed messages and the finished job still exist.
    """
    job = console.post("/api/jobs/render", json={"width": 128, "height": 128}).json()["job"]
    wait_for("the job", 60, lambda: console.get(f"/api/jobs/{job}").json()["state"] == "done")
    spare_lab.python("worker-1", PUBLISH, QUEUE, "0", "1000")
    docker("stop", "--time", "30", f"{spare_lab.name}-worker-3")
    gone = ["worker-2", "broker-2", "database-1", "gateway-1"]
    docker("rm", "--force", *(f"{spare_lab.name}-{name}" for name in gone))
    docker("volume", "rm", f"{spare_lab.name}-broker-2-data")
    spare_lab.python("worker-1", PUBLISH, QUEUE, "1000", "1200")

    done = spare_lab.run("status", "--json")
    assert done.status == 1
    status = done.json()
    assert status["healthy"] is False
    states = {node["name"]: node["state"] for node in status["nodes"]}
    assert {name: states.pop(name) for name in gone} == dict.fromkeys(gone, "missing")
    assert states.pop("worker-3") == "stopped"
    assert set(states.values()) == {"running"}
    assert status["workers"]["worker-3"] == []

    pid, ansible = begin(spare_lab, tasks=6)
    assert ansible
    for process in ansible:
        os.kill(process, signal.SIGKILL)
    assert ended(pid) == 1, "./lab must report that the playbook failed"

    pid, _ = begin(spare_lab, tasks=14)
    os.kill(pid, signal.SIGKILL)
    assert ended(pid) == -signal.SIGKILL
    no_process_is_left(spare_lab)

    pid, _ = begin(spare_lab, tasks=25)
    os.killpg(pid, signal.SIGINT)
    assert ended(pid) == 130
    no_process_is_left(spare_lab)

    assert_up(spare_lab.up())
    spare_lab.wait_until_healthy(90)
    assert console.get(f"/api/jobs/{job}").json()["state"] == "done"
    now = spare_lab.status()
    queue = now["queues"][QUEUE]
    assert len(queue["members"]) == len(queue["online"]) == len(now["cluster"]["members"])
    assert sorted(spare_lab.python("worker-1", CONSUME, QUEUE)) == list(range(1200))


def test_broker_with_kept_data_becomes_a_member_again(spare_lab: UserLab) -> None:
    docker("rm", "--force", f"{spare_lab.name}-broker-3")
    assert_up(spare_lab.up())
    spare_lab.wait_until_healthy(90)
    verify = spare_lab.run("verify", "--json")
    assert verify.status == 0, str(verify)
    assert changed(spare_lab.up()) == 0


def on(lab: UserLab, node: str, script: str) -> None:
    """Run a shell script on a node, without ./lab."""
    docker("exec", f"{lab.name}-{node}", "sh", "-ec", script)


def assert_refused(lab: UserLab, *sentences: str) -> None:
    """Assert that `up` reports these sentences with exit status 2 and runs no play after the preflight."""
    done = lab.up()
    assert done.status == 2, str(done)
    for sentence in sentences:
        assert sentence in done.err, str(done)
    log = max((lab.state / "logs").glob("*-site-*.log"), key=lambda file: file.stat().st_mtime)
    assert "PLAY Every host" not in log.read_text(encoding="utf-8")


def test_unsuitable_hosts_are_reported_before_any_change(spare_lab: UserLab) -> None:
    """`up` reports all problems at once. It also refuses a worker host that has data of another broker.

    The name of that data contains a former host name.
    """
    foreign = "/var/lib/rabbitmq/mnesia/rabbit@elsewhere"
    release = "ID=alpine\nPRETTY_NAME=Alpine\n"
    on(spare_lab, "worker-1", f"mv /etc/os-release /root/kept; printf '{release}' >/etc/os-release")
    on(spare_lab, "worker-2", "cp /etc/hosts /root/kept; echo 127.0.1.1 worker-2 >/etc/hosts")
    on(spare_lab, "worker-3", f"mkdir -p {foreign}; echo kept >{foreign}/data")
    try:
        assert_refused(
            spare_lab,
            "worker-1 runs Alpine, which the roles do not support; install Debian 12 or 13.",
            "On worker-2 the file /etc/hosts gives the name worker-2 the address 127.0.1.1",
        )
    finally:
        on(spare_lab, "worker-1", "mv /root/kept /etc/os-release")
        on(spare_lab, "worker-2", "cat /root/kept >/etc/hosts")
    try:
        assert_refused(
            spare_lab,
            "worker-3 already holds a RabbitMQ with data that this role did not make (rabbit@elsewhere)",
        )
        on(spare_lab, "worker-3", f"grep -q kept {foreign}/data")
    finally:
        on(spare_lab, "worker-3", "rm -r /var/lib/rabbitmq")
