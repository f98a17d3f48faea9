"""The filter that writes the environment of an application as a file for systemd."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from ansible.errors import AnsibleFilterError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Set by the role celery_worker for each worker, and by this role.
_RESERVED = re.compile(r"WORKER_(QUEUES|CONCURRENCY|PREFETCH|OPTIONS)|CELERY_(BROKER_URL|RESULT_BACKEND)")
_FIELD = re.compile(r"\{(\w+)\}")


def own_values(name: str, broker: Mapping[str, Any], database: Mapping[str, Any]) -> dict[str, str]:
    """What an application can refer to.

    broker: address and password. database: host, port, password and ca_file.
    """
    login = f"{name}:{quote(str(database['password']), safe='')}"
    server = f"{login}@{database['host']}:{database['port']}/{name}"
    options = f"sslmode=verify-full&sslrootcert={database['ca_file']}"
    return {
        "broker_url": f"amqp://{name}:{quote(str(broker['password']), safe='')}@{broker['address']}/{name}",
        "result_backend": f"db+postgresql+psycopg://{server}?{options}",
        "database_url": f"postgresql://{server}?{options}",
        "database_host": str(database["host"]),
        "database_port": str(database["port"]),
        "database_name": name,
        "database_user": name,
        "database_password": str(database["password"]),
        "ca_file": str(database["ca_file"]),
        "data_dir": f"/var/lib/{name}",
    }


def environment(
    application: Mapping[str, Any], broker: Mapping[str, Any], database: Mapping[str, Any]
) -> str:
    """Lines NAME="VALUE" for EnvironmentFile=; an error for a name or a field of a value that cannot be."""
    values = own_values(application["name"], broker, database)
    wanted = {"CELERY_BROKER_URL": values["broker_url"], "CELERY_RESULT_BACKEND": values["result_backend"]}
    for name, value in (application.get("environment") or {}).items():
        where = f"environment of the application {application['name']}: {name}"
        if not _NAME.fullmatch(name):
            raise AnsibleFilterError(f"{where} is no name of a variable; use letters, digits and _.")
        if _RESERVED.fullmatch(name):
            raise AnsibleFilterError(f"{where} is set by the lab; remove it there.")
        wanted[name] = _filled(str(value), values, where)
    return "\n".join(f"{name}={_quoted(value)}" for name, value in wanted.items())


def _filled(value: str, values: Mapping[str, str], where: str) -> str:
    def field(found: re.Match[str]) -> str:
        if found[1] not in values:
            raise AnsibleFilterError(f"{where} has {found[0]}; there are {', '.join(sorted(values))}.")
        return values[found[1]]

    return _FIELD.sub(field, value)


def _quoted(value: str) -> str:
    """The value in double quotes, as systemd.exec(5) reads it; it may have several lines."""
    return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'


class FilterModule:
    """The class that Ansible loads."""

    def filters(self) -> dict[str, Any]:
        """The filters, by their names in templates."""
        return {"celery_app_environment": environment}
