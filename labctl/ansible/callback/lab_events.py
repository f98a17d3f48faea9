"""Ansible stdout callback: one JSON line per event, as labctl.ansible.playbooks reads it."""

import json
import os
from collections.abc import Mapping
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: lab_events
type: stdout
short_description: one JSON line per play, task, host result and recap
description:
  - A result is reduced to its status and, for a failure, a message; facts and file contents are never logged.
options: {}
"""

MESSAGE_LIMIT = 4000


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Prints events; stdout of a command only when LAB_EVENTS_STDOUT is set and the task may be logged."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "lab_events"

    def __init__(self) -> None:
        super().__init__()
        self._items: dict[tuple[str, str], list[str]] = {}

    def _event(self, event: str, **fields: object) -> None:
        self._display.display(json.dumps({"event": event, **fields}, default=str))

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._event("play", name=play.get_name().strip())

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool = False) -> None:  # noqa: ARG002
        self._event("task", name=task.get_name().strip(), action=task.action)

    v2_playbook_on_handler_task_start = v2_playbook_on_task_start

    def v2_runner_on_ok(self, result: Any) -> None:
        self._host(result, "changed" if result.is_changed() else "ok")

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        items = self._items.pop(self._key(result), [])
        message = "\n".join(items)[:MESSAGE_LIMIT] or failure_message(result.result)
        self._host(result, "ignored" if ignore_errors else "failed", message=message)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        label = result.result.get("_ansible_item_label", result.result.get("item", ""))
        message = f"({label}) {failure_message(result.result)}"
        self._items.setdefault(self._key(result), []).append(message)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._host(result, "unreachable", message=failure_message(result.result))

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._host(result, "skipped")

    def v2_runner_retry(self, result: Any) -> None:
        attempts, retries = result.result.get("attempts"), result.result.get("retries")
        self._event("retry", host=result.host.get_name(), attempt=attempts, retries=retries)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._event("stats", hosts={host: stats.summarize(host) for host in stats.processed})

    @staticmethod
    def _key(result: Any) -> tuple[str, str]:
        return result.host.get_name(), result.task._uuid

    def _host(self, result: Any, status: str, **fields: object) -> None:
        content = result.result
        if os.environ.get("LAB_EVENTS_STDOUT") and "stdout" in content and not result.task.no_log:
            fields["stdout"] = content["stdout"]
        self._event(
            "host", host=result.host.get_name(), status=status, task=result.task.get_name().strip(), **fields
        )


def failure_message(result: Mapping[str, Any]) -> str:
    """A failure for a person: its message, and the end of what the command printed."""
    parts = [str(result.get("msg", ""))]
    for stream in ("stdout", "stderr", "module_stdout", "module_stderr"):
        text = str(result.get(stream) or "").strip()
        if text and text not in parts:
            parts.append("\n".join(text.splitlines()[-15:]))
    return "\n".join(part for part in parts if part.strip())[:MESSAGE_LIMIT]
