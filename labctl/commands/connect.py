"""connect: lets a program on this machine publish tasks to an application, and read their results."""

from __future__ import annotations

import contextlib
import json
import shlex
import socket
import ssl
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from labctl import context as lab_context
from labctl.applications import deploy, entries
from labctl.context import Context
from labctl.errors import LabError, UsageError
from labctl.lab import state
from labctl.lab.files import write_private
from labctl.lab.lock import exclusive
from labctl.paths import DOCKER_INVENTORY, LabPaths
from labctl.substrates.containers import DockerSubstrate

AMQPS, DATABASE = 6671, 6432  # ports of the gateway, as in inventories/topology.yml and group_vars/all.yml
ANSWER_S = 5.0


def command(context: Context, name: str, *, off: bool) -> int:
    """Print the environment by which a program reaches the application `name`; or close the ports (`off`)."""
    lab_context.states(context)
    if off:
        return _close(context)
    if not name:
        raise UsageError("Give the name of an application: ./lab app list shows them.")
    entries.find(context.paths, name)
    ports = _ports(context)
    with exclusive(context.paths, "connect"):
        _open(context, ports[AMQPS])
    values = variables(context.paths, name, ports)
    if context.screen.json:
        print(json.dumps(values, indent=2))
    else:
        print("\n".join(f"export {key}={shlex.quote(value)}" for key, value in values.items()))
    return 0


def variables(paths: LabPaths, name: str, ports: dict[int, int]) -> dict[str, str]:
    """Environment variables for a program on this machine. ports: of the gateway -> of 127.0.0.1."""
    broker = quote(entries.password(paths, "broker", name), safe="")
    database = quote(entries.password(paths, "database", name), safe="")
    server = f"{name}:{database}@localhost:{ports[DATABASE]}/{name}"
    options = f"sslmode=verify-full&sslrootcert={quote(str(paths.ca))}"
    return {
        "CELERY_BROKER_URL": f"amqps://{name}:{broker}@127.0.0.1:{ports[AMQPS]}/{name}",
        "CELERY_RESULT_BACKEND": f"db+postgresql+psycopg://{server}?{options}",
        "DATABASE_URL": f"postgresql://{server}?{options}",
        "LAB_CA_FILE": str(paths.ca),
        # An AMQPS URL cannot name a CA.
        "SSL_CERT_FILE": str(_bundle(paths)),
    }


def _bundle(paths: LabPaths) -> Path:
    """The authorities that this machine trusts, and the lab's."""
    ours = paths.ca.read_text(encoding="utf-8")
    theirs = ""
    with contextlib.suppress(OSError):
        theirs = Path(ssl.get_default_verify_paths().openssl_cafile).read_text(encoding="utf-8")
    file = paths.state / "pki" / "trusted.pem"
    write_private(file, f"{theirs}\n{ours}")
    return file


def _ports(context: Context) -> dict[int, int]:
    """Port of 127.0.0.1 for each port of the first gateway. Raises UsageError."""
    substrate = context.substrate
    gateway = substrate.groups()["gateways"][0]
    if substrate.inventory != DOCKER_INVENTORY or not isinstance(substrate, DockerSubstrate):
        groups = substrate.groups()
        forwards = f"-L 8671:{groups['brokers'][0]}:5671 -L 8432:{groups['databases'][0]}:5432"
        login = " ".join(word for word in substrate.shell(gateway, ["true"])[1:-1])
        raise UsageError(
            "./lab connect publishes ports of containers, and these nodes are reached by SSH: forward the"
            f" ports with ssh -N {forwards} {login}, and use the passwords of the inventory."
        )
    container = substrate.containers().get(gateway)
    bound = container.attrs["HostConfig"]["PortBindings"] or {} if container else {}
    found = {
        port: bound[f"{port}/tcp"][0]["HostPort"] for port in (AMQPS, DATABASE) if f"{port}/tcp" in bound
    }
    if len(found) != 2:
        raise UsageError(
            f"{gateway} was created without the ports {AMQPS} and {DATABASE}: publish them in the"
            " topology, as inventories/topology.yml does, and run ./lab up, which creates it again."
        )
    return {port: int(host) for port, host in found.items()}


def _open(context: Context, port: int) -> None:
    known = state.read(context.paths)
    if known is None:
        raise UsageError(f"There is no lab {context.paths.name}; ./lab up creates it.")
    if known.connected and answers(port, context.paths):
        return
    state.write(context.paths, replace(known, connected=True))
    deploy.connection(_quiet(context), "open AMQPS and PostgreSQL on 127.0.0.1")
    if not answers(port, context.paths):
        raise LabError(
            f"Nothing answers on port {port} of 127.0.0.1; ./lab status shows the state of the gateway."
        )


def _close(context: Context) -> int:
    with exclusive(context.paths, "connect"):
        known = state.read(context.paths)
        if known and known.connected:
            state.write(context.paths, replace(known, connected=False))
        deploy.connection(_quiet(context), "close AMQPS and PostgreSQL on 127.0.0.1")
    return 0


def _quiet(context: Context) -> Context:
    """The same with steps on stderr: stdout is for the shell."""
    from labctl.screen import Screen

    return replace(context, screen=Screen(json=True))


def answers(port: int, paths: LabPaths) -> bool:
    """Whether a server with a certificate of the lab answers on this port of 127.0.0.1."""
    trust = ssl.create_default_context(cafile=str(paths.ca))
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S) as plain,
            trust.wrap_socket(plain, server_hostname="127.0.0.1"),
        ):
            return True
    except OSError:
        return False
