"""Charts and alerts, as the monitor has them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from mosaic.gateway.charts.prometheus import Alert, Prometheus, PrometheusError
from mosaic.gateway.charts.queries import ChartList, draw
from mosaic.gateway.errors import ApiError

router = APIRouter(prefix="/api")


class AlertList(BaseModel):
    """All alerts that are not at rest; `monitored` is false where no monitor is set up."""

    monitored: bool
    alerts: list[Alert]


@router.get("/charts")
async def show_charts(request: Request, minutes: Annotated[int, Query(ge=5, le=720)] = 60) -> ChartList:
    """Show how hosts, queues and leaders were over the last minutes."""
    prometheus: Prometheus | None = request.app.state.prometheus
    if prometheus is None:
        return ChartList(monitored=False, times=[], charts=[])
    try:
        return await draw(prometheus, minutes)
    except PrometheusError as error:
        raise ApiError(503, str(error), {"Retry-After": "5"}) from error


@router.get("/alerts")
async def list_alerts(request: Request) -> AlertList:
    """List the alerts that are pending or firing."""
    prometheus: Prometheus | None = request.app.state.prometheus
    if prometheus is None:
        return AlertList(monitored=False, alerts=[])
    try:
        alerts = await prometheus.alerts()
    except PrometheusError as error:
        raise ApiError(503, str(error), {"Retry-After": "5"}) from error
    return AlertList(monitored=True, alerts=alerts)
