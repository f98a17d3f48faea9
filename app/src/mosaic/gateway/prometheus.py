"""A client of Prometheus' HTTP API: alerts, and queries over a time range."""

from __future__ import annotations

import datetime
import math
import ssl
from dataclasses import dataclass
from typing import Any

import httpx

from mosaic.config import Lab
from mosaic.gateway.errors import Unavailable
from mosaic.gateway.lab.brokers import trust

TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True)
class Alert:
    """An alert that is pending or firing."""

    name: str
    state: str
    severity: str
    summary: str
    labels: dict[str, str]
    since: datetime.datetime | None


#: One line of a chart: its labels, and a value for each time of the range, or None.
Series = tuple[dict[str, str], list[float | None]]


class Prometheus:
    """Queries the Prometheus at `lab.prometheus_url`."""

    @classmethod
    def of(cls, lab: Lab) -> Prometheus | None:
        """Return the client of the lab's monitor; None if the lab has none."""
        if not lab.prometheus_url:
            return None
        return cls(lab, trust(lab) if lab.prometheus_url.startswith("https:") else None)

    def __init__(self, lab: Lab, context: ssl.SSLContext | None) -> None:
        """Prepare the client; `context` is for an https address."""
        self._client = httpx.AsyncClient(
            base_url=lab.prometheus_url,
            verify=context if context is not None else True,
            timeout=TIMEOUT_SECONDS,
            trust_env=False,  # no HTTP proxy leads into the lab
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def alerts(self) -> list[Alert]:
        """Return the alerts that are pending or firing. Raises ApiError 503."""
        data = await self._ask("api/v1/alerts", {})
        hidden = ("alertname", "severity", "job")
        return [
            Alert(
                name=str(alert["labels"].get("alertname", "")),
                state=str(alert["state"]),
                severity=str(alert["labels"].get("severity", "")),
                summary=str(alert["annotations"].get("summary", "")),
                labels={key: value for key, value in alert["labels"].items() if key not in hidden},
                since=_time(alert.get("activeAt")),
            )
            for alert in data["alerts"]
        ]

    async def range(self, query: str, times: list[int]) -> list[Series]:
        """Return the lines of a query at evenly spaced `times` (seconds since 1970). Raises ApiError 503."""
        step = times[1] - times[0]
        data = await self._ask(
            "api/v1/query_range", {"query": query, "start": times[0], "end": times[-1], "step": step}
        )
        return [(result["metric"], _values(result["values"], times)) for result in data["result"]]

    async def _ask(self, path: str, params: dict[str, Any]) -> dict[str, Any]:
        try:
            document = (await self._client.get(path, params=params)).json()
        except (httpx.HTTPError, ValueError) as error:
            raise Unavailable(f"the monitor does not answer ({error or type(error).__name__}).") from error
        if document.get("status") != "success":
            raise Unavailable(f"the monitor reports an error: {str(document.get('error', 'unknown'))[:200]}.")
        data: dict[str, Any] = document["data"]
        return data


def _values(pairs: list[list[Any]], times: list[int]) -> list[float | None]:
    values = {round(float(at)): round(float(value), 3) for at, value in pairs if math.isfinite(float(value))}
    return [values.get(at) for at in times]


def _time(text: object) -> datetime.datetime | None:
    try:
        # Without the nanoseconds, which datetime does not have.
        return datetime.datetime.fromisoformat(str(text)[:19] + "+00:00")
    except ValueError:
        return None
