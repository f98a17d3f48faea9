"""Filters that convert the role's variables to RabbitMQ definitions and compare these with a broker."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

Definition = dict[str, Any]
_EVERYTHING = r"^(?!amq\.rabbitmq\.)"


def password_hash(name: str, password: object) -> str:
    """RabbitMQ's salted SHA-256 of a password, base64 (https://www.rabbitmq.com/docs/passwords).

    A YAML number is taken as text. The salt is derived from name and password, so that the same input gives
    the same definitions file.
    """
    salt = hashlib.sha256(f"{name}\0{password}".encode()).digest()[:4]
    return base64.b64encode(salt + hashlib.sha256(salt + str(password).encode()).digest()).decode()


def user_definitions(users: Iterable[Mapping[str, Any]]) -> list[Definition]:
    """The `users` of a definitions file, from dicts with name, password and, for operators, tags.

    A user with permissions in several vhosts comes several times and is declared once.
    """
    return [
        {
            "name": user["name"],
            "password_hash": password_hash(user["name"], user["password"]),
            "hashing_algorithm": "rabbit_password_hashing_sha256",
            "tags": list(user.get("tags", [])),
        }
        for user in {user["name"]: user for user in users}.values()
    ]


def vhost_definition(name: str, queue_type: str = "quorum") -> Definition:
    """An entry of `vhosts`; a queue that is declared without a type gets this one."""
    # The broker imports the value in `metadata`, and exports it in both places.
    return {"name": name, "default_queue_type": queue_type, "metadata": {"default_queue_type": queue_type}}


def application_users(passwords: Mapping[str, str]) -> list[Definition]:
    """Users of applications that declare their own queues: each may do everything in the vhost of its name.

    Except in the exchanges amq.rabbitmq.*, with which the broker traces the messages of a vhost.
    """
    permissions = dict.fromkeys(("configure", "write", "read"), _EVERYTHING)
    return [
        {"name": name, "password": password, "vhost": name, **permissions}
        for name, password in passwords.items()
    ]


def undeclared_applications(
    actual: Mapping[str, list[Definition]], passwords: Mapping[str, str]
) -> list[str]:
    """Applications that have permissions as application_users gives them, but are no longer declared."""
    return sorted(
        entry["user"]
        for entry in actual.get("permissions", [])
        if entry["user"] == entry["vhost"]
        and entry["user"] not in passwords
        and {entry["configure"], entry["write"], entry["read"]} == {_EVERYTHING}
    )


def permission_definitions(users: Iterable[Mapping[str, Any]]) -> list[Definition]:
    """The `permissions` of a definitions file, from dicts with name, vhost, configure, write and read."""
    return [
        {"user": user["name"], **{key: user[key] for key in ("vhost", "configure", "write", "read")}}
        for user in users
    ]


def operator_permission(user_and_vhost: tuple[str, str]) -> Definition:
    """Permissions of an operator in one vhost: all for `admin`, none for others, whose tag lets them read."""
    user, vhost = user_and_vhost
    pattern = ".*" if user == "admin" else "^$"
    return {"user": user, "vhost": vhost, "configure": pattern, "write": pattern, "read": pattern}


def missing(declared: Mapping[str, list[Definition]], actual: Mapping[str, list[Definition]]) -> list[str]:
    """Declared objects that the broker lacks or has with other values, each as `section/name`.

    The broker has a declared object when an actual object of the same section has all its keys and values.
    Objects that are not declared are ignored.
    """
    return [
        f"{section}/{wanted.get('name') or wanted.get('user')}"
        for section, definitions in declared.items()
        for wanted in definitions
        if not any(_holds(have, wanted) for have in actual.get(section, []))
    ]


def _holds(have: Mapping[str, Any], wanted: Definition) -> bool:
    return all(_equal(have.get(key), value) for key, value in wanted.items() if key != "metadata")


def brokers_that_know(answers: Iterable[Mapping[str, Any]], node: str) -> list[str]:
    """Hosts whose broker lists `node` as a member; `answers` are looped `uri` results of /api/nodes."""
    return [
        answer["item"]
        for answer in answers
        if answer.get("status") == 200 and any(member["name"] == node for member in answer["json"])
    ]


def lost_members(answers: Iterable[Mapping[str, Any]], empty: Iterable[str]) -> list[str]:
    """Hosts of `empty` that a broker still lists as members; `answers` as for brokers_that_know."""
    known = list(answers)
    return [host for host in empty if brokers_that_know(known, f"rabbit@{host}")]


def _equal(have: Any, want: Any) -> bool:
    if isinstance(want, list) and isinstance(have, str):  # before 3.9, tags were a comma-separated string
        have = [part for part in have.split(",") if part]
    return bool(have == want)


class FilterModule:
    """The class that Ansible loads."""

    def filters(self) -> dict[str, Any]:
        """The filters, by their names in templates."""
        return {
            "rabbitmq_application_users": application_users,
            "rabbitmq_brokers_that_know": brokers_that_know,
            "rabbitmq_lost_members": lost_members,
            "rabbitmq_missing_definitions": missing,
            "rabbitmq_operator_permission": operator_permission,
            "rabbitmq_permission_definitions": permission_definitions,
            "rabbitmq_undeclared_applications": undeclared_applications,
            "rabbitmq_user_definitions": user_definitions,
            "rabbitmq_vhost_definition": vhost_definition,
        }
