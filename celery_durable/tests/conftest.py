"""Fixtures: an application, and a broker for its windows that behaves as the test specifies."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from celery import Celery
from celery_durable.link import Links
from scripted import Broker

from celery_durable import confirms, make_durable


@pytest.fixture
def app() -> Celery:
    """A durable application with a task `add`; nothing listens where its broker would be."""
    app = make_durable(Celery("shop", broker="amqp://u:p@127.0.0.1:1//", set_as_current=False))

    @app.task(name="add", shared=False)
    def add(a: int, b: int) -> int:
        return a + b

    return app


@pytest.fixture
def broker(app: Celery, monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    """The broker of the application's windows; it waits little."""
    monkeypatch.setattr(confirms, "PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(confirms, "PATIENCE_SECONDS", 0.1)
    broker = Broker()
    broker.serve(app)
    yield broker
    Links._of.pop(app, None)
