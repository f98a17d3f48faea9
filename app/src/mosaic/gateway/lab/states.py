"""From what the watchers saw to the states of hosts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from mosaic.gateway.lab.brokers import BrokerCheck
from mosaic.gateway.lab.ledger import LedgerReading
from mosaic.gateway.lab.rates import Rates
from mosaic.gateway.lab.schemas import (
    BeatState,
    BrokerState,
    InstanceState,
    ProxyServer,
    State,
    WorkerState,
)
from mosaic.ledger.heartbeats import BEAT, WORKER, Process
from mosaic.ledger.periodic import TICK

# A heartbeat comes each second. One that is this late is later than a busy machine explains.
SILENT_SECONDS = 2.25
TICK_LATE_SECONDS = 45.0
NO_DATABASE = "the database does not answer, so nobody knows"
NEVER_SEEN = "no heartbeat yet"


def proxy_servers(found: Mapping[str, Any] | None) -> list[ProxyServer] | None:
    """Return what a proxy says of the brokers, by name."""
    if found is None:
        return None
    return [
        ProxyServer(broker=name, state=str(server["state"]), sessions=int(server["sessions"]))
        for name, server in sorted(found.items())
    ]


def broker_states(
    checks: Iterable[BrokerCheck], nodes: list[dict[str, Any]], queues: list[dict[str, Any]]
) -> list[BrokerState]:
    """Return each broker by its check, with what the cluster says of it."""
    leads = Counter(str(queue.get("leader") or queue.get("node")) for queue in queues)
    members = {str(node["name"]): node for node in nodes}
    states = []
    for check in checks:
        node = members.get(f"rabbit@{check.name}", {})
        alarms = [
            name for name, key in (("memory", "mem_alarm"), ("disk", "disk_free_alarm")) if node.get(key)
        ]
        partitions = [str(name).removeprefix("rabbit@") for name in node.get("partitions") or []]
        state: State = "unknown" if check.up is None else "up" if check.up else "down"
        states.append(
            BrokerState(
                name=check.name,
                state="late" if state == "up" and (alarms or partitions) else state,
                reason=check.reason,
                since=check.since,
                leads=leads[f"rabbit@{check.name}"] if queues else None,
                alarms=alarms if check.up else [],
                partitions=partitions,
                memory_mb=round(node["mem_used"] / 2**20) if node.get("mem_used") and check.up else None,
            )
        )
    return states


def worker_states(
    hosts: Iterable[str], reading: LedgerReading | None, answers: bool, rates: Rates
) -> list[WorkerState]:
    """Return each worker host, declared or seen, with its instances."""
    processes = [process for process in reading.processes if process.kind == WORKER] if reading else []
    by_host: dict[str, list[Process]] = {host: [] for host in hosts}
    for process in processes:
        by_host.setdefault(process.host, []).append(process)
    passed = time.monotonic() - reading.at if reading else 0.0
    states = []
    for host, members in sorted(by_host.items()):
        instances = [_instance(process, passed, answers, rates) for process in members]
        state, reason = _host_state(instances, answers)
        reported = (one.details.get("proxy") for one in sorted(members, key=lambda one: one.age))
        proxy = next((found for found in reported if found is not None), None)
        states.append(
            WorkerState(
                host=host,
                state=state,
                reason=reason,
                busy=sum(instance.busy for instance in instances),
                concurrency=sum(instance.concurrency for instance in instances),
                rate=round(sum(instance.rate for instance in instances), 1),
                instances=instances,
                proxy=proxy_servers(proxy) if state != "down" else None,
            )
        )
    return states


def _instance(process: Process, passed: float, answers: bool, rates: Rates) -> InstanceState:
    age = process.age + passed
    rate = rates.take(process.name, time.monotonic() - age, int(process.details.get("started", 0)))
    connected = bool(process.details.get("connected"))
    state: State
    if not answers:
        state, reason = "unknown", NO_DATABASE
    elif process.stopped:
        state, reason = "down", "stopped"
    elif age > SILENT_SECONDS:
        state, reason = "down", "no heartbeat"
    elif not connected:
        state, reason = "late", "it has no broker"
    else:
        state, reason = "up", ""
    works = state in ("up", "late")
    return InstanceState(
        name=process.name.partition("@")[0],
        state=state,
        reason=reason,
        pid=process.pid,
        started=process.started,
        queues=list(process.details.get("queues", [])),
        concurrency=int(process.details.get("concurrency", 0)),
        busy=int(process.details.get("busy", 0)) if works else 0,
        rate=rate if works else 0.0,
        connected=connected and works,
    )


def _host_state(instances: list[InstanceState], answers: bool) -> tuple[State, str]:
    if not answers:
        return "unknown", NO_DATABASE
    if not instances:
        return "down", NEVER_SEEN
    states = {instance.state for instance in instances}
    if states == {"up"}:
        return "up", ""
    ill = ", ".join(f"{one.name}: {one.reason}" for one in instances if one.state != "up")
    if states == {"down"}:
        reasons = {instance.reason for instance in instances}
        return "down", reasons.pop() if len(reasons) == 1 else ill
    return "late", ill


def beat_state(reading: LedgerReading | None, answers: bool) -> BeatState:
    """Return the state of beat, by its heartbeat and by its latest tick."""
    processes = [process for process in reading.processes if process.kind == BEAT] if reading else []
    process = min(processes, key=lambda one: one.age, default=None)
    tick = reading.runs.get(TICK) if reading else None
    state: State
    if not answers or reading is None:
        state, reason = "unknown", NO_DATABASE
    elif process is None:
        state, reason = "down", NEVER_SEEN
    elif process.stopped:
        state, reason = "down", "stopped"
    elif process.age + time.monotonic() - reading.at > SILENT_SECONDS:
        state, reason = "down", "no heartbeat"
    elif tick is None or tick.age > TICK_LATE_SECONDS:
        state, reason = "late", "its ticks do not arrive"
    else:
        state, reason = "up", ""
    return BeatState(
        state=state,
        reason=reason,
        host=process.host if process else None,
        tick=tick.started if tick else None,
        tick_host=tick.host if tick else None,
    )
