"""What the page of charts draws: queries of Prometheus, over hosts, queues and leaders."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from pydantic import BaseModel

from mosaic.gateway.charts.prometheus import Prometheus, Series

POINTS = 180


@dataclass(frozen=True)
class Chart:
    """A chart: one line for each value of `label` in the answers to `query`."""

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
        "sum by (host) (rate(mosaic_task_attempts_total[1m]))",
    ),
    Chart(
        "depth",
        "Messages, by queue",
        "messages",
        "queue",
        # A log tail's queue lives as long as somebody follows the logs.
        'max by (queue) (rabbitmq_detailed_queue_messages{vhost="mosaic", queue!~"mosaic[.]tail[.].+"})',
    ),
    # A broker counts the messages of those quorum queues whose leader it runs.
    Chart(
        "leaders",
        "Queue leaders, by broker",
        "queues",
        "instance",
        'count by (instance) (rabbitmq_detailed_queue_messages{vhost="mosaic"})',
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
    """A chart, drawn or with the reason why it is not."""

    id: str
    title: str
    unit: str
    lines: list[Line]
    reason: str = ""


class ChartList(BaseModel):
    """Charts over the same times, in seconds since 1970; `monitored` is false where no monitor is set up."""

    monitored: bool
    times: list[int]
    charts: list[ChartAnswer]


def times(minutes: int, now: float | None = None) -> list[int]:
    """Return evenly spaced times of the last minutes, at most POINTS and a second apart or more."""
    step = max(5, minutes * 60 // POINTS)
    end = int(now if now is not None else time.time()) // step * step
    return list(range(end - minutes * 60, end + 1, step))


async def draw(prometheus: Prometheus, minutes: int) -> ChartList:
    """Ask for all charts at once. Raises PrometheusError when the monitor does not answer."""
    at = times(minutes)
    answers = await asyncio.gather(*(prometheus.range(chart.query, at) for chart in CHARTS))
    return ChartList(
        monitored=True,
        times=at,
        charts=[
            ChartAnswer(
                id=chart.id,
                title=chart.title,
                unit=chart.unit,
                lines=_lines(chart, series),
                reason="" if series else "the monitor has no such figures yet.",
            )
            for chart, series in zip(CHARTS, answers, strict=True)
        ],
    )


def _lines(chart: Chart, series: list[Series]) -> list[Line]:
    lines = [
        Line(
            name=one.labels.get(chart.label, chart.title),
            values=[None if value is None else round(value, 3) for value in one.values],
        )
        for one in series
    ]
    return sorted(lines, key=lambda line: line.name)
