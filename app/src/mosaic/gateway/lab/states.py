"""From what the watchers saw to the states of hosts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from mosaic.gateway.lab.brokers import BrokerLook
from mosaic.gateway.lab.ledger import LedgerLook
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
from mosaic.ledger.heartbeats import BEAT, WORKER, Life
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
    looks: Iterable[BrokerLook], nodes: list[dict[str, Any]], queues: list[dict[str, Any]]
) -> list[BrokerState]:
    """Return each broker by its check, with what the cluster says of it."""
    leads = Counter(str(queue.get("leader") or queue.get("node")) for queue in queues)
    members = {str(node["name"]): node for node in nodes}
    states = []
    for look in looks:
        node = members.get(f"rabbit@{look.name}", {})
        alarms = [
            name for name, key in (("memory", "mem_alarm"), ("disk", "disk_free_alarm")) if node.get(key)
        ]
        partitions = [str(name).removeprefix("rabbit@") for name in node.get("partitions") or []]
        ill = [reason(f"{alarm.title()}Alarm", host=look.name) for alarm in alarms]
        ill += [reason("ClusterPartitioned", ", ".join([look.name, *partitions]))] if partitions else []
        down = reason("BrokerDown", look.reason, host=look.name)
        state: State = "unknown" if look.up is None else "down" if not look.up else "late" if ill else "up"
        states.append(
            BrokerState(
                name=look.name,
                state=state,
                reason=down if state == "down" else " ".join(ill) if look.up else "",
                since=look.since,
                leads=leads[f"rabbit@{look.name}"] if queues else None,
                alarms=alarms if look.up else [],
                partitions=partitions,
                memory_mb=round(node["mem_used"] / 2**20) if node.get("mem_used") and look.up else None,
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
    hosts: Iterable[str], look: LedgerLook | None, away: str, rates: Rates
) -> list[WorkerState]:
    """Return each worker host, declared or seen, with its instances; `away`: why the ledger is unknown."""
    lives = [life for life in look.lives if life.kind == WORKER] if look else []
    by_host: dict[str, list[Life]] = {host: [] for host in hosts}
    for life in lives:
        by_host.setdefault(life.host, []).append(life)
    passed = time.monotonic() - look.at if look else 0.0
    states = []
    for host, members in sorted(by_host.items()):
        instances = [_instance(life, passed, away, rates) for life in members]
        state, detail = _host_state(instances, away)
        told = (life.details.get("proxy") for life in sorted(members, key=lambda life: life.age))
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


def _instance(life: Life, passed: float, away: str, rates: Rates) -> InstanceState:
    age = life.age + passed
    rate = rates.take(life.name, time.monotonic() - age, int(life.details.get("started", 0)))
    connected = bool(life.details.get("connected"))
    state: State
    if away:
        state, detail = "unknown", away
    elif life.stopped:
        state, detail = "down", "stopped"
    elif age > SILENT_SECONDS:
        state, detail = "down", "no heartbeat"
    elif not connected:
        state, detail = "late", "not connected to a broker"
    else:
        state, detail = "up", ""
    works = state in ("up", "late")
    return InstanceState(
        name=life.name.partition("@")[0],
        state=state,
        reason=detail,
        pid=life.pid,
        started=life.started,
        queues=list(life.details.get("queues", [])),
        concurrency=int(life.details.get("concurrency", 0)),
        busy=int(life.details.get("busy", 0)) if works else 0,
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


def beat_state(look: LedgerLook | None, away: str) -> BeatState:
    """Return how beat stands, by its heartbeat and its latest tick; `away`: why the ledger is unknown."""
    lives = [life for life in look.lives if life.kind == BEAT] if look else []
    life = min(lives, key=lambda one: one.age, default=None)
    tick = look.runs.get(TICK) if look else None
    state: State
    if away or look is None:
        state, detail = "unknown", ""
    elif life is None:
        state, detail = "down", "no heartbeat yet"
    elif life.stopped:
        state, detail = "down", "stopped"
    elif life.age + time.monotonic() - look.at > SILENT_SECONDS:
        state, detail = "down", "no heartbeat"
    elif tick is None or tick.age > TICK_LATE_SECONDS:
        state, detail = "late", f"none for {TICK_LATE_SECONDS:.0f} s"
    else:
        state, detail = "up", ""
    return BeatState(
        state=state,
        reason=away or (reason("BeatSilent", detail) if detail else ""),
        host=life.host if life else None,
        tick=tick.started if tick else None,
        tick_host=tick.host if tick else None,
    )
