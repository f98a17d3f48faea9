"""Fixtures of the checks of nodes: the lab, the node of the test, and the reports of this node."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from testinfra.host import Host

from tests.nodes.lab import Answers, Facts, Lab, Node
from tests.nodes.settle import wait_until_healthy


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests that break something last."""
    items.sort(key=lambda item: item.get_closest_marker("disruptive") is not None)


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> Lab:
    """The lab of --ansible-inventory."""
    return Lab(request.config.getoption("ansible_inventory"))


@pytest.fixture(scope="session")
def answers(lab: Lab) -> Answers:
    """The reports of all nodes, collected once."""
    return Answers(lab)


@pytest.fixture
def node(host: Host, lab: Lab) -> Node:
    """The node of the test."""
    return lab.nodes[host.backend.get_hostname()]


@pytest.fixture
def every(node: Node, answers: Answers) -> Facts:
    """Report of on_node/every.py on the node."""
    return answers.of(node.name, "every")


@pytest.fixture
def broker(node: Node, answers: Answers) -> Facts:
    """Report of on_node/broker.py on the node."""
    return answers.of(node.name, "broker")


@pytest.fixture
def client(node: Node, answers: Answers) -> Facts:
    """Report of on_node/client.py on the node."""
    return answers.of(node.name, "client")


@pytest.fixture
def gateway(node: Node, answers: Answers) -> Facts:
    """Report of on_node/gateway.py on the node."""
    return answers.of(node.name, "gateway")


@pytest.fixture
def monitor(node: Node, answers: Answers) -> Facts:
    """Report of on_node/monitor.py on the node."""
    return answers.of(node.name, "monitor")


@pytest.fixture
def database(node: Node, answers: Answers) -> Facts:
    """Report of on_node/database.py on the node."""
    return answers.of(node.name, "database")


@pytest.fixture
def settled(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The lab, healthy before and after a test that breaks something; the run ends if it does not recover."""
    try:
        wait_until_healthy(lab)
        yield lab
        wait_until_healthy(lab)
    except AssertionError as error:
        request.session.shouldfail = f"The lab did not recover, so no further test breaks something: {error}"
        raise
