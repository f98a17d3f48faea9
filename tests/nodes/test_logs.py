"""Every host publishes its journal, as a user that may do nothing else."""

from __future__ import annotations

from tests.nodes.lab import Facts, Lab

testinfra_hosts = ["ansible://all"]


def test_journal_is_published(every: Facts, lab: Lab) -> None:
    status = every["log_shipper"]
    assert status in [f"shipping the journal to mosaic.logs through {name}" for name in lab.group("brokers")]


def test_only_the_log_shipper_can_read_its_configuration(every: Facts) -> None:
    wanted = {"mode": "0640", "owner": "root", "group": "log-shipper"}
    assert every["secret_files"]["/etc/warren/log-shipper.json"] == wanted
