"""Runs playbooks: their environment, their progress, and a log of each run."""

import importlib.util
import itertools
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from labctl.ansible.failures import Failure, explain, refusals
from labctl.errors import LabError, UsageError
from labctl.lab.files import make_private, shown
from labctl.paths import DOCKER_INVENTORY, ROOT, LabPaths
from labctl.programs import process, surroundings
from labctl.screen import Step

KEPT_LOGS = 40
_numbers = itertools.count(1)


@dataclass
class Run:
    """What a playbook did: recap ({host: {"ok", "changed", ...}}), failures, stdout by host, other lines."""

    playbook: str
    log: Path
    recap: dict[str, dict[str, int]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    stdout: dict[str, str] = field(default_factory=dict)
    noise: list[str] = field(default_factory=list)

    @property
    def changed(self) -> int:
        """Changed tasks over all hosts."""
        return sum(host.get("changed", 0) for host in self.recap.values())

    def summary(self) -> str:
        """One line for the screen."""
        return f"{len(self.recap)} hosts, changed={self.changed}"


def environment(
    paths: LabPaths, *, mitogen: bool = True, extra: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Environment of an Ansible process that works on this lab."""
    result = surroundings.environment()
    result |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{result['PATH']}",
        "LAB_NAME": paths.name,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_DEPRECATION_WARNINGS": "0",
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0",
    }
    spec = importlib.util.find_spec("ansible_mitogen")
    if mitogen and os.environ.get("LAB_MITOGEN", "1") != "0" and spec and spec.submodule_search_locations:
        strategies = Path(spec.submodule_search_locations[0]) / "plugins" / "strategy"
        result |= {"ANSIBLE_STRATEGY_PLUGINS": str(strategies), "ANSIBLE_STRATEGY": "mitogen_linear"}
    return result | dict(extra or {})


def run(
    paths: LabPaths,
    name: str,
    step: Step,
    *,
    inventory: Path = DOCKER_INVENTORY,
    arguments: Sequence[str] = (),
    variables: Mapping[str, object] | None = None,
    extra_environment: Mapping[str, str] | None = None,
    keep_stdout: bool = False,
) -> Run:
    """Run `playbooks/<name>`; raises LabError with task, host, message and log path when it fails, and
    UsageError with the reason where a host is not fit and nothing was touched.
    """
    extra = {
        "ANSIBLE_STDOUT_CALLBACK": "lab_events",
        "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).with_name("callback")),
        **(extra_environment or {}),
        **({"LAB_EVENTS_STDOUT": "1"} if keep_stdout else {}),
    }
    surroundings = environment(paths, mitogen=not name.startswith("substrate/"), extra=extra)
    command = ["ansible-playbook", "--inventory", str(inventory), str(ROOT / "playbooks" / name), *arguments]
    if variables:
        command += ["--extra-vars", json.dumps(variables)]
    log, log_path = _open_log(paths, name)
    with log:
        reader = _Reader(Run(name, log_path), step, log)
        log.write(f"$ {' '.join(command)}\n")
        status = process.stream(command, reader.line, environment=surroundings)
    done = reader.run
    if status != 0:
        unfit = list(dict.fromkeys(refusals(done.failures)))
        if unfit:
            raise UsageError("\n".join([*unfit, f"  log: {shown(log_path)}"]))
        raise LabError(explain(name, status, done.failures, done.noise, shown(log_path)))
    return done


class _Reader:
    """Turns the lines of the lab_events callback into a Run, its log, and the step's detail."""

    def __init__(self, run: Run, step: Step, log: TextIO) -> None:
        self.run = run
        self._step = step
        self._log = log
        self._play = self._task = ""
        self._done = 0
        self._started = time.monotonic()

    def line(self, text: str) -> None:
        event: dict[str, Any] = {}
        if text.startswith('{"event":'):
            try:
                event = json.loads(text)
            except ValueError:
                event = {}
        handler = getattr(self, f"_on_{event.get('event', '')}", None)
        if handler is not None:
            handler(event)
            self._log.flush()
        elif text.strip():
            self.run.noise.append(text)
            self._log.write(f"{text}\n")

    def _on_play(self, event: dict[str, Any]) -> None:
        self._play = event["name"]
        self._write(f"\nPLAY {self._play}")
        self._step.update(self._play)

    def _on_task(self, event: dict[str, Any]) -> None:
        self._task, self._done = event["name"], 0
        self._write(f"TASK {self._task} ({event['action']})")
        self._step.update(f"{self._play} · {self._task}")

    def _on_host(self, event: dict[str, Any]) -> None:
        host, status, message = event["host"], event["status"], event.get("message", "")
        self._done += 1
        indented = "".join(f"\n      {line}" for line in message.splitlines())
        self._write(f"  {status}: {host}{indented}")
        if status in ("failed", "unreachable"):
            self.run.failures.append(Failure(host, event["task"], message, self._play))
        if "stdout" in event:
            self.run.stdout[host] = event["stdout"]
        self._step.update(f"{self._play} · {self._task} · {host} ({self._done} done)")

    def _on_retry(self, event: dict[str, Any]) -> None:
        self._step.update(
            f"{self._play} · {self._task} · {event['host']} waits ({event['attempt']}/{event['retries']})"
        )

    def _on_stats(self, event: dict[str, Any]) -> None:
        self.run.recap = event["hosts"]
        self._write("\nRECAP")
        for host, numbers in sorted(self.run.recap.items()):
            self._write(f"  {host}: " + " ".join(f"{key}={value}" for key, value in numbers.items()))

    def _write(self, text: str) -> None:
        self._log.write(f"[{time.monotonic() - self._started:6.1f}] {text}\n")


def _open_log(paths: LabPaths, name: str) -> tuple[TextIO, Path]:
    make_private(paths.state)
    logs = paths.state / "logs"
    make_private(logs)
    for old in sorted(logs.glob("*.log"))[:-KEPT_LOGS]:
        old.unlink(missing_ok=True)
    stem = name.removesuffix(".yml").replace("/", "-")
    path = logs / f"{time.strftime('%Y%m%d-%H%M%S')}-{stem}-{os.getpid()}-{next(_numbers)}.log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    return os.fdopen(descriptor, "w", encoding="utf-8"), path
