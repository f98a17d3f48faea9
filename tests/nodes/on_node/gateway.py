"""Print the answers of a gateway, and the workers that execute tasks published on it, as JSON.

Runs on the node; standard library only.

    gateway.py '{"name": own name, "units": [..], "hosts": [log senders], "probe": [worker, ..],
                 "recent_s": age of a tick, "proxied": [path, ..]}'
"""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

CONFIG = tomllib.loads(Path("/etc/mosaic/mosaic.toml").read_text())["gateway"]
CONTEXT = ssl.create_default_context(cafile="/etc/warren/pki/ca.pem")
PATIENCE = float(json.loads(sys.argv[1]).get("patience", 1))  # factor for time limits on slow hosts
PROBE_S = 20 * PATIENCE
FIRST_TICK_S = 25 * PATIENCE


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Handles a redirect as an answer."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow no redirect."""


OPENER = urllib.request.build_opener(
    NoRedirect(), urllib.request.HTTPSHandler(context=CONTEXT), urllib.request.ProxyHandler({})
)


def request(url: str, login: str = "", accept: str = "application/json") -> dict[str, Any]:
    """Status, location and decoded body of GET."""
    wanted = urllib.request.Request(url, headers={"Accept": accept})
    if login:
        wanted.add_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    try:
        answer = OPENER.open(wanted, timeout=10 * PATIENCE)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        body = answer.read().decode(errors="replace")
        try:
            content = json.loads(body)
        except ValueError:
            content = body[:200]
        return {"status": answer.status, "location": answer.headers.get("Location", ""), "body": content}


def proxied(url: str, login: str) -> dict[str, Any]:
    """Answers of an authenticated proxy: to a browser and a program without a login, and to the user."""
    return {
        "browser": request(url, accept="text/html"),
        "program": request(url),
        "user": request(url, login, accept="text/html"),
    }


def beat(url: str, login: str, recent_s: float) -> dict[str, Any]:
    """The latest tick; waits while there is none, or only one from before beat started."""
    deadline = time.monotonic() + FIRST_TICK_S
    while True:
        answer = request(url, login)
        ticked = answer["status"] == 200 and answer["body"]["age_seconds"] < recent_s
        if ticked or time.monotonic() > deadline:
            return answer
        time.sleep(0.5)


def active(units: list[str]) -> dict[str, str]:
    """State of each unit."""
    done = subprocess.run(["systemctl", "is-active", *units], check=False, capture_output=True, text=True)
    return dict(zip(units, done.stdout.split(), strict=True))


def probe(hosts: list[str]) -> dict[str, Any]:
    """Exit status, records and stderr of `mosaic probe`."""
    command = [
        "runuser",
        "-u",
        "mosaic",
        "--",
        "/opt/mosaic/venv/bin/mosaic",
        "probe",
        "--timeout",
        str(PROBE_S),
    ]
    done = subprocess.run([*command, *hosts], check=False, capture_output=True, text=True, cwd="/")
    records = json.loads(done.stdout) if done.stdout.startswith("[") else []
    return {"status": done.returncode, "records": records, "complaint": done.stderr.strip()[-500:]}


def main() -> None:
    """Print the report."""
    wanted = json.loads(sys.argv[1])
    base = f"https://{wanted['name']}"
    login = f"{CONFIG['username']}:{CONFIG['password']}"
    report = {
        "units": active(wanted["units"]),
        "health": request(f"{base}/healthz"),
        "page": request(f"{base}/", accept="text/html"),
        "api": request(f"{base}/api/jobs"),
        "wrong login": request(f"{base}/api/jobs", f"{CONFIG['username']}:wrong"),
        "right login": request(f"{base}/api/jobs?limit=1", login)["status"],
        "proxied": {path: proxied(f"{base}/{path}/", login) for path in wanted["proxied"]},
        "beat": beat(f"{base}/api/beat", login, wanted["recent_s"]),
        "logs": {
            host: request(f"{base}/api/logs?limit=1&host={host}", login)["body"] for host in wanted["hosts"]
        },
        "probe": probe(wanted["probe"]) if wanted["probe"] else None,
    }
    print(json.dumps(report))


main()
