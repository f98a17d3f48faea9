"""The gateway's watch of the lab: it runs as long as the gateway, and all pages read its results."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import make_url

from mosaic import proxy_state
from mosaic.config import Broker, Config
from mosaic.gateway.errors import ApiError
from mosaic.gateway.lab.applications import OWN, ApplicationWatch, WorkerList, own_workers
from mosaic.gateway.lab.brokers import STATISTICS_SECONDS, BrokerWatch, trust
from mosaic.gateway.lab.depths import DepthWatch
from mosaic.gateway.lab.ledger import LedgerWatch
from mosaic.gateway.lab.queues import QueueList, asked_queues, known_depth, queue_list
from mosaic.gateway.lab.reasons import reason
from mosaic.gateway.lab.schemas import ApplicationState, DatabaseState, LabState, ProxyServer, State, Work
from mosaic.gateway.lab.states import (
    Rates,
    beat_state,
    broker_states,
    gateway_state,
    proxy_servers,
    worker_states,
)
from mosaic.gateway.prometheus import Prometheus
from mosaic.gateway.sse import Ages
from mosaic.ledger.database import make_engine

logger = logging.getLogger(__name__)

PROXY_SECONDS = 1.0
ALERT_SECONDS = 5.0
AGAIN_SECONDS = 1.0

Run = Callable[[], Coroutine[Any, Any, None]]


class LabWatch:
    """Watches brokers, ledger, applications, alerts and this host's proxy.

    `state`, `queues` and `workers` are the results.
    """

    def __init__(self, config: Config) -> None:
        """Prepare the watch of the lab in `config`."""
        self._config = config
        self._database = make_url(config.database.url).host or config.host
        self._rates = Rates()
        self._proxy: list[ProxyServer] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.state: LabState | None = None
        self.queues: QueueList | None = None
        self.workers: WorkerList | None = None
        self.prometheus = Prometheus.of(config.lab)
        self._alerts: int | None = None
        self.ledger = LedgerWatch(make_engine(config.database.url, pool_size=1), self.update)
        self.brokers = self._broker_watch()
        self.applications = ApplicationWatch(config.host, config.broker.heartbeat, self.update)
        self.depths = DepthWatch(config.host, self._broker_of, self._asked_names, self.update)

    def _broker_watch(self) -> BrokerWatch | None:
        if not self._config.lab.brokers:
            return None
        try:
            return BrokerWatch(self._config.lab, trust(self._config.lab), self.update)
        except OSError as error:
            logger.warning("no broker can be watched: %s: %s", self._config.lab.ca_file, error)
            return None

    def _broker_of(self, application: str) -> Broker:
        """Return how to connect to an application's vhost."""
        if application == OWN:
            return self._config.broker
        url = self.applications.declared.url(application)
        return Broker(url=url, heartbeat=self._config.broker.heartbeat)

    def _asked(self) -> dict[str, list[dict[str, Any]]]:
        return asked_queues(self.brokers.queues if self.brokers else (), self.applications.names)

    def _asked_names(self) -> dict[str, list[str]]:
        return {vhost: [str(one["name"]) for one in queues] for vhost, queues in self._asked().items()}

    def ledger_ages(self, name: str) -> Ages:
        """Return the age of what was read from the database, as `name`."""
        return {name: time.monotonic() - self.ledger.reading.at} if self.ledger.reading else {}

    def lab_ages(self) -> Ages:
        """Return the age of the states of hosts: of the oldest check of a broker, and of the database."""
        checks = self.brokers.checks.values() if self.brokers else ()
        ages = [time.monotonic() - check.at for check in checks] + [*self.ledger_ages("hosts").values()]
        return {"hosts": max(ages)} if ages else {}

    def queue_ages(self) -> Ages:
        """Return the age of the ready messages (of the oldest count) and of the brokers' statistics."""
        brokers = self.brokers
        if brokers is None or brokers.cluster_at is None:
            return {}
        now = time.monotonic()
        statistics = now - brokers.cluster_at + STATISTICS_SECONDS
        asked = [queue for queues in self._asked().values() for queue in queues]
        depths = [known_depth(queue, self.depths.depths) for queue in asked]
        ready = max([now - depth.at if depth else statistics for depth in depths], default=statistics)
        return {"ready": ready, "other figures of queues": statistics}

    @property
    def every_host(self) -> list[str]:
        """Every host that the console knows of: those whose log records can be chosen."""
        lab = self._config.lab
        monitor = urlsplit(lab.prometheus_url).hostname
        others = [self._config.host, self._database, *([monitor] if monitor else [])]
        return sorted({*self.hosts, *lab.brokers, *others})

    @property
    def hosts(self) -> list[str]:
        """The declared and the seen worker hosts, in the order of their colours."""
        seen = self.state.workers if self.state else []
        return sorted({*self.applications.declared.worker_hosts, *(worker.host for worker in seen)})

    @property
    def database_is_away(self) -> bool:
        """Whether the database has not answered for some seconds."""
        return self.ledger.is_away

    @property
    def brokers_are_down(self) -> bool:
        """Whether every broker has been checked and none is healthy."""
        checks = self.brokers.checks.values() if self.brokers else ()
        return bool(checks) and all(check.up is False for check in checks)

    def start(self) -> None:
        """Start watching; needs a running event loop."""
        runs: list[Run] = [self.ledger.run, self._watch_proxy, self.applications.run, self.depths.run]
        if self.brokers is not None:
            runs.append(self.brokers.run)
        if self.prometheus is not None:
            runs.append(partial(self._watch_alerts, self.prometheus))
        self._tasks = [asyncio.create_task(_keep_up(run)) for run in runs]

    async def stop(self) -> None:
        """Stop watching."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self.ledger.close()
        self.applications.close()
        for client in (self.brokers, self.prometheus):
            if client is not None:
                await client.close()

    def update(self) -> None:
        """Combine the latest readings."""
        reading, error = self.ledger.reading, self.ledger.error
        down = reason("DatabaseDown", error, host=self._database) if error else ""
        away = down or ("" if reading else "The console has not read the database yet.")
        known = None if away else reading
        brokers = self.brokers
        if brokers is not None:
            self.queues = queue_list(
                brokers.queues,
                brokers.cluster_error,
                {check.name for check in brokers.checks.values() if check.up},
                self.applications.names,
                self.depths.depths,
            )
        others = self.applications.workers()
        self.state = LabState(
            brokers=broker_states(brokers.checks.values(), brokers.nodes, brokers.queues) if brokers else [],
            cluster_reason=brokers.cluster_error if brokers else "",
            workers=worker_states(self.applications.declared.worker_hosts, reading, away, self._rates),
            database=DatabaseState(
                state="down" if down else "up" if known else "unknown",
                reason=down,
                answer_ms=round(known.seconds * 1000) if known else None,
                connections=known.connections if known else None,
            ),
            beat=beat_state(reading, away),
            gateway=gateway_state(self._config.host, self._proxy),
            work=known.work if known else Work(),
            applications=[
                _application_state(name, [row.state for row in others if row.application == name])
                for name in self.applications.names[1:]
            ],
            alerts=self._alerts,
        )
        self.workers = WorkerList(
            applications=self.applications.names, workers=own_workers(self.state, known) + others
        )

    async def _watch_proxy(self) -> None:
        while True:
            found = await asyncio.to_thread(proxy_state.ask, self._config.broker.proxy_socket)
            self._proxy = proxy_servers(found)
            await asyncio.sleep(PROXY_SECONDS)

    async def _watch_alerts(self, prometheus: Prometheus) -> None:
        while True:
            try:
                alerts = await prometheus.alerts()
                self._alerts = sum(alert.state == "firing" for alert in alerts)
            except ApiError:
                self._alerts = None
            await asyncio.sleep(ALERT_SECONDS)


def _application_state(name: str, states: list[State]) -> ApplicationState:
    up = states.count("up")
    if up == len(states):
        state: State = "up"
    elif "down" in states:
        state = "late" if up else "down"
    else:
        state = "unknown"
    return ApplicationState(name=name, state=state, workers_up=up, workers=len(states))


async def _keep_up(run: Run) -> None:
    """Restart a watcher after an unexpected error, so that the page never shows old states."""
    while True:
        try:
            await run()
        except Exception:
            logger.exception("a watcher failed and starts again")
        await asyncio.sleep(AGAIN_SECONDS)
