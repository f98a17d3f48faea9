"""The vhost and the user of the tour on the brokers: the lessons can reach nothing else there."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from labctl.errors import LabError
from labctl.programs.remote import output
from labctl.substrates.base import Substrate

NAME = "tour"  # of the vhost and of the user
# RabbitMQ's commands run as its own user, which must be able to read the file.
_IMPORT = """set -e
file=$(mktemp); trap 'rm -f "$file"' EXIT; chown rabbitmq "$file"
cat > "$file"; rabbitmqctl --quiet import_definitions "$file" < /dev/null"""
_DELETE = f"rabbitmqctl --quiet delete_vhost {NAME} && rabbitmqctl --quiet delete_user {NAME}"
_RIGHTS = ("configure", "write", "read")


@contextmanager
def vhost(substrate: Substrate) -> Iterator[str]:
    """Create the vhost and its user, and delete both at the end; gives the password of the user."""
    password = secrets.token_urlsafe(24)
    _run(substrate, _IMPORT, json.dumps(_definitions(password)))
    try:
        yield password
    finally:
        _run(substrate, _DELETE)


def _definitions(password: str) -> dict[str, object]:
    everything, nothing = dict.fromkeys(_RIGHTS, ".*"), dict.fromkeys(_RIGHTS, "^$")
    return {
        "vhosts": [{"name": NAME}],
        # The least tag that may use the management API, where it sees its own vhosts only.
        "users": [{"name": NAME, "password": password, "tags": "management"}],
        "permissions": [
            {"user": NAME, "vhost": NAME, **everything},
            {"user": "monitor", "vhost": NAME, **nothing},  # so that the pages of the lab show the vhost
        ],
    }


def _run(substrate: Substrate, script: str, stdin: str = "") -> None:
    """Run a script on the first broker where it passes."""
    brokers = substrate.groups()["brokers"]
    for broker in brokers:
        try:
            output(substrate, broker, ["sh", "-c", script], stdin=stdin)
        except LabError:
            if broker == brokers[-1]:
                raise
        else:
            return
