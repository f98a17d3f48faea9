"""Dead letters: distinguished, sent back once, and never lost after a failure in between."""

from __future__ import annotations

import datetime
import json
import uuid
from contextlib import nullcontext
from typing import Any, Self

import pika.exceptions
import pytest
from fastapi.testclient import TestClient
from mosaic import dead_letters
from mosaic.dead_letters import GoneError, letter_of
from mosaic.gateway import dead_letters as routes
from mosaic.ledger import work
from mosaic.ledger.database import transaction
from pika import BasicProperties
from test_mosaic_gateway import VIEW

DIED = datetime.datetime(2026, 11, 1, 12, tzinfo=datetime.UTC)


def properties(own_id: str = "task-1", **changes: Any) -> BasicProperties:
    """Return what a rejected task's message carries."""
    death = {
        "count": 5,
        "reason": "delivery_limit",
        "queue": "mosaic.render",
        "exchange": "mosaic.tasks",
        "routing-keys": ["render"],
        "time": DIED,
        **changes,
    }
    headers = {
        "task": "mosaic.render.tile",
        "id": own_id,
        "retries": 2,
        "x-death": [death],
        "x-first-death-queue": "mosaic.render",
        "x-delivery-count": 5,
    }
    return BasicProperties(headers=headers, content_type="application/json", expiration="10")


def body(job: object = "x", index: object = 3) -> bytes:
    """Return the body of a part's task."""
    return json.dumps([[str(job), index], {}, {}]).encode()


class FakeChannel:
    """A channel on a list of messages; unacknowledged ones are back when it is closed."""

    def __init__(self, broker: FakeBroker) -> None:
        self.broker, self.taken, self.acked, self.is_open = broker, [], [], True

    def queue_declare(self, _queue: str, **_: bool) -> Any:
        """Say how many messages there are."""
        count = len(self.broker.messages)
        return type("Frame", (), {"method": type("Ok", (), {"message_count": count})()})()

    def basic_get(self, _queue: str) -> tuple[Any, Any, Any]:
        """Take the next one."""
        if len(self.taken) == len(self.broker.messages):
            return None, None, None
        self.taken.append(self.broker.messages[len(self.taken)])
        method = type("Got", (), {"delivery_tag": len(self.taken)})()
        return method, *self.taken[-1]

    def confirm_delivery(self) -> None:
        """Confirms are always on here."""

    def basic_publish(
        self, exchange: str, key: str, content: bytes, props: BasicProperties, **_: bool
    ) -> None:
        """Publish, or raise the configured failure."""
        if self.broker.failure:
            raise self.broker.failure
        self.broker.published.append((exchange, key, content, props))

    def basic_ack(self, tag: int) -> None:
        """Acknowledge one."""
        self.acked.append(self.taken[tag - 1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Keep what was not acknowledged."""
        self.is_open = False
        self.broker.messages = [one for one in self.broker.messages if one not in self.acked]


class FakeBroker:
    """What the functions need of a connection."""

    def __init__(self, *messages: tuple[BasicProperties, bytes]) -> None:
        self.messages = list(messages)
        self.published: list[tuple[str, str, bytes, BasicProperties]] = []
        self.failure: Exception | None = None
        self.is_open = False

    def channel(self) -> FakeChannel:
        """Open a channel."""
        return FakeChannel(self)


def handles(broker: FakeBroker) -> list[str]:
    """Return the handles of all letters."""
    return [letter.handle for letter in dead_letters.listed(broker, 10)[0]]  # type: ignore[arg-type]


def test_letter_says_what_and_why() -> None:
    job = uuid.uuid4()
    letter = letter_of(properties(), body(job))
    assert (letter.name, letter.reason, letter.queue, letter.count) == (
        "mosaic.render.tile",
        "delivery_limit",
        "mosaic.render",
        5,
    )
    assert (letter.exchange, letter.routing_key, letter.at) == ("mosaic.tasks", "render", DIED)
    assert letter.part == (job, 3)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"[[1]]",
        body("no uuid"),
        body(uuid.uuid4(), "x"),
        body(uuid.uuid4(), float("inf")),
        body(uuid.uuid4(), -1),
        body(uuid.uuid4(), 2**31),
    ],
)
def test_any_bytes_are_a_letter(content: bytes) -> None:
    assert letter_of(properties(), content).part is None
    assert letter_of(BasicProperties(), content).reason == "unknown"
    assert letter_of(BasicProperties(headers={"x-death": ["forged"]}), content).reason == "unknown"


def test_letters_are_told_apart() -> None:
    first = letter_of(properties(), body())
    assert letter_of(properties(), body()).handle == first.handle
    assert letter_of(properties("task-2"), body()).handle != first.handle
    later = DIED + datetime.timedelta(seconds=1)
    assert letter_of(properties(time=later), body()).handle != first.handle


def test_one_letter_goes_back_and_the_others_stay() -> None:
    broker = FakeBroker(*((properties(f"task-{number}"), body()) for number in range(3)))
    wanted = handles(broker)[1]
    prepared: list[str] = []
    dead_letters.retry(broker, wanted, lambda letter: prepared.append(letter.handle))  # type: ignore[arg-type]
    assert [one[0].headers["id"] for one in broker.messages] == ["task-0", "task-2"]
    ((exchange, key, content, copy),) = broker.published
    assert (exchange, key, content) == ("mosaic.tasks", "render", body())
    assert copy.headers == {"task": "mosaic.render.tile", "id": "task-1", "retries": 2}
    assert (copy.expiration, copy.delivery_mode, copy.content_type) == (None, 2, "application/json")
    assert prepared == [wanted]
    with pytest.raises(GoneError):
        dead_letters.retry(broker, wanted, lambda _: None)  # type: ignore[arg-type]


@pytest.mark.parametrize("failure", [pika.exceptions.NackError([]), pika.exceptions.ConnectionClosed(0, "x")])
def test_letter_stays_when_its_copy_is_not_confirmed(failure: Exception) -> None:
    broker = FakeBroker((properties(), body()))
    broker.failure = failure
    with pytest.raises(pika.exceptions.AMQPError):
        dead_letters.retry(broker, handles(broker)[0], lambda _: None)  # type: ignore[arg-type]
    assert len(broker.messages) == 1


def test_letter_stays_when_the_ledger_fails() -> None:
    broker = FakeBroker((properties(), body()))

    def fail(_: object) -> None:
        raise OSError("the database does not answer")

    for act in (dead_letters.retry, dead_letters.drop):
        with pytest.raises(OSError, match="does not answer"):
            act(broker, handles(broker)[0], fail)  # type: ignore[arg-type]
    assert (len(broker.messages), broker.published) == (1, [])


def test_letter_without_a_past_stays() -> None:
    broker = FakeBroker((BasicProperties(), b"?"))
    with pytest.raises(GoneError, match="where it came from"):
        dead_letters.retry(broker, handles(broker)[0], lambda _: None)  # type: ignore[arg-type]
    assert len(broker.messages) == 1


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> FakeBroker:
    """Put a broker behind the API."""
    fake = FakeBroker()
    monkeypatch.setattr(routes, "connect", lambda *_: nullcontext(fake))
    return fake


def test_retry_from_the_page_gives_the_part_another_chance(client: TestClient, broker: FakeBroker) -> None:
    job = client.post("/api/jobs/render", json=VIEW).json()["job"]
    with transaction() as session:
        work.give_up(session, uuid.UUID(job), 3, "five deaths")
    broker.messages = [(properties(), body(job))]
    listed = client.get("/api/dead-letters").json()
    assert (listed["total"], listed["letters"][0]["reason"]) == (1, "delivery_limit")
    handle = listed["letters"][0]["handle"]
    assert client.post(f"/api/dead-letters/{handle}/retry").status_code == 200
    shown = client.get(f"/api/jobs/{job}").json()
    assert (shown["state"], shown["parts"][3]["state"]) == ("running", "accepted")
    assert client.post(f"/api/dead-letters/{handle}/retry").status_code == 404
    assert len(broker.published) == 1


def test_drop_from_the_page_gives_the_part_up(client: TestClient, broker: FakeBroker) -> None:
    job = client.post("/api/jobs/render", json=VIEW).json()["job"]
    broker.messages = [(properties(), body(job))]
    handle = client.get("/api/dead-letters").json()["letters"][0]["handle"]
    assert client.post(f"/api/dead-letters/{handle}/drop").status_code == 200
    assert broker.messages == []
    assert (
        client.get(f"/api/jobs/{job}").json()["error"]
        == "part 3: its message was dropped from the dead letters"
    )


def test_absent_broker_is_a_503_and_an_unknown_place_a_409(client: TestClient, broker: FakeBroker) -> None:
    broker.messages = [(properties(), body())]
    handle = client.get("/api/dead-letters").json()["letters"][0]["handle"]
    broker.failure = pika.exceptions.UnroutableError([])
    assert client.post(f"/api/dead-letters/{handle}/retry").status_code == 409
    broker.failure = pika.exceptions.ConnectionClosed(0, "gone")
    assert client.post(f"/api/dead-letters/{handle}/retry").status_code == 503
    assert len(broker.messages) == 1


@pytest.mark.parametrize("handle", ["x", "..", "0" * 23, "Z" * 24])
def test_odd_handles_are_refused(client: TestClient, handle: str) -> None:
    assert client.post(f"/api/dead-letters/{handle}/retry").status_code in (404, 405, 422)
