"""PostgreSQL without free disk space (SQLSTATE 53100): what was accepted is kept, and tried again.

Triggers raise the server's own error, so that no disk has to be filled.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import Mock

import pytest
from celery import Celery
from celery.exceptions import Retry
from conftest import RecordingPublisher
from fastapi.testclient import TestClient
from mosaic.config import Config
from mosaic.kinds.render.plan import RenderRequest
from mosaic.kinds.render.plan import plan as plan_render
from mosaic.ledger import jobs, log_records
from mosaic.ledger.database import transaction
from mosaic.ledger.log_records import Entry
from mosaic.logs import store
from mosaic.logs.store import LogStore
from sqlalchemy import Engine, text

FullDisk = Callable[..., AbstractContextManager[None]]
VIEW = RenderRequest(width=32, height=32, tile=32, iterations=60)
NO_SPACE = """
CREATE OR REPLACE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100';
END $$
"""


@pytest.fixture
def full_disk(config: Config, owner_engine: Engine) -> FullDisk:
    """Within this context, no row can be added to the tables."""

    @contextmanager
    def full(*tables: str) -> Iterator[None]:
        with owner_engine.begin() as connection:
            connection.execute(text(NO_SPACE))
            for table in tables:
                connection.execute(
                    text(f"CREATE TRIGGER full_disk BEFORE INSERT ON {table} EXECUTE FUNCTION no_space()")
                )
        try:
            yield
        finally:
            with owner_engine.begin() as connection:
                for table in tables:
                    connection.execute(text(f"DROP TRIGGER full_disk ON {table}"))

    return full


def test_a_job_is_refused_and_nothing_is_published(
    client: TestClient, publisher: RecordingPublisher, full_disk: FullDisk
) -> None:
    with full_disk("job"):
        answer = client.post("/api/jobs/render", json={})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert publisher.calls == []
    assert client.post("/api/jobs/render", json={}).status_code == 202


@pytest.mark.parametrize("table", ["attempt", "blob"])
def test_a_part_is_tried_again_until_there_is_space(
    app: Celery, full_disk: FullDisk, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    """It begins with a row of attempt, and ends with one of blob."""
    with transaction() as session:
        job_id, calls = jobs.enter(session, plan_render(VIEW))
    task: Any = app.tasks[calls[0].task]
    countdowns = []

    def retry(exc: Exception, countdown: int, throw: bool) -> Retry:
        assert not throw
        countdowns.append(countdown)
        return Retry(exc=exc)

    monkeypatch.setattr(task, "retry", retry)
    with full_disk(table):
        # More often than the sweep lets a part start that does not end.
        for retries in range(12):
            task.push_request(id=str(uuid.uuid4()), retries=retries, delivery_info={})
            with pytest.raises(Retry):
                task(*calls[0].args)
            task.pop_request()
    assert countdowns == [1, 2, 4, *[8] * 9]
    assert task.max_retries is None
    task.apply(args=calls[0].args)
    with transaction() as session:
        view = jobs.find(session, job_id)
    assert view is not None
    assert view.state == "done"


def test_log_records_are_acknowledged_only_when_they_are_stored(
    config: Config, full_disk: FullDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, connection, channel = LogStore(config.broker, "worker-1"), Mock(), Mock()
    entry = Entry("m1", "worker-1", 6, "nginx", "hello", datetime.datetime.now(datetime.UTC))
    service._batch, service._last_tag = [entry], 7
    failures = 0

    def count(*_: object) -> None:
        nonlocal failures
        failures += 1
        if failures == 3:
            service.stop()

    monkeypatch.setattr(store.logger, "warning", count)
    monkeypatch.setattr(store, "DATABASE_PAUSE_SECONDS", 0.01)
    with full_disk("log_record"):
        service._store(connection, channel)
    assert (failures, service._batch) == (3, [entry])
    channel.basic_ack.assert_not_called()
    service._store(connection, channel)
    channel.basic_ack.assert_called_once_with(7, multiple=True)
    with transaction() as session:
        assert [found.message_id for found in log_records.latest(session, 10)] == ["m1"]
