"""/api/charts, /api/alerts: the figures and alerts of the monitor."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from mosaic.gateway.deps import TheWatch
from mosaic.gateway.prometheus import Alert, Prometheus, Series

router = APIRouter(prefix="/api")

POINTS = 180
# How often the monitor reads the hosts (monitoring_interval).
RESOLUTION_SECONDS = 10


@dataclass(frozen=True)
class Chart:
    """A chart with one line for each value of `label` in the results of `query`."""

    id: str
    title: str
    unit: str
    label: str
    query: str


CHARTS = (
    Chart(
        "cpu",
        "CPU busy, by host",
        "%",
        "instance",
        '100 * (1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[1m])))',
    ),
    Chart(
        "tasks",
        "Attempts ended, by host",
        "a second",
        "host",
        "sum by (host) (rate(mosaic_task_attempts_total[1m]))"
        ' or label_replace(sum(rate(mosaic_task_attempts_total[1m])), "host", "all hosts", "", "")',
    ),
    # Beside the throughput: what ./lab scale changed, and when.
    Chart("hosts", "Worker hosts", "hosts", "", 'sum(up{job="node", groups=~"(.+,)?workers(,.+)?"})'),
    Chart(
        "finished",
        "Tasks ended, by application",
        "a second",
        "application",
        # Flower shows a worker as APPLICATION:NAME@HOST.
        "sum by (application) (label_replace("
        'rate(flower_events_total{type=~"task-(succeeded|failed)"}[1m]),'
        ' "application", "$1", "worker", "([^:]+):.+"))',
    ),
    Chart(
        "depth",
        "Messages, by queue",
        "messages",
        "queue",
        # Without the temporary queues of log tails.
        'max by (vhost, queue) (rabbitmq_detailed_queue_messages{queue!~"mosaic[.]tail[.].+"})',
    ),
    # Each broker exports the messages of the quorum queues whose leader it is.
    Chart(
        "leaders",
        "Queue leaders, by broker",
        "queues",
        "instance",
        'count by (instance) (rabbitmq_detailed_queue_messages{queue!~"celery_delayed_.+"})',
    ),
    Chart(
        "confirms",
        "Publisher confirms, 95 % within",
        "ms",
        "publisher",
        "1000 * histogram_quantile(0.95,"
        " sum by (le, publisher) (rate(celery_publish_confirm_seconds_bucket[1m])))",
    ),
    Chart(
        "duration",
        "Tasks, 95 % within",
        "s",
        "task",
        "histogram_quantile(0.95, sum by (le, task) (rate(mosaic_task_seconds_bucket[1m])))",
    ),
)


class Line(BaseModel):
    """One line of a chart."""

    name: str
    values: list[float | None]


class ChartAnswer(BaseModel):
    """A chart with its lines, or with the reason why it has none."""

    id: str
    title: str
    unit: str
    lines: list[Line]
    reason: str = ""


class ChartList(BaseModel):
    """Charts over the same times, in seconds since 1970; `monitored` is false in a lab without a monitor."""

    monitored: bool
    times: list[int]
    charts: list[ChartAnswer]


class AlertList(BaseModel):
    """The alerts that are pending or firing; `monitored` is false in a lab without a monitor."""

    monitored: bool
    alerts: list[Alert]


@router.get("/charts")
async def show_charts(watch: TheWatch, minutes: Annotated[int, Query(ge=5, le=720)] = 60) -> ChartList:
    """Show figures of hosts, queues and leaders over the last minutes."""
    if watch.prometheus is None:
        return ChartList(monitored=False, times=[], charts=[])
    return await draw(watch.prometheus, minutes)


@router.get("/alerts")
async def list_alerts(watch: TheWatch) -> AlertList:
    """List the alerts that are pending or firing."""
    if watch.prometheus is None:
        return AlertList(monitored=False, alerts=[])
    return AlertList(monitored=True, alerts=await watch.prometheus.alerts())


def times(minutes: int, now: float | None = None) -> list[int]:
    """Return about POINTS evenly spaced times of the last minutes, at least 5 s apart."""
    step = max(5, minutes * 60 // POINTS)
    end = int(now if now is not None else time.time()) // step * step
    return list(range(end - minutes * 60, end + 1, step))


def peak(query: str, step: int) -> str:
    """Return the query of the largest value since the point before: a chart of samples would miss peaks."""
    return f"max_over_time(({query})[{step}s:{min(step, RESOLUTION_SECONDS)}s])"


async def draw(prometheus: Prometheus, minutes: int) -> ChartList:
    """Query all charts at once. Raises ApiError 503 if the monitor does not answer."""
    at = times(minutes)
    step = at[1] - at[0]
    answers = await asyncio.gather(*(prometheus.range(peak(chart.query, step), at) for chart in CHARTS))
    charts = [
        ChartAnswer(
            id=chart.id,
            title=chart.title,
            unit=chart.unit,
            lines=_lines(chart, series),
            reason="" if series else "the monitor has no such figures yet.",
        )
        for chart, series in zip(CHARTS, answers, strict=True)
    ]
    return ChartList(monitored=True, times=at, charts=charts)


def _lines(chart: Chart, series: list[Series]) -> list[Line]:
    lines = [Line(name=_name(chart, labels), values=values) for labels, values in series]
    return sorted(lines, key=lambda line: line.name)


def _name(chart: Chart, labels: dict[str, str]) -> str:
    """Return the name of a line; a queue of another application than mosaic begins with its vhost."""
    name, vhost = labels.get(chart.label, chart.title), labels.get("vhost", "")
    return name if not vhost or name.startswith(f"{vhost}.") else f"{vhost}/{name}"
