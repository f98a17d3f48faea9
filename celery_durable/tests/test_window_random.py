"""ConfirmWindow with random brokers: no confirmed message is sent again, and none is forgotten."""

from __future__ import annotations

from unittest.mock import patch

from amqp.exceptions import ConnectionForced
from celery import Celery
from celery_durable.link import Links
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import Answer, Broker, Connection

from celery_durable import ConfirmWindow, Unconfirmed, confirms, make_durable

DOINGS = ("ack", "ack", "ack", "ack all", "nack", "nack all", "silence", "lose", "break")
APP = make_durable(Celery("shop", broker="amqp://u:p@127.0.0.1:1//", set_as_current=False))


def any_broker(broker: Broker, doings: list[str]) -> Answer:
    """Return what a broker does that does these things one after the other, and then confirms."""
    left = iter(doings)

    def answer(connection: Connection, tag: int, task_id: str) -> None:
        assert task_id not in broker.taken, "its confirm was read, and it is sent again"
        doing = next(left, "ack all")
        if doing.startswith("ack"):
            connection.ack(tag, multiple=doing.endswith("all"))
        elif doing.startswith("nack"):
            connection.nack(tag, multiple=doing.endswith("all"))
        elif doing == "lose":
            connection.fail(ConnectionForced("closed by the broker"))
        elif doing == "break":
            raise BrokenPipeError

    return answer


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    doings=st.lists(st.sampled_from(DOINGS), max_size=40),
    count=st.integers(1, 12),
    size=st.integers(1, 5),
    patience=st.sampled_from((0.01, 10.0)),
)
def test_each_message_is_confirmed_once_or_reported(
    doings: list[str], count: int, size: int, patience: float
) -> None:
    broker = Broker()
    broker.answer = any_broker(broker, doings)
    ids = [f"task-{number}" for number in range(count)]
    reported: list[str] = []
    seconds = 0.2 if "silence" in doings else 20
    with (
        patch.object(confirms, "PAUSE_SECONDS", 0.001),
        patch.object(confirms, "PATIENCE_SECONDS", patience),
        patch.dict(APP.__dict__),
    ):
        Links._of.pop(APP, None)
        broker.serve(APP)
        try:
            with ConfirmWindow(APP, timeout=seconds, size=size) as window:
                for task_id in ids:
                    try:
                        APP.send_task("add", task_id=task_id, producer=window)
                    except Unconfirmed as error:
                        reported += error.task_ids
        except Unconfirmed as error:
            reported += error.task_ids
    assert len(reported) == len(set(reported))
    assert broker.taken.union(reported) == set(ids)  # in both: its confirm came late
    if "silence" not in doings:
        assert reported == []
    if not reported:
        assert broker.most_unconfirmed <= size
