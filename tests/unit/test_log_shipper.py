"""lab-log-shipper: what it reads from the journal, what it publishes, and what it keeps when brokers fail."""

from __future__ import annotations

import datetime
import importlib.machinery
import importlib.util
import json
import os
import threading
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Self

import pika.exceptions
import pytest
from mosaic.logs.store import entry_of

from labctl.paths import ROOT

PROGRAM = ROOT / "roles" / "log_shipper" / "files" / "lab-log-shipper"
SECOND = 1_000_000
FIELDS = {
    "__CURSOR": "s=abc;i=1",
    "__REALTIME_TIMESTAMP": "1793534400000001",
    "PRIORITY": "4",
    "_SYSTEMD_UNIT": "demo.service",
    "MESSAGE": "hello",
}
CONFIG = {
    "host": "broker-1",
    "brokers": ["broker-1", "broker-2", "broker-3"],
    "exchange": "mosaic.logs",
    "lines": 5,
}


@pytest.fixture
def module() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("log_shipper", str(PROGRAM))
    spec = importlib.util.spec_from_loader("log_shipper", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


class Channel:
    """Confirms what is published; with `error`, refuses it."""

    def __init__(self) -> None:
        self.published: list[tuple[str, str, bytes, pika.BasicProperties]] = []
        self.error: Exception | None = None

    def basic_publish(
        self, exchange: str, key: str, body: bytes, properties: pika.BasicProperties, mandatory: bool
    ) -> None:
        assert mandatory
        if self.error:
            raise self.error
        self.published.append((exchange, key, body, properties))

    @property
    def texts(self) -> list[str]:
        return [json.loads(body)["message"] for _, _, body, _ in self.published]


@pytest.fixture
def channel() -> Channel:
    return Channel()


def entry(number: int, second: float = 0, unit: str = "demo.service", text: str = "") -> dict[str, str]:
    """An entry of the journal, so many seconds after a time that begins a window."""
    at = 1_793_534_400 * SECOND + int(second * SECOND)
    return {
        "__CURSOR": f"c{number}",
        "__REALTIME_TIMESTAMP": str(at),
        "MESSAGE": text or f"line {number}",
        "_SYSTEMD_UNIT": unit,
    }


def publish(module: ModuleType, folder: Path, channel: Channel, *batches: list[dict[str, str]]) -> str:
    """Publish the batches on one connection; returns the stored cursor."""
    shipper = module.Shipper(CONFIG, folder)
    limit = module.Limit(CONFIG["host"], CONFIG["lines"])
    for entries in batches:
        shipper._publish(channel, entries, limit)
    return str(shipper._cursors.load())


def test_entry_of_the_journal_is_a_record_that_the_application_stores(
    module: ModuleType, channel: Channel, tmp_path: Path
) -> None:
    assert publish(module, tmp_path, channel, [FIELDS]) == FIELDS["__CURSOR"]
    ((exchange, key, body, properties),) = channel.published
    assert (exchange, key, properties.delivery_mode) == ("mosaic.logs", "broker-1.warning", 2)
    stored = entry_of(body, properties.message_id)
    assert (stored.host, stored.severity, stored.unit, stored.message) == (
        "broker-1",
        4,
        "demo.service",
        "hello",
    )
    assert stored.logged_at == datetime.datetime(2026, 11, 1, 12, 0, 0, 1, tzinfo=datetime.UTC)


def test_message_id_is_of_the_entry_and_its_host(module: ModuleType) -> None:
    first = module.record_of(FIELDS, "worker-1")["message_id"]
    assert first == module.record_of({**FIELDS, "MESSAGE": "changed"}, "worker-1")["message_id"]
    assert first != module.record_of(FIELDS, "worker-2")["message_id"]
    assert first != module.record_of({**FIELDS, "__CURSOR": "s=abc;i=2"}, "worker-1")["message_id"]


RABBITMQ = "2026-11-30 12:43:04.123456+00:00 [{}] <0.254.0> node rabbit@broker-2 down"


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"MESSAGE": [104, 105, 255]}, ("hi\ufffd", 4, "demo.service")),
        ({"MESSAGE": ["a", "b"]}, ("a\nb", 4, "demo.service")),
        ({"MESSAGE": None}, ("", 4, "demo.service")),
        ({"MESSAGE": "x" * 10_000}, ("x" * 8192, 4, "demo.service")),
        ({"MESSAGE": "\x1b[38;5;87mhello\x1b[0m"}, ("hello", 4, "demo.service")),
        ({"PRIORITY": None}, ("hello", 6, "demo.service")),
        ({"PRIORITY": "12"}, ("hello", 6, "demo.service")),
        ({"_SYSTEMD_UNIT": None, "SYSLOG_IDENTIFIER": "kernel"}, ("hello", 4, "kernel")),
        # systemd about a unit, and a program that only says so.
        (
            {"_SYSTEMD_UNIT": "init.scope", "_PID": "1", "UNIT": "rabbitmq-server.service"},
            ("hello", 4, "rabbitmq-server.service"),
        ),
        ({"_PID": "77", "UNIT": "rabbitmq-server.service"}, ("hello", 4, "demo.service")),
    ],
)
def test_odd_fields(module: ModuleType, change: dict[str, object], wanted: tuple[str, int, str]) -> None:
    found = module.record_of({**FIELDS, **change}, "worker-1")
    assert (found["message"], found["severity"], found["unit"]) == wanted


@pytest.mark.parametrize(
    ("priority", "text", "severity"),
    [
        ("6", RABBITMQ.format("error"), 3),
        ("6", RABBITMQ.format("warning"), 4),
        ("6", RABBITMQ.format("info"), 6),
        ("6", "ts=2026-11-30T12:43:04Z caller=main.go:1 level=warn msg=x", 4),
        ("6", "an [error] that somebody writes about", 6),
        ("2", RABBITMQ.format("warning"), 2),
    ],
)
def test_severity_of_programs_that_write_their_own_level(
    module: ModuleType, priority: str, text: str, severity: int
) -> None:
    assert (
        module.record_of({**FIELDS, "PRIORITY": priority, "MESSAGE": text}, "broker-1")["severity"]
        == severity
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "cannot reach amqp://mosaic:Kq8%2Fx@127.0.0.1:5672/mosaic",
            "cannot reach amqp://mosaic:***@127.0.0.1:5672/mosaic",
        ),
        ("STATEMENT:  ALTER ROLE mosaic PASSWORD 'two words'", "STATEMENT:  ALTER ROLE mosaic PASSWORD ***"),
        ('{"password": "a, b", "user": "x"}', '{"password": ***, "user": "x"}'),
        ("erlang.cookie = ABCDEF end", "erlang.cookie = *** end"),
        (
            'password authentication failed for user "mosaic"',
            'password authentication failed for user "mosaic"',
        ),
        ("https://gateway-1:443/jobs", "https://gateway-1:443/jobs"),
    ],
)
def test_passwords_are_masked(module: ModuleType, text: str, shown: str) -> None:
    assert module.record_of({**FIELDS, "MESSAGE": text}, "broker-1")["message"] == shown


def test_cursor_stays_until_the_broker_has_confirmed(
    module: ModuleType, channel: Channel, tmp_path: Path
) -> None:
    channel.error = pika.exceptions.NackError([])
    with pytest.raises(module.FAILURES):
        publish(module, tmp_path, channel, [entry(1)])
    assert module.CursorFile(tmp_path / "cursor").load() is None
    channel.error = None
    assert publish(module, tmp_path, channel, [entry(1), entry(2)]) == "c2"
    assert channel.texts == ["line 1", "line 2"]


def test_own_lines_are_not_published(module: ModuleType, channel: Channel, tmp_path: Path) -> None:
    assert publish(module, tmp_path, channel, [entry(1, unit="lab-log-shipper.service")]) == "c1"
    assert channel.texts == []


def test_flood_of_one_unit_is_limited_and_says_so(
    module: ModuleType, channel: Channel, tmp_path: Path
) -> None:
    flood = [entry(number, number / 100) for number in range(50)]
    other = [entry(100, 1, unit="postgresql@17-main.service", text="checkpoint")]
    assert publish(module, tmp_path, channel, flood, other, [entry(200, 11, text="later")]) == "c200"
    *lines, quiet, missing, later = channel.texts
    assert lines == [f"line {number}" for number in range(CONFIG["lines"])]  # type: ignore[call-overload]
    assert (quiet, later) == ("checkpoint", "later")
    assert missing.startswith("45 more lines of 10 s are only in the journal of broker-1")
    record = json.loads(channel.published[-2][2])
    assert (record["unit"], record["severity"]) == ("demo.service", 4)
    entry_of(channel.published[-2][2], channel.published[-2][3].message_id)


def test_end_of_a_flood_is_told_when_nothing_follows(
    module: ModuleType, channel: Channel, tmp_path: Path
) -> None:
    publish(module, tmp_path, channel, [entry(number) for number in range(7)], [])
    assert channel.texts[-1].startswith("2 more lines")


def test_backlog_of_a_long_failure_is_no_flood(module: ModuleType, channel: Channel, tmp_path: Path) -> None:
    publish(module, tmp_path, channel, [entry(number, 10 * number) for number in range(40)])
    assert len(channel.texts) == 40


JOURNALCTL = """#!/bin/sh
case "$*" in
*--after-cursor=gone*) exit 1 ;;
*--after-cursor=c1*) printf '{"__CURSOR": "c2", "MESSAGE": "two"}\\n' ;;
*)
    printf '{"__CURSOR": "c1", "MESSAGE": "one"}\\nno entry\\n{"__CURSOR": "c2", "MES'
    sleep 0.2
    printf 'SAGE": "two"}\\n' ;;
esac
sleep 60
"""


@pytest.fixture
def journalctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a journalctl that knows two entries first on the path."""
    program = tmp_path / "journalctl"
    program.write_text(JOURNALCTL)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


@pytest.mark.usefixtures("journalctl")
@pytest.mark.parametrize(("cursor", "messages"), [(None, ["one", "two"]), ("c1", ["two"])])
def test_journal_is_read_from_the_cursor(module: ModuleType, cursor: str | None, messages: list[str]) -> None:
    journal = module.Journal(cursor)
    found: list[str] = []
    try:
        while len(found) < len(messages):
            found += [entry["MESSAGE"] for entry in journal.read(5)]
    finally:
        journal.close()
    assert found == messages


class Connection:
    """A connection whose channel is the test's."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def channel(self) -> Connection:
        return self

    def confirm_delivery(self) -> None:
        pass

    def process_data_events(self, _seconds: float) -> None:
        pass


class Finished(BaseException):
    """Ends a run."""


def run(
    module: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch, connect: Any, attempts: int
) -> tuple[list[str], list[float]]:
    """Run the shipper until it has paused so often; returns the brokers that it used, and the pauses."""
    used: list[str] = []
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == attempts:
            raise Finished

    def remember(_self: object, broker: str) -> Any:
        used.append(broker)
        return connect(broker)

    monkeypatch.setattr(module.Shipper, "_connect", remember)
    # Of the program alone: a thread of another test may sleep too.
    monkeypatch.setattr(module, "time", SimpleNamespace(**{**vars(time), "sleep": pause}))
    with pytest.raises(Finished):
        module.Shipper(CONFIG, folder).run()
    return used, pauses


def test_each_broker_is_tried_before_a_longer_pause(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_broker: str) -> Any:
        raise pika.exceptions.AMQPConnectionError

    used, pauses = run(module, tmp_path, monkeypatch, refuse, 30)
    assert sorted(used[:3]) == sorted(used[3:6]) == CONFIG["brokers"]
    assert pauses[0] < pauses[5] < pauses[-1] == module.MAX_PAUSE_S
    assert "<4>broker-" in capsys.readouterr().err


@pytest.mark.usefixtures("journalctl")
def test_cursor_that_the_journal_no_longer_has_is_dropped(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channel: Channel
) -> None:
    module.CursorFile(tmp_path / "cursor").save("gone")
    run(module, tmp_path, monkeypatch, lambda _broker: Connection(channel), 1)
    assert module.CursorFile(tmp_path / "cursor").load() is None


def test_journalctl_that_waits_for_its_reader_is_ended(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "journalctl"
    program.write_text("#!/bin/sh\ntrap '' TERM\nwhile echo '{}'; do :; done\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    journal = module.Journal(None)
    journal.read(5)
    closing = threading.Thread(target=journal.close, daemon=True)
    closing.start()
    closing.join(5)
    assert not closing.is_alive()


def test_entry_without_an_end_does_not_fill_the_memory(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "journalctl"
    program.write_text(
        "#!/bin/sh\nhead -c 5000000 /dev/zero | tr '\\0' x\necho\necho '{\"__CURSOR\": \"c1\"}'\nsleep 60\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    journal = module.Journal(None)
    found: list[dict[str, str]] = []
    try:
        while not found:
            found = journal.read(5)
            assert len(journal._buffer) <= module.MAX_LINE
    finally:
        journal.close()
    assert found == [{"__CURSOR": "c1"}]


def test_program_says_in_its_unit_what_it_excludes(module: ModuleType) -> None:
    tasks = (PROGRAM.parents[1] / "tasks" / "install.yml").read_text(encoding="utf-8")
    assert f"/etc/systemd/system/{module.OWN_UNIT}" in tasks
