"""A chord with a lost task ends when the results of the others have expired."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from celery import VERSION, Celery

from celery_durable import make_durable


def most_polls(app: Celery) -> Any:
    """Return how often Celery looks for the results of a chord."""
    return app.tasks["celery.chord_unlock"].max_retries


@pytest.mark.parametrize(
    ("settings", "polls"),
    [
        ({}, 86_400),
        ({"result_expires": timedelta(hours=1), "result_chord_retry_interval": 2.0}, 1800),
        ({"result_expires": 90}, 90),
        ({"result_expires": None}, None),
        ({"task_annotations": {"celery.chord_unlock": {"max_retries": 7}}}, 7),
    ],
)
def test_polls_end_with_the_results(settings: dict[str, Any], polls: int | None) -> None:
    app = make_durable(Celery("chords", set_as_current=False))
    app.conf.update(settings)
    assert most_polls(app) == polls


def test_an_application_that_is_finalized_already() -> None:
    app = Celery("chords", set_as_current=False)
    assert most_polls(app) is None
    assert most_polls(make_durable(app)) == 86_400


def test_chord_fails_after_the_last_poll() -> None:
    app = make_durable(Celery("chords", broker="memory://", backend="cache+memory://", set_as_current=False))
    app.conf.update(result_expires=1, task_always_eager=False)
    unlock: Any = app.tasks["celery.chord_unlock"]
    body = app.signature("body", task_id="body", options={"task_id": "body"})
    unlock.push_request(id="unlock", retries=5, called_directly=False, is_eager=False, delivery_info={})
    try:
        with pytest.raises(unlock.MaxRetriesExceededError):
            unlock.run("group", dict(body), result=[[["never", None], None]])
    finally:
        unlock.pop_request()
    if (VERSION.major, VERSION.minor) >= (5, 7):  # an older Celery only stops to poll
        assert "could not be retried" in str(app.AsyncResult("body").result)
