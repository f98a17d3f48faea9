"""The one watcher of a gateway: it runs as long as the gateway, and all pages read what it sees."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from sqlalchemy import make_url

from mosaic import proxy_state
from mosaic.config import Config
from mosaic.gateway.charts.prometheus import Prometheus, PrometheusError
from mosaic.gateway.feed import Feed
from mosaic.gateway.lab.brokers import BrokerWatch
from mosaic.gateway.lab.ledger import LedgerWatch
from mosaic.gateway.lab.management import trust
from mosaic.gateway.lab.rates import Rates
from mosaic.gateway.lab.reasons import reason
from mosaic.gateway.lab.schemas import DatabaseState, LabState, ProxyServer, Work
from mosaic.gateway.lab.states import (
    beat_state,
    broker_states,
    gateway_state,
    proxy_servers,
    worker_states,
)
from mosaic.gateway.queues.states import QueueList, queue_list
from mosaic.ledger.database import make_engine

logger = logging.getLogger(__name__)

PROXY_SECONDS = 1.0
ALERT_SECONDS = 5.0
AGAIN_SECONDS = 1.0

Run = Callable[[], Coroutine[Any, Any, None]]


class LabWatch:
    """Watches brokers, ledger and the gateway's own proxy; `feed` has the lab's latest state."""

    def __init__(self, config: Config) -> None:
        """Watch the lab of `config`; nothing runs yet."""
        self._config = config
        self._database = make_url(config.database.url).host or config.host
        self._rates = Rates()
        self._proxy: list[ProxyServer] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.feed: Feed[LabState] = Feed()
        self.queues: Feed[QueueList] = Feed()
        self.prometheus: Prometheus | None = None
        self._alerts: int | None = None
        self.ledger = LedgerWatch(make_engine(config.database.url, pool_size=1), self.update)
        self.brokers = self._broker_watch()

    def _broker_watch(self) -> BrokerWatch | None:
        if not self._config.lab.brokers:
            return None
        try:
            return BrokerWatch(self._config.lab, trust(self._config.lab), self.update)
        except OSError as error:
            logger.warning("no broker can be watched: %s: %s", self._config.lab.ca_file, error)
            return None

    @property
    def hosts(self) -> list[str]:
        """The worker hosts, declared or seen, in the order that gives them their colours."""
        seen = self.feed.latest.workers if self.feed.latest else []
        return sorted({*self._config.lab.workers, *(worker.host for worker in seen)})

    @property
    def database_is_away(self) -> bool:
        """Whether the database has not answered for some seconds."""
        return self.ledger.is_away

    @property
    def brokers_are_down(self) -> bool:
        """Whether every broker was checked and none is healthy."""
        checks = self.brokers.checks.values() if self.brokers else ()
        return bool(checks) and all(check.up is False for check in checks)

    def start(self) -> None:
        """Begin to watch; needs a running loop."""
        runs: list[Run] = [self.ledger.run, self._watch_proxy]
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
        if self.brokers is not None:
            await self.brokers.close()

    def update(self) -> None:
        """Put together what was seen, for the readers."""
        reading, error = self.ledger.reading, self.ledger.error
        down = reason("DatabaseDown", error, host=self._database) if error else ""
        away = down or ("" if reading else "The console has not read the database yet.")
        known = None if away else reading
        brokers = self.brokers
        if brokers is not None:
            self.queues.set(queue_list(brokers.queues, brokers.cluster_error))
        self.feed.set(
            LabState(
                brokers=broker_states(brokers.checks.values(), brokers.nodes, brokers.queues)
                if brokers
                else [],
                cluster_reason=brokers.cluster_error if brokers else "",
                workers=worker_states(self._config.lab.workers, reading, away, self._rates),
                database=DatabaseState(
                    state="down" if down else "up" if known else "unknown",
                    reason=down,
                    answer_ms=round(known.seconds * 1000) if known else None,
                    connections=known.connections if known else None,
                ),
                beat=beat_state(reading, away),
                gateway=gateway_state(self._config.host, self._proxy),
                work=Work(
                    running_jobs=known.running_jobs if known else None,
                    waiting_parts=known.waiting_parts if known else None,
                    running_parts=known.running_parts if known else None,
                ),
                alerts=self._alerts,
            )
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
            except PrometheusError:
                self._alerts = None
            await asyncio.sleep(ALERT_SECONDS)


async def _keep_up(run: Run) -> None:
    """Run a watcher again should it end: what it has not foreseen must not leave the page with old news."""
    while True:
        try:
            await run()
        except Exception:
            logger.exception("a watcher ended; it starts again")
        await asyncio.sleep(AGAIN_SECONDS)
