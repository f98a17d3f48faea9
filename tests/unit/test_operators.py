"""A broker that knows the old password of an operator gets the new one before its cluster is asked.

The tasks of the role run here, against an API and a rabbitmqctl of this test.
"""

from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from labctl.testing import hostile
from tests.unit.rendering import ROOT
from tests.unit.test_broker_check import make_certificate

PASSWORDS = {"admin": hostile.secret("broker_admin", 1), "monitor": hostile.secret("broker_monitor", 1)}
ANSWERS: dict[str, object] = {
    "/api/whoami": {},
    "/api/nodes": [{"name": "rabbit@localhost", "running": True}],
    "/api/feature-flags": [{"name": "khepri_db", "state": "enabled"}],
}


class Api:
    """RabbitMQ's API, which accepts an operator's new password when `imported` exists."""

    def __init__(self, folder: Path, stale: tuple[str, ...]) -> None:
        imported = folder / "imported"
        refused: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                login = base64.b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode()
                user, _, password = login.partition(":")
                known = password == PASSWORDS[user] and (user not in stale or imported.exists())
                body = ANSWERS[self.path] if known else {"error": "not_authorized", "reason": "Login failed"}
                if not known:
                    refused.append(self.path)
                text = json.dumps(body).encode()
                self.send_response(200 if known else 401)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        self.refused = refused
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "host.pem", folder / "host.key")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a certificate and a rabbitmqctl that notes what it is asked."""
    make_certificate(tmp_path)
    program = tmp_path / "rabbitmqctl"
    program.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/asked\ntouch {tmp_path}/imported\n')
    program.chmod(0o755)
    return tmp_path


def run(folder: Path, api: Api) -> str:
    """Output of the tasks, which must pass."""
    done = {"changed": False}
    variables = {
        "rabbitmq_nodes": ["localhost"],
        "rabbitmq_management_port": api.server.server_address[1],
        "rabbitmq_tls_directory": str(folder),
        "__rabbitmq_resumed": done,
        "__rabbitmq_started": done,
        "ansible_python_interpreter": sys.executable,
    }
    roles = [
        {"ansible.builtin.include_role": {"name": "rabbitmq", "tasks_from": name}}
        for name in ("operators", "cluster", "feature_flags")
    ]
    (folder / "secrets.yml").write_text(
        "".join(f"rabbitmq_{user}_password: !unsafe {json.dumps(text)}\n" for user, text in PASSWORDS.items())
    )
    (folder / "play.yml").write_text(
        json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": roles}])
    )
    ended = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-playbook")),
            "--inventory=localhost,",
            "--connection=local",
            f"--extra-vars={json.dumps(variables)}",
            f"--extra-vars=@{folder / 'secrets.yml'}",
            str(folder / "play.yml"),
        ],
        check=False,
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
            "ANSIBLE_NOCOLOR": "1",
        },
        cwd=folder,
    )
    api.server.shutdown()
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-1000:]
    return ended.stdout


@pytest.mark.parametrize("stale", [("monitor",), ("admin",), ("admin", "monitor")])
def test_new_passwords_are_imported_before_the_cluster_is_asked(folder: Path, stale: tuple[str, ...]) -> None:
    api = Api(folder, stale)
    output = run(folder, api)
    assert (folder / "asked").read_text() == "--quiet import_definitions /etc/rabbitmq/definitions.json\n"
    assert set(api.refused) == {"/api/whoami"}
    assert not any(password in output for password in PASSWORDS.values())


def test_known_passwords_import_nothing(folder: Path) -> None:
    api = Api(folder, ())
    assert "changed=0" in run(folder, api)
    assert not (folder / "asked").exists()
    assert not api.refused
