"""The configuration file: an error is one sentence."""

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
        ({"host": ""}, "host must have at least 1 character"),
        ({"host": 3}, "host must be a valid string"),
        ({"colour": "red"}, "unknown key 'colour'; known keys are broker, database,"),
        ({"a\nb": "red"}, "unknown key 'a\\nb'"),
        ({"broker": {}}, "broker.url is missing"),
        ({"broker": {"url": 5}}, "broker.url must be a valid string"),
        ({"broker": {"url": ""}}, "broker.url must have at least 1 character"),
        ({"broker": {"url": "amqps://broker-1"}}, "broker.url must start with amqp://"),
        ({"broker": {"url": "amqp://a;amqp://b"}}, "broker.url must be one address"),
        (
            {"broker": {"url": "amqp://a", "heartbeat": 0}},
            "broker.heartbeat must be greater than or equal",
        ),
        ({"broker": {"url": "amqp://a", "heartbeat": True}}, "broker.heartbeat must be a valid integer"),
        (
            {"broker": {"url": "amqp://a", "port": 1}},
            "unknown key 'broker.port'; known keys are heartbeat",
        ),
        ({"database": {"url": "sqlite:///x"}}, "postgresql+psycopg://"),
        ({"database": "x"}, "the table [database] is missing"),
        ({"gateway": {"username": "lab"}}, "gateway.password is missing"),
        ({"gateway": {**GATEWAY, "password": ""}}, "gateway.password must have at least 1 character"),
        (
            {"gateway": {**GATEWAY, "session_key": "short"}},
            "gateway.session_key must have at least 16 characters",
        ),
        (
            {"gateway": {**GATEWAY, "max_body_mb": 2000}},
            "gateway.max_body_mb must be less than or equal",
        ),
        ({"gateway": {**GATEWAY, "max_body_mb": "5"}}, "gateway.max_body_mb must be a valid integer"),
        ({"lab": {"brokers": "broker-1"}}, "lab.brokers must be a list"),
        ({"lab": {"brokers": [1]}}, "lab.brokers.0 must be a valid string"),
        ({"lab": {"prometheus_url": "ftp://x"}}, "lab.prometheus_url must start with http"),
        ({"upkeep": {"max_attempts": 0}}, "upkeep.max_attempts must be greater than or equal"),
    ],
)
def test_wrong_value_gets_one_sentence(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config({**RIGHT, **change})
    message = str(caught.value)
    assert sentence in message
    assert message.endswith(".")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [("host", "host is missing."), ("broker", "the table [broker] is missing.")],
)
def test_missing_table_or_key_is_named(missing: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config({key: value for key, value in RIGHT.items() if key != missing})
    assert str(caught.value) == sentence


def test_wrong_value_is_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config({**RIGHT, "broker": {"url": "http://user:secret@x"}})
    assert "secret" not in str(caught.value)


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
        ["log-store"],
        ["probe", "worker-1"],
    ):
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 2, command
        assert result.stderr.count("\n") == 1, command
