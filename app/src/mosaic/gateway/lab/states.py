"""From what the watchers saw to the states of hosts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from mosaic.gateway.lab.brokers import BrokerCheck
from mosaic.gateway.lab.ledger import LedgerReading
from mosaic.gateway.lab.rates import Rates
from mosaic.gateway.lab.reasons import reason
from mosaic.gateway.lab.schemas import (
    BeatState,
    BrokerState,
    GatewayState,
    InstanceState,
    ProxyServer,
    State,
    WorkerState,
)
from mosaic.ledger.heartbeats import BEAT, WORKER, Process
from mosaic.ledger.periodic import TICK

# Heartbeats come each second. One that is this late has missed its turn by more than a busy machine explains.
SILENT_SECONDS = 2.25
TICK_LATE_SECONDS = 45.0


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
        ill = [reason(f"{alarm.title()}Alarm", host=check.name) for alarm in alarms]
        ill += [reason("ClusterPartitioned", ", ".join([check.name, *partitions]))] if partitions else []
        down = reason("BrokerDown", check.reason, host=check.name)
        state: State = "unknown" if check.up is None else "down" if not check.up else "late" if ill else "up"
        states.append(
            BrokerState(
                name=check.name,
                state=state,
                reason=down if state == "down" else " ".join(ill) if check.up else "",
                since=check.since,
                leads=leads[f"rabbit@{check.name}"] if queues else None,
                alarms=alarms if check.up else [],
                partitions=partitions,
                memory_mb=round(node["mem_used"] / 2**20) if node.get("mem_used") and check.up else None,
            )
        )
    return states


def gateway_state(host: str, proxy: list[ProxyServer] | None) -> GatewayState:
    """Return a gateway with its proxy, which is up when it finds a broker."""
    if proxy is None:
        return GatewayState(host=host, state="unknown", reason="HAProxy does not answer.", proxy=None)
    found = any(server.state == "UP" for server in proxy)
    failed = "" if found else reason("ProxyFindsNoBroker", host=host)
    return GatewayState(host=host, state="up" if found else "down", reason=failed, proxy=proxy)


def worker_states(
    hosts: Iterable[str], reading: LedgerReading | None, away: str, rates: Rates
) -> list[WorkerState]:
    """Return each worker host, declared or seen, with its instances; `away`: why the ledger is unknown."""
    processes = [process for process in reading.processes if process.kind == WORKER] if reading else []
    by_host: dict[str, list[Process]] = {host: [] for host in hosts}
    for process in processes:
        by_host.setdefault(process.host, []).append(process)
    passed = time.monotonic() - reading.at if reading else 0.0
    states = []
    for host, members in sorted(by_host.items()):
        instances = [_instance(process, passed, away, rates) for process in members]
        state, detail = _host_state(instances, away)
        told = (process.details.get("proxy") for process in sorted(members, key=lambda process: process.age))
        proxy = next((found for found in told if found is not None), None)
        states.append(
            WorkerState(
                host=host,
                state=state,
                reason=away or (reason("WorkersNotConsuming", detail, host=host) if detail else ""),
                busy=sum(instance.busy for instance in instances),
                concurrency=sum(instance.concurrency for instance in instances),
                rate=round(sum(instance.rate for instance in instances), 1),
                instances=instances,
                proxy=proxy_servers(proxy) if state != "down" else None,
            )
        )
    return states


def _instance(process: Process, passed: float, away: str, rates: Rates) -> InstanceState:
    age = process.age + passed
    rate = rates.take(process.name, time.monotonic() - age, int(process.details.get("started", 0)))
    connected = bool(process.details.get("connected"))
    state: State
    if away:
        state, detail = "unknown", away
    elif process.stopped:
        state, detail = "down", "stopped"
    elif age > SILENT_SECONDS:
        state, detail = "down", "no heartbeat"
    elif not connected:
        state, detail = "late", "not connected to a broker"
    else:
        state, detail = "up", ""
    works = state in ("up", "late")
    return InstanceState(
        name=process.name.partition("@")[0],
        state=state,
        reason=detail,
        pid=process.pid,
        started=process.started,
        queues=list(process.details.get("queues", [])),
        concurrency=int(process.details.get("concurrency", 0)),
        busy=int(process.details.get("busy", 0)) if works else 0,
        rate=rate if works else 0.0,
        connected=connected and works,
    )


def _host_state(instances: list[InstanceState], away: str) -> tuple[State, str]:
    if away:
        return "unknown", ""
    if not instances:
        return "down", "no heartbeat yet"
    states = {instance.state for instance in instances}
    if states == {"up"}:
        return "up", ""
    ill = ", ".join(f"{one.name}: {one.reason}" for one in instances if one.state != "up")
    if states == {"down"}:
        reasons = {instance.reason for instance in instances}
        return "down", reasons.pop() if len(reasons) == 1 else ill
    return "late", ill


def beat_state(reading: LedgerReading | None, away: str) -> BeatState:
    """Return how beat stands, by its heartbeat and its latest tick; `away`: why the ledger is unknown."""
    processes = [process for process in reading.processes if process.kind == BEAT] if reading else []
    process = min(processes, key=lambda one: one.age, default=None)
    tick = reading.runs.get(TICK) if reading else None
    state: State
    if away or reading is None:
        state, detail = "unknown", ""
    elif process is None:
        state, detail = "down", "no heartbeat yet"
    elif process.stopped:
        state, detail = "down", "stopped"
    elif process.age + time.monotonic() - reading.at > SILENT_SECONDS:
        state, detail = "down", "no heartbeat"
    elif tick is None or tick.age > TICK_LATE_SECONDS:
        state, detail = "late", f"none for {TICK_LATE_SECONDS:.0f} s"
    else:
        state, detail = "up", ""
    return BeatState(
        state=state,
        reason=away or (reason("BeatSilent", detail) if detail else ""),
        host=process.host if process else None,
        tick=tick.started if tick else None,
        tick_host=tick.host if tick else None,
    )
