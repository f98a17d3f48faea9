"""The filter that writes the environment of an application."""

from __future__ import annotations

import importlib.util
import shlex
from types import ModuleType
from urllib.parse import unquote, urlsplit

import pytest
from ansible.errors import AnsibleFilterError

from tests.unit.rendering import ROLES

BROKER = {"address": "127.0.0.1:5672", "password": "a/b:c@d%e"}
DATABASE = {"host": "database-1", "port": 5432, "password": "x/y?z#", "ca_file": "/ca.pem"}


@pytest.fixture(scope="module")
def filters() -> ModuleType:
    """The plugin file, loaded by its path as Ansible does."""
    file = ROLES / "celery_app" / "filter_plugins" / "celery_app.py"
    spec = importlib.util.spec_from_file_location("celery_app_filters", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def written(filters: ModuleType, **variables: object) -> dict[str, str]:
    """Variables of the file, by name."""
    text = filters.environment({"name": "shop", "environment": variables}, BROKER, DATABASE)
    return dict(word.split("=", 1) for word in shlex.split(text))


def test_any_password_is_that_of_the_url(filters: ModuleType) -> None:
    found = written(filters)
    for name, password in (
        ("CELERY_BROKER_URL", BROKER["password"]),
        ("CELERY_RESULT_BACKEND", DATABASE["password"]),
    ):
        url = urlsplit(found[name])
        assert unquote(url.password or "") == password
        assert url.path == "/shop"


@pytest.mark.parametrize(
    "value", ["", "a b", 'a "b"', "$HOME `id`", "back\\slash", '{"a": 1}', "two\nlines", "#x"]
)
def test_a_value_arrives_as_it_is(filters: ModuleType, value: str) -> None:
    assert written(filters, X=value)["X"] == value


def test_a_field_becomes_the_value_of_this_application(filters: ModuleType) -> None:
    found = written(filters, HOST="{database_host}:{database_port}", PASSWORD="{database_password}")
    assert found["HOST"] == "database-1:5432"
    assert found["PASSWORD"] == DATABASE["password"]


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"X": "{databse_url}"}, r"X has {databse_url}; there are broker_url, ca_file, data_dir, "),
        ({"A B": "x"}, "A B is no name of a variable"),
        ({"CELERY_BROKER_URL": "redis://"}, "CELERY_BROKER_URL is set by the lab"),
        ({"WORKER_QUEUES": "x"}, "WORKER_QUEUES is set by the lab"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    filters: ModuleType, variables: dict[str, str], complaint: str
) -> None:
    with pytest.raises(AnsibleFilterError, match=complaint):
        written(filters, **variables)
