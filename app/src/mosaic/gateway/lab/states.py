"""The states of hosts, from the readings of the brokers, the ledger and the proxies."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Any

from mosaic.gateway.lab.brokers import BrokerCheck
from mosaic.gateway.lab.ledger import LedgerReading
from mosaic.gateway.lab.queues import is_delay
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

# Heartbeats come once a second. Even on a busy machine none is this late.
SILENT_SECONDS = 2.25
TICK_LATE_SECONDS = 45.0
RATE_SECONDS = 5.0


class Rates:
    """Rates of counters that are read at irregular times and restart from zero."""

    def __init__(self, window: float = RATE_SECONDS) -> None:
        """Calculate rates over the last `window` seconds."""
        self._window = window
        self._samples: dict[str, deque[tuple[float, int]]] = {}

    def take(self, name: str, at: float, count: int) -> float:
        """Store a reading (seconds on any clock, count); return the rate a second, rounded to 0.1."""
        samples = self._samples.setdefault(name, deque())
        if samples and count < samples[-1][1]:
            samples.clear()  # a new process starts from zero
        samples.append((at, count))
        while len(samples) > 2 and samples[1][0] <= at - self._window:
            samples.popleft()
        first_at, first = samples[0]
        return round((count - first) / (at - first_at), 1) if at > first_at else 0.0


def proxy_servers(found: Mapping[str, Any] | None) -> list[ProxyServer] | None:
    """Return the brokers as a proxy sees them, by name."""
    if found is None:
        return None
    return [
        ProxyServer(broker=name, state=str(server["state"]), sessions=int(server["sessions"]))
        for name, server in sorted(found.items())
    ]


def broker_states(
    checks: Iterable[BrokerCheck], nodes: list[dict[str, Any]], queues: list[dict[str, Any]]
) -> list[BrokerState]:
    """Return each broker with the result of its check and the cluster's figures."""
    leaders = [(is_delay(queue), str(queue.get("leader") or queue.get("node"))) for queue in queues]
    leads = Counter(leaders)
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
                leads=leads[False, f"rabbit@{check.name}"] if queues else None,
                leads_delays=leads[True, f"rabbit@{check.name}"] if queues else None,
                alarms=alarms if check.up else [],
                partitions=partitions,
                memory_mb=round(node["mem_used"] / 2**20) if node.get("mem_used") and check.up else None,
            )
        )
    return states


def gateway_state(host: str, proxy: list[ProxyServer] | None) -> GatewayState:
    """Return a gateway with its proxy, which is up if it finds a broker."""
    if proxy is None:
        return GatewayState(host=host, state="unknown", reason="HAProxy does not answer.", proxy=None)
    found = any(server.state == "UP" for server in proxy)
    failed = "" if found else reason("ProxyFindsNoBroker", host=host)
    return GatewayState(host=host, state="up" if found else "down", reason=failed, proxy=proxy)


def worker_states(
    hosts: Iterable[str], reading: LedgerReading | None, away: str, rates: Rates
) -> list[WorkerState]:
    """Return each declared or seen worker host with its workers; `away`: why the ledger is unknown.

    A host that is not declared is one that left the lab once its workers are silent.
    """
    processes = [process for process in reading.processes if process.kind == WORKER] if reading else []
    by_host: dict[str, list[Process]] = {host: [] for host in hosts}
    declared = set(by_host)
    passed = time.monotonic() - reading.at if reading else 0.0
    for process in processes:
        silent = process.stopped or process.age + passed > SILENT_SECONDS
        if process.host in declared or not declared or not silent:
            by_host.setdefault(process.host, []).append(process)
    states = []
    for host, members in sorted(by_host.items()):
        instances = [_instance(process, passed, away, rates) for process in members]
        state, detail = _host_state(instances, away)
        reports = (one.details.get("proxy") for one in sorted(members, key=lambda one: one.age))
        proxy = next((report for report in reports if report is not None), None)
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


def _process_state(process: Process | None, passed: float) -> tuple[State, str]:
    """Return the state of a process by its heartbeat, `passed` seconds after it was read."""
    if process is None:
        return "down", "no heartbeat yet"
    if process.stopped:
        return "down", "stopped"
    if process.age + passed > SILENT_SECONDS:
        return "down", "no heartbeat"
    return "up", ""


def _instance(process: Process, passed: float, away: str, rates: Rates) -> InstanceState:
    at = time.monotonic() - process.age - passed
    rate = rates.take(process.name, at, int(process.details.get("started", 0)))
    connected = bool(process.details.get("connected"))
    state, detail = _process_state(process, passed)
    if away:
        state, detail = "unknown", away
    if state == "up" and not connected:
        state, detail = "late", "not connected to a broker"
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
    """Return the state of beat by its heartbeat and its latest tick; `away`: why the ledger is unknown."""
    process = reading.newest(BEAT) if reading else None
    tick = reading.runs.get(TICK) if reading else None
    state: State
    if away or reading is None:
        state, detail = "unknown", ""
    else:
        state, detail = _process_state(process, time.monotonic() - reading.at)
    if state == "up" and (tick is None or tick.age > TICK_LATE_SECONDS):
        state, detail = "late", f"none for {TICK_LATE_SECONDS:.0f} s"
    return BeatState(
        state=state,
        reason=away or (reason("BeatSilent", detail) if detail else ""),
        host=process.host if process else None,
        tick=tick.started if tick else None,
        tick_host=tick.host if tick else None,
    )
