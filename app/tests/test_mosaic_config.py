"""The configuration file: what is right passes, what is wrong gets one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from mosaic.cli import main
from mosaic.config import ConfigError, load_config, parse_config, read_config

RIGHT = {
    "host": "worker-1",
    "broker": {"url": "amqp://u:p@127.0.0.1:5672/mosaic"},
    "database": {"url": "postgresql+psycopg://u:p@database-1/mosaic"},
}
GATEWAY = {"username": "lab", "password": "secret", "session_key": "0123456789abcdef"}


def test_defaults() -> None:
    config = parse_config(RIGHT)
    assert config.broker.heartbeat == 10
    assert config.gateway is None
    assert config.upkeep.max_attempts == 10


def test_secrets_are_not_in_the_representation() -> None:
    config = parse_config({**RIGHT, "gateway": GATEWAY})
    assert "secret" not in repr(config)
    assert "u:p@" not in repr(config)
    assert "0123456789abcdef" not in repr(config)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"host": ""}, "host must be"),
        ({"host": 3}, "host must be"),
        ({"colour": "red"}, "unknown key 'colour'"),
        ({"broker": {}}, "broker.url is missing"),
        ({"broker": {"url": 5}}, "broker.url must be of type str"),
        ({"broker": {"url": "amqps://broker-1"}}, "broker.url must start with amqp://"),
        ({"broker": {"url": "amqp://a;amqp://b"}}, "one broker address"),
        ({"broker": {"url": "amqp://a", "heartbeat": 0}}, "between 1 and 60"),
        ({"broker": {"url": "amqp://a", "heartbeat": True}}, "broker.heartbeat must be of type int"),
        ({"broker": {"url": "amqp://a", "port": 1}}, "unknown key broker.port"),
        ({"database": {"url": "sqlite:///x"}}, "postgresql+psycopg://"),
        ({"database": "x"}, "the table [database] is missing"),
        ({"gateway": {"username": "lab"}}, "gateway.password is missing"),
        ({"gateway": {**GATEWAY, "password": ""}}, "gateway.password must not be empty"),
        ({"gateway": {**GATEWAY, "session_key": "short"}}, "at least 16 characters"),
        ({"gateway": {**GATEWAY, "max_body_mb": 0}}, "between 1 and 1024"),
        ({"upkeep": {"max_attempts": 0}}, "upkeep.max_attempts must be at least 1"),
    ],
)
def test_wrong_value_gets_one_sentence(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config({**RIGHT, **change})
    message = str(caught.value)
    assert sentence in message
    assert message.endswith(".")
    assert "\n" not in message


def test_missing_file_names_the_variable(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="MOSAIC_CONFIG"):
        read_config(tmp_path / "none.toml")


@pytest.mark.parametrize("content", [b"host = ", b"\xff\xfe"])
def test_unreadable_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mosaic.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"mosaic\.toml"):
        read_config(path)


def test_command_line_ends_with_2_and_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOSAIC_CONFIG", str(tmp_path / "none.toml"))
    load_config.cache_clear()
    for command in (
        ["config-check"],
        ["migrate"],
        ["declare"],
        ["gateway"],
        ["log-ship"],
        ["probe", "worker-1"],
    ):
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 2, command
        assert result.stderr.count("\n") == 1, command
