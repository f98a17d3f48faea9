"""Charts and alerts of the monitor, and the sentence when it does not answer."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from mosaic.config import Lab
from mosaic.gateway import charts
from mosaic.gateway.errors import ApiError
from mosaic.gateway.prometheus import Prometheus

LAB = Lab(prometheus_url="https://monitor-1:9090/prometheus")


def prometheus(handle: Callable[[httpx.Request], httpx.Response]) -> Prometheus:
    """Return a client whose requests `handle` answers."""
    client = Prometheus(Lab(prometheus_url=LAB.prometheus_url), None)
    client._client = httpx.AsyncClient(base_url=LAB.prometheus_url, transport=httpx.MockTransport(handle))
    return client


def success(data: Any) -> httpx.Response:
    """Return an answer as Prometheus gives it."""
    return httpx.Response(200, json={"status": "success", "data": data})


def test_times_are_even_and_few() -> None:
    times = charts.times(60, now=1_000_007.0)
    steps = {later - earlier for earlier, later in itertools.pairwise(times)}
    assert steps == {20}
    assert times[-1] == 1_000_000
    assert len(times) == 181


def test_charts_have_a_line_for_each_label_and_gaps_where_nothing_was() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/prometheus/api/v1/query_range"
        start = int(request.url.params["start"])
        series = []
        if "node_cpu" in request.url.params["query"]:
            series = [
                {"metric": {"instance": "worker-2"}, "values": [[start, "12.34567"], [start + 20, "NaN"]]},
                {"metric": {"instance": "worker-1"}, "values": [[start + 20, "+Inf"]]},
            ]
        return success({"resultType": "matrix", "result": series})

    drawn = asyncio.run(charts.draw(prometheus(handle), 60))
    assert drawn.monitored
    cpu = next(chart for chart in drawn.charts if chart.id == "cpu")
    assert [line.name for line in cpu.lines] == ["worker-1", "worker-2"]
    assert cpu.lines[1].values[:3] == [12.346, None, None]
    assert all(len(line.values) == len(drawn.times) for line in cpu.lines)
    assert next(chart for chart in drawn.charts if chart.id == "depth").reason


def test_a_peak_between_two_points_counts() -> None:
    asked: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params["query"])
        return success({"resultType": "matrix", "result": []})

    asyncio.run(charts.draw(prometheus(handle), 360))
    assert len(asked) == len(charts.CHARTS)
    assert all(query.startswith("max_over_time((") and query.endswith(")[120s:10s])") for query in asked)
    assert charts.peak("up", 5) == "max_over_time((up)[5s:5s])", "at least one reading for each point"


def test_alerts() -> None:
    alert = {
        "labels": {
            "alertname": "BrokerDown",
            "severity": "critical",
            "instance": "broker-1",
            "job": "rabbitmq",
        },
        "annotations": {"summary": "broker-1 does not answer."},
        "state": "firing",
        "activeAt": "2026-11-28T03:33:27.123456789Z",
        "value": "0e+00",
    }
    (found,) = asyncio.run(prometheus(lambda _: success({"alerts": [alert]})).alerts())
    assert (found.name, found.state, found.severity) == ("BrokerDown", "firing", "critical")
    assert found.labels == {"instance": "broker-1"}
    assert found.since is not None
    assert found.since.isoformat() == "2026-11-28T03:33:27+00:00"


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(502, text="<html>bad gateway</html>"),
        httpx.Response(422, json={"status": "error", "error": "bad query"}),
        httpx.ConnectError("refused"),
    ],
)
def test_monitor_that_does_not_answer(answer: httpx.Response | Exception) -> None:
    def handle(_: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(ApiError, match=r"^the monitor"):
        asyncio.run(prometheus(handle).alerts())


def test_lab_without_a_monitor_says_so(client: TestClient) -> None:
    assert client.get("/api/charts").json() == {"monitored": False, "times": [], "charts": []}
    assert client.get("/api/alerts").json() == {"monitored": False, "alerts": []}


def test_lab_whose_monitor_is_away(client: TestClient) -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    client.app.state.watch.prometheus = prometheus(refuse)  # type: ignore[attr-defined]
    for path in ("/api/charts", "/api/alerts"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["error"][:27]) == (503, "the monitor does not answer")
