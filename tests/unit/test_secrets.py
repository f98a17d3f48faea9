"""Any secret of printable ASCII arrives as it is: each template rendered, and read back by who reads it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, cast

import httpx
import pika
import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import filter_loader, init_plugin_loader
from ansible.template import Templar, trust_as_template
from celery import Celery
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kombu import Connection
from mosaic.config import parse_config
from mosaic.gateway.auth import _basic_credentials
from mosaic.settings import celery_settings
from sqlalchemy import make_url

from labctl.console_api import password
from labctl.lab.files import make_private
from labctl.paths import LabPaths
from labctl.substrates.ssh import HostSubstrate
from labctl.testing import hostile
from tests.unit.rendering import DEBUG, PLAYBOOKS, ROLES, Rendered, _shown

CA = "/etc/warren/pki/ca.pem"
SECRETS = st.text([chr(code) for code in range(32, 127)], min_size=16, max_size=256)
REQUIRED = hostile.declared()


def any_secret(test: Callable[[str], None]) -> Callable[[], None]:
    """Run the test with many secrets, first with those that are known to be hard."""
    hard = [hostile.secret(name, change) for name in REQUIRED for change in (0, 1)]
    for text in (*hard, "1234567890123456", "/" * 16, '"' * 16, "\\" * 256, "%2F" * 6, "true" * 4):
        test = example(text)(test)
    return cast(Callable[[], None], settings(max_examples=60, deadline=None)(given(SECRETS)(test)))


@cache
def _plugins() -> None:
    init_plugin_loader()
    for folder in ROLES.glob("*/filter_plugins"):
        filter_loader.add_directory(str(folder))


def _trusted(value: Any) -> Any:
    """What is written in a role may have templates; a secret has none."""
    if isinstance(value, str):
        return trust_as_template(value)
    if isinstance(value, dict):
        return {key: _trusted(item) for key, item in value.items()}
    return [_trusted(item) for item in value] if isinstance(value, list) else value


@cache
def _of_role(role: str) -> dict[str, Any]:
    files = [ROLES / role / part / "main.yml" for part in ("defaults", "vars")]
    return {
        key: _trusted(value)
        for file in files
        if file.exists()
        for key, value in (yaml.safe_load(file.read_text()) or {}).items()
    }


def written(text: str, role: str, **variables: Any) -> str:
    """A template of a role with the role's variables and these."""
    _plugins()
    known = {"ansible_managed": "managed", "inventory_hostname": "gateway-1", **_of_role(role), **variables}
    return str(Templar(loader=DataLoader(), variables=known).template(trust_as_template(text)))


def template(role: str, name: str, **variables: Any) -> str:
    """The same of a file of the role."""
    return written((ROLES / role / "templates" / name).read_text(), role, **variables)


def task(role: str, path: str, **variables: Any) -> str:
    """The content that a task of the role writes to `path`."""
    (found,) = (task for task in _shown(ROLES / role / "tasks" / "configure.yml") if shown(task) == path)
    return written(found[DEBUG]["msg"]["content"], role, **_trusted(found.get("vars", {})), **variables)


def shown(task: dict[str, Any]) -> str:
    """Path that a task shows."""
    return str(task[DEBUG]["msg"]["path"])


def mosaic(secret: object, **variables: object) -> dict[str, Any]:
    """mosaic.toml of a gateway."""
    names = re.findall(r"mosaic_\w*password\b|mosaic_console_session_key", MOSAIC)
    given = dict.fromkeys(names, secret) | {
        "mosaic_database_host": "database-1",
        "mosaic_is_gateway": True,
        "mosaic_lab_brokers": ["broker-1"],
        "mosaic_prometheus_url": "",
    }
    return tomllib.loads(template("mosaic", "mosaic.toml.j2", **given, **variables))


MOSAIC = "".join(
    (ROLES / "mosaic" / part).read_text() for part in ("templates/mosaic.toml.j2", "vars/main.yml")
)


def environment(text: str) -> dict[str, str]:
    """Variables of an EnvironmentFile, by the rules of systemd.exec(5) and its env-file.c."""
    found, position = {}, 0
    text = "\n".join(line for line in text.splitlines() if not line.startswith("#")) + "\n"
    while position < len(text.rstrip("\n")):
        name, _, rest = text[position:].partition("=")
        value, length = _quoted(rest) if rest.startswith('"') else _bare(rest)
        found[name.strip()] = value
        position += len(name) + 1 + length
    return found


def _quoted(rest: str) -> tuple[str, int]:
    value, index = "", 1
    while rest[index] != '"':
        if rest[index] == "\\":
            index += 1
            value += "" if rest[index] in '"\\`$' else "\\"
        value += rest[index]
        index += 1
    assert rest[index + 1] == "\n", "something follows the closing quote"
    return value, index + 2


def _bare(rest: str) -> tuple[str, int]:
    value = rest.partition("\n")[0]
    assert not set(value) & set("\\'\""), "systemd would take some characters away"
    return value.strip(), len(value) + 1


def broker_password(url: str, user: str) -> str:
    """What pika and kombu, thus Celery, send to the broker."""
    parsed = pika.URLParameters(url)
    with Connection(url) as connection:
        assert (connection.hostname, connection.port) == (parsed.host, parsed.port)
        assert (connection.userid, connection.virtual_host) == (user, parsed.virtual_host)
        assert (parsed.credentials.username, parsed.credentials.password) == (user, connection.password)
        assert not connection.alt
        return str(connection.password)


def database_password(url: str, user: str) -> str:
    """What psycopg sends to the server by a SQLAlchemy URL."""
    parsed = make_url(url)
    _, arguments = parsed.get_dialect()().create_connect_args(parsed)
    assert (arguments["user"], arguments["host"]) == (user, "database-1")
    assert (arguments["sslmode"], arguments["sslrootcert"]) == ("verify-full", CA)
    return str(arguments["password"])


@any_secret
def test_configuration_of_the_application(secret: str) -> None:
    table = mosaic(secret)
    config = parse_config(table)
    assert config.gateway
    assert (config.gateway.password, config.gateway.session_key) == (secret, secret)
    assert config.lab.monitor_password == secret
    assert broker_password(config.broker.url, "mosaic") == secret
    assert database_password(config.database.url, "mosaic") == secret
    owner = mosaic(secret, __mosaic_database_user="mosaic_owner")
    assert database_password(owner["database"]["url"], "mosaic_owner") == secret


@any_secret
def test_celery_connects_with_the_passwords(secret: str) -> None:
    with Celery("secrets", set_as_current=False) as app:
        app.conf.update(celery_settings(parse_config(mosaic(secret))))
        assert app.connection_for_write().password == secret
        assert database_password(cast(Any, app.backend).url, "mosaic") == secret


@any_secret
def test_environment_of_an_added_application(secret: str) -> None:
    text = template(
        "celery_app",
        "application.env.j2",
        item={"name": "shop", "environment": {"OWN": "<{database_password}>", "URL": "{database_url}"}},
        celery_app_broker_passwords={"shop": secret},
        celery_app_database_passwords={"shop": secret},
        celery_app_database_host="database-1",
    )
    found = environment(text)
    assert found["OWN"] == f"<{secret}>"
    assert broker_password(found["CELERY_BROKER_URL"], "shop") == secret
    assert database_password(found["CELERY_RESULT_BACKEND"].removeprefix("db+"), "shop") == secret
    assert database_password(found["URL"].replace("postgresql:", "postgresql+psycopg:"), "shop") == secret


@any_secret
def test_flower(secret: str) -> None:
    text = task(
        "flower",
        "/etc/warren/flower.json",
        flower_broker_password=secret,
        flower_broker_user="mosaic-flower",
        flower_broker_vhosts=["mosaic", "shop"],
        flower_address="10.0.0.1",
    )
    brokers = json.loads(text)["brokers"]
    assert set(brokers) == {"mosaic", "shop"}
    assert {broker_password(url, "mosaic-flower") for url in brokers.values()} == {secret}


@any_secret
def test_brokers(secret: str) -> None:
    known = {"rabbitmq_monitor_password": secret, "rabbitmq_admin_password": secret}
    login = json.loads(task("rabbitmq", "/etc/warren/monitor.json", **known))
    assert (login["username"], login["password"]) == ("monitor", secret)
    passwords = {"shop": secret}
    text = template("rabbitmq", "definitions.json.j2", rabbitmq_application_passwords=passwords, **known)
    users = json.loads(text)["users"]
    assert [user["name"] for user in users] == ["admin", "monitor", "shop"]
    for user in users:
        raw = base64.b64decode(user["password_hash"])
        assert raw[4:] == hashlib.sha256(raw[:4] + secret.encode()).digest()
    # auth.erl accepts each character from the space to ~ and leaves out a line end.
    assert template("rabbitmq", "erlang.cookie.j2", rabbitmq_erlang_cookie=secret) == secret


@any_secret
def test_login_to_the_management_pages(secret: str) -> None:
    text = template("gateway", "proxies.conf.j2", gateway_broker_password=secret)
    # nginx expands $ and ends a word at a quote; base64 has neither.
    header = r'^ +proxy_set_header Authorization "(Basic [A-Za-z0-9+/=]+)";$'
    (found,) = re.findall(header, text, re.MULTILINE)
    assert _basic_credentials(found) == ("monitor", secret)


@any_secret
def test_login_to_the_console(secret: str) -> None:
    flow = httpx.BasicAuth("lab", secret).auth_flow(httpx.Request("GET", "https://lab.example"))
    assert _basic_credentials(next(flow).headers["Authorization"]) == ("lab", secret)


@pytest.mark.parametrize("number", [1234567890123456, -1234567890123456])
def test_a_number_is_its_digits(number: int) -> None:
    config = parse_config(mosaic(number))
    assert config.gateway
    assert config.gateway.password == config.lab.monitor_password == str(number)
    assert broker_password(config.broker.url, "mosaic") == str(number)


def test_no_slash_stays_in_the_password_of_a_url() -> None:
    """Jinja's urlencode keeps it."""
    names = ("*/templates/*", "*/tasks/*", "*/vars/*", "*/defaults/*")
    files = [*PLAYBOOKS.rglob("*.j2"), *PLAYBOOKS.rglob("*.yml")]
    for file in files + [file for name in names for file in ROLES.glob(name) if file.is_file()]:
        text = file.read_text()
        assert text.count("urlencode") == text.count("urlencode | replace('/', '%2F')"), file


def test_secrets_of_the_tests_can_be_used_and_are_hostile() -> None:
    found = [hostile.secret(name, change) for name in REQUIRED for change in range(3)]
    assert len(set(found)) == len(found)
    assert all(re.fullmatch("[ -~]{16,256}", secret) for secret in found)
    assert len(hostile.secret("erlang_cookie")) == 255
    assert set(" /@:%#?\"'\\${}[]=;,&|<>~`!*") <= set(hostile.AWKWARD)


def test_secrets_reach_their_places_from_their_files(usual: Rendered) -> None:
    lab, secrets = usual, usual.secrets
    assert secrets == {name: hostile.secret(name) for name in REQUIRED}
    config = parse_config(tomllib.loads(lab.text("gateway-1", "/etc/mosaic/mosaic.toml")))
    assert config.gateway
    assert config.gateway.password == secrets["console_password"]
    assert config.gateway.session_key == secrets["console_session"]
    assert config.lab.monitor_password == secrets["broker_monitor"]
    assert broker_password(config.broker.url, "mosaic") == secrets["broker_mosaic"]
    shipper = json.loads(lab.text("database-1", "/etc/warren/log-shipper.json"))
    assert (shipper["user"], shipper["password"]) == ("mosaic-logs", secrets["broker_mosaic_logs"])
    assert database_password(config.database.url, "mosaic") == secrets["database_mosaic"]
    owner = tomllib.loads(lab.text("gateway-1", "/etc/mosaic/owner.toml"))["database"]["url"]
    assert database_password(owner, "mosaic_owner") == secrets["database_owner"]
    assert lab.text("broker-1", "/var/lib/rabbitmq/.erlang.cookie") == secrets["erlang_cookie"]
    login = json.loads(lab.text("broker-1", "/etc/warren/monitor.json"))
    assert login["password"] == secrets["broker_monitor"]
    flower = json.loads(lab.text("monitor-1", "/etc/warren/flower.json"))["brokers"]
    assert broker_password(flower["mosaic"], "mosaic-flower") == secrets["broker_flower"]
    users = json.loads(lab.text("broker-1", "/etc/rabbitmq/definitions.json"))["users"]
    raw = {user["name"]: base64.b64decode(user["password_hash"]) for user in users}
    for user, name in (("admin", "broker_admin"), ("mosaic", "broker_mosaic")):
        assert raw[user][4:] == hashlib.sha256(raw[user][:4] + secrets[name].encode()).digest()


def test_the_console_is_asked_with_the_password_of_the_file(tmp_path: Path) -> None:
    paths = LabPaths("hostile", tmp_path)
    make_private(paths.state)
    hostile.write(paths.secrets, ["console_password"])
    assert password(paths) == hostile.secret("console_password")


@pytest.mark.parametrize(
    "text", ["!unsafe " + json.dumps(hostile.secret("console_password")), "1234567890123456"]
)
def test_the_console_is_asked_with_the_password_of_an_inventory(tmp_path: Path, text: str) -> None:
    (tmp_path / "hosts.yml").write_text('{"gateways": {"hosts": {"gateway-1": {}}}}')
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all.yml").write_text(f"lab_secrets:\n  console_password: {text}\n")
    found = HostSubstrate(LabPaths("hostile", tmp_path), tmp_path).console_password()
    assert found == (hostile.secret("console_password") if text.startswith("!") else text)
