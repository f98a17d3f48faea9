"""The filters that build RabbitMQ's definitions and compare them with those of a broker."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROLE = Path(__file__).resolve().parents[2] / "roles" / "rabbitmq"
FILE = ROLE / "filter_plugins" / "rabbitmq.py"

PATTERNS = {"configure": "^a", "write": "^b", "read": "^c"}
MOSAIC = {"name": "mosaic", "password": "s3cret", "vhost": "lab", **PATTERNS}


@pytest.fixture(scope="module")
def filters() -> ModuleType:
    """The plugin file, loaded by its path as Ansible does."""
    spec = importlib.util.spec_from_file_location("rabbitmq_filters", FILE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_hash_is_the_brokers_own_algorithm(filters: ModuleType) -> None:
    """salt (4 bytes) + sha256(salt + password): https://www.rabbitmq.com/docs/passwords"""
    raw = base64.b64decode(filters.password_hash("mosaic", "s3cret"))
    assert len(raw) == 36
    assert raw[4:] == hashlib.sha256(raw[:4] + b"s3cret").digest()


def test_hash_is_the_same_in_the_next_run_and_differs_by_user(filters: ModuleType) -> None:
    assert filters.password_hash("a", "x") == filters.password_hash("a", "x")
    assert filters.password_hash("a", "x") != filters.password_hash("b", "x")
    assert filters.password_hash("a", "x") != filters.password_hash("a", "y")


def test_hash_of_a_password_that_is_not_ascii(filters: ModuleType) -> None:
    raw = base64.b64decode(filters.password_hash("a", "pässwörd€"))
    assert raw[4:] == hashlib.sha256(raw[:4] + "pässwörd€".encode()).digest()


def test_user_definitions_hold_no_password(filters: ModuleType) -> None:
    (user,) = filters.user_definitions([MOSAIC])
    assert "s3cret" not in str(user)
    assert user["name"] == "mosaic"
    assert user["tags"] == []
    assert user["hashing_algorithm"] == "rabbit_password_hashing_sha256"


def test_user_definitions_keep_tags(filters: ModuleType) -> None:
    (user,) = filters.user_definitions([{"name": "admin", "password": "x", "tags": ["administrator"]}])
    assert user["tags"] == ["administrator"]


@pytest.mark.parametrize(("given", "wanted"), [((), "quorum"), (("classic",), "classic")])
def test_vhost_has_a_type_of_queues(filters: ModuleType, given: tuple[str, ...], wanted: str) -> None:
    found = filters.vhost_definition("lab", *given)
    assert found == {"name": "lab", "default_queue_type": wanted, "metadata": {"default_queue_type": wanted}}


def test_permission_definition(filters: ModuleType) -> None:
    (permission,) = filters.permission_definitions([MOSAIC])
    assert permission == {"user": "mosaic", "vhost": "lab", **PATTERNS}


@pytest.mark.parametrize(("user", "pattern"), [("admin", ".*"), ("monitor", "^$")])
def test_operator_permission(filters: ModuleType, user: str, pattern: str) -> None:
    found = filters.operator_permission((user, "lab"))
    assert found == {"user": user, "vhost": "lab", "configure": pattern, "write": pattern, "read": pattern}


def declared(**policy: Any) -> dict[str, list[dict[str, Any]]]:
    """Definitions with one of each kind."""
    return {
        "users": [{"name": "mosaic", "password_hash": "h", "tags": []}],
        "vhosts": [{"name": "lab", "default_queue_type": "quorum", "metadata": {"tags": []}}],
        "permissions": [{"user": "mosaic", "vhost": "lab", "configure": "a"}],
        "policies": [{"name": "p", "vhost": "lab", "definition": {"delivery-limit": 5}, **policy}],
    }


def test_nothing_is_missing_from_a_broker_that_holds_it_all_and_more(filters: ModuleType) -> None:
    actual = declared()
    actual["users"] = [{"name": "other"}, {**actual["users"][0], "limits": {}, "hashing_algorithm": "x"}]
    actual["vhosts"] = [{"name": "lab", "default_queue_type": "quorum", "metadata": {}}]
    actual["queues"] = [{"name": "q"}]
    assert filters.missing(declared(), actual) == []


def test_an_empty_broker_misses_everything(filters: ModuleType) -> None:
    everything = ["users/mosaic", "vhosts/lab", "permissions/mosaic", "policies/p"]
    assert filters.missing(declared(), {}) == everything


def test_a_changed_value_is_missing(filters: ModuleType) -> None:
    assert filters.missing(declared(definition={"delivery-limit": 6}), declared()) == ["policies/p"]


def test_the_same_name_in_another_vhost_is_missing(filters: ModuleType) -> None:
    actual = declared()
    actual["permissions"] = [{**actual["permissions"][0], "vhost": "/"}]
    assert filters.missing(declared(), actual) == ["permissions/mosaic"]


@pytest.mark.parametrize(
    ("held", "lacks"), [("administrator", []), ("", ["users/a"]), ("x,administrator", ["users/a"])]
)
def test_tags_of_an_old_broker_are_a_string(filters: ModuleType, held: str, lacks: list[str]) -> None:
    wanted = {"users": [{"name": "a", "tags": ["administrator"]}]}
    assert filters.missing(wanted, {"users": [{"name": "a", "tags": held}]}) == lacks


def test_applications_that_are_no_longer_declared(filters: ModuleType) -> None:
    users = filters.application_users({"shop": "x", "blog": "y"})
    actual = filters.permission_definitions(users)
    others = [
        {"user": "mosaic", "vhost": "mosaic", "configure": "^mosaic", "write": "", "read": ""},
        {**actual[0], "user": "admin"},
        {**actual[0], "user": "own", "vhost": "own", "read": ".*"},
    ]
    found = filters.undeclared_applications({"permissions": [*actual, *others]}, {"blog": "y"})
    assert found == ["shop"]
    assert filters.undeclared_applications({}, {}) == []


def test_brokers_that_know_a_node(filters: ModuleType) -> None:
    answers = [
        {"item": "broker-1", "status": 200, "json": [{"name": "rabbit@a"}, {"name": "rabbit@broker-3"}]},
        {"item": "broker-2", "status": 200, "json": [{"name": "rabbit@broker-2"}]},
        {"item": "broker-4", "status": -1},
        {"item": "broker-5", "status": 401, "json": {"error": "not_authorized"}},
    ]
    assert filters.brokers_that_know(answers, "rabbit@broker-3") == ["broker-1"]


def test_ansible_finds_every_filter(filters: ModuleType) -> None:
    texts = [file.read_text() for file in ROLE.rglob("*.yml")] + [
        file.read_text() for file in ROLE.rglob("*.j2")
    ]
    used = {name for text in texts for name in re.findall(r"(?:\| *|map\(')(rabbitmq_\w+)", text)}
    found = filters.FilterModule().filters()
    assert used == set(found), "each filter that the role uses is there, and no other"
    assert all(callable(function) for function in found.values())
