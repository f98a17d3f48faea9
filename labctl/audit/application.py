"""Reads the configuration of an application, in a separate process with the application's Python."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from labctl.errors import UsageError
from labctl.paths import ROOT
from labctl.programs import child

PROBE = Path(__file__).with_name("probe.py")
TABLE = ROOT / "celery_durable" / "src" / "celery_durable" / "settings.py"


def read(
    folder: Path, interpreter: Path, app: str, limit: float, variables: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Import the application of a folder within `limit` seconds, and return its configuration.

    name: MODULE:NAME. celery, python: versions. prefix: of the names of settings, for example CELERY_.
    configuration: setting -> effective value, without passwords. settings: celery_durable's table, with the
    result for each setting. tasks, queues, beat: one document for each. consumed: names of queues that a
    worker must consume. custom_backend, own_tls: whether the application chooses its result backend by class,
    and TLS for its broker. sqlite: the file of Django's database, or "". `variables` of the environment:
    those of a lab, if they set the broker. Raises UsageError.
    """
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "application.json"
        command = [str(interpreter), "-I", "-B", str(PROBE), str(folder), str(output), str(TABLE)]
        with Path(scratch, "log").open("w+", encoding="utf-8", errors="replace") as log:
            status = _run([*command, *([app] if app else [])], folder, log, limit, variables or {})
            log.seek(0)
            last = log.read().strip().splitlines()[-1:] or ["no message"]
        if not output.exists():
            raise UsageError(
                f"The process that imports the application in {folder} ended with status {status},"
                f" {last[0]}: correct the error, or give --python with the application's Python."
            )
        found: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    if "error" in found:
        raise UsageError(
            _refusal(folder, app, found["error"], by_lab="CELERY_BROKER_URL" in (variables or {}))
        )
    return found


def _run(command: list[str], folder: Path, log: IO[str], limit: float, variables: Mapping[str, str]) -> int:
    """Run the command and end all of its processes. Returns its exit status. UsageError after `limit` s."""
    guarded = [sys.executable, "-I", child.__file__, str(os.getpid()), *command]
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": subprocess.STDOUT}
    streams["env"] = {**os.environ, **variables}
    with subprocess.Popen(guarded, cwd=folder, start_new_session=True, **streams) as process:
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            raise UsageError(
                f"The application in {folder} was not imported within {limit:g} s: start the service that"
                " it waits for, for example a database, or increase --timeout."
            ) from None
        finally:
            process.terminate()  # child.py ends the rest
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(2 * child.GRACE_S)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _refusal(folder: Path, app: str, error: dict[str, Any], *, by_lab: bool) -> str:
    if "cause" in error:
        return (
            f"The application in {folder} cannot be imported, {error['cause']}{error['where']}: correct"
            " the error, or export the environment variables that the application needs. Then try again."
        )
    if "transport" in error and by_lab:
        return (
            f"The broker of {error['name']} is {error['transport']}, because broker_read_url,"
            " broker_write_url or broker_transport has precedence over CELERY_BROKER_URL, by which the"
            " lab sets"
            " RabbitMQ: set broker_url instead of them."
        )
    if "transport" in error:
        return (
            f"The broker of {error['name']} is {error['transport']}, and the audit has rules for"
            " RabbitMQ only: set CELERY_BROKER_URL=amqp://localhost// for this command (it overrides"
            " broker_url), or set broker_url in the application."
        )
    if len(error["found"]) > 1:
        names = ", ".join(error["found"])
        return f"{folder} has {len(error['found'])} Celery instances, {names}: choose one with --app."
    what = f"{app} is not a Celery instance" if app else f"No Celery instance was found in {folder}"
    return f"{what}: name it with --app MODULE:NAME, as for celery -A."
