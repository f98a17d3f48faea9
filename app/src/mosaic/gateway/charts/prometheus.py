"""A small client of Prometheus' HTTP API: what is firing, and how something went over time."""

from __future__ import annotations

import datetime
import math
import ssl
from dataclasses import dataclass
from typing import Any

import httpx

from mosaic.config import Lab

TIMEOUT_SECONDS = 5.0


class PrometheusError(Exception):
    """Prometheus does not answer as it should; the message is one sentence."""


@dataclass(frozen=True)
class Alert:
    """An alert that is pending or firing."""

    name: str
    state: str
    severity: str
    summary: str
    labels: dict[str, str]
    since: datetime.datetime | None


@dataclass(frozen=True)
class Series:
    """One line: its labels, and a value at each time of the range, None where there is none."""

    labels: dict[str, str]
    values: list[float | None]


class Prometheus:
    """Asks the Prometheus of `lab.prometheus_url`."""

    def __init__(self, lab: Lab, context: ssl.SSLContext | None) -> None:
        """Connect to nothing yet; `context` is for an https address."""
        self._client = httpx.AsyncClient(
            base_url=lab.prometheus_url,
            verify=context if context is not None else True,
            timeout=TIMEOUT_SECONDS,
            trust_env=False,  # a proxy has no way into the lab
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def alerts(self) -> list[Alert]:
        """Return the alerts that are pending or firing. Raises PrometheusError."""
        data = await self._ask("api/v1/alerts", {})
        return [
            Alert(
                name=str(alert["labels"].get("alertname", "")),
                state=str(alert["state"]),
                severity=str(alert["labels"].get("severity", "")),
                summary=str(alert["annotations"].get("summary", "")),
                labels={
                    key: value
                    for key, value in alert["labels"].items()
                    if key not in ("alertname", "severity", "job")
                },
                since=_time(alert.get("activeAt")),
            )
            for alert in data["alerts"]
        ]

    async def range(self, query: str, times: list[int]) -> list[Series]:
        """Return a query's lines at `times` (seconds since 1970, evenly spaced). Raises PrometheusError."""
        step = times[1] - times[0]
        data = await self._ask(
            "api/v1/query_range", {"query": query, "start": times[0], "end": times[-1], "step": step}
        )
        return [Series(result["metric"], _values(result["values"], times)) for result in data["result"]]

    async def _ask(self, path: str, params: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = await self._client.get(path, params=params)
            document = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise PrometheusError(
                f"the monitor does not answer ({error or type(error).__name__})."
            ) from error
        if document.get("status") != "success":
            raise PrometheusError(f"the monitor says no: {str(document.get('error', 'unknown'))[:200]}.")
        data: dict[str, Any] = document["data"]
        return data


def _values(pairs: list[list[Any]], times: list[int]) -> list[float | None]:
    known = {round(float(at)): float(value) for at, value in pairs}
    found = [known.get(at) for at in times]
    return [value if value is None or math.isfinite(value) else None for value in found]


def _time(text: object) -> datetime.datetime | None:
    try:
        # Prometheus gives nanoseconds, which datetime does not know.
        return datetime.datetime.fromisoformat(str(text)[:19] + "+00:00")
    except ValueError:
        return None
