"""A vhost and a user on the brokers for programs of ./lab, which can reach nothing else there."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from labctl.errors import LabError
from labctl.programs.remote import output
from labctl.substrates.base import Substrate

# One of a command that was killed.
_FORGET = "rabbitmqctl --quiet delete_vhost {name} > /dev/null 2>&1 || true\n"
# RabbitMQ's commands run as its own user, which must be able to read the file.
_IMPORT = """set -e
file=$(mktemp); trap 'rm -f "$file"' EXIT; chown rabbitmq "$file"
cat > "$file"; rabbitmqctl --quiet import_definitions "$file" < /dev/null"""
_DELETE = "rabbitmqctl --quiet delete_vhost {name} && rabbitmqctl --quiet delete_user {name}"
_RIGHTS = ("configure", "write", "read")


@contextmanager
def vhost(substrate: Substrate, name: str) -> Iterator[str]:
    """Create a vhost and a user of this name, and delete both at the end; gives the password of the user."""
    password = secrets.token_urlsafe(24)
    try:
        _run(substrate, _FORGET.format(name=name) + _IMPORT, json.dumps(_definitions(name, password)))
        yield password
    except BaseException:
        with suppress(LabError):  # the first error is the one to report
            _run(substrate, _DELETE.format(name=name))
        raise
    _run(substrate, _DELETE.format(name=name))


def _definitions(name: str, password: str) -> dict[str, object]:
    everything, nothing = dict.fromkeys(_RIGHTS, ".*"), dict.fromkeys(_RIGHTS, "^$")
    return {
        "vhosts": [{"name": name}],
        # The least tag that may use the management API, where it sees its own vhosts only.
        "users": [{"name": name, "password": password, "tags": "management"}],
        "permissions": [
            {"user": name, "vhost": name, **everything},
            {"user": "monitor", "vhost": name, **nothing},  # so that the pages of the lab show the vhost
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
