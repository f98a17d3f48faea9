"""Results in a database: foreign data in a row is never executed."""

from __future__ import annotations

import importlib
import pickle
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

import programs
import pytest
from celery import Celery
from celery.backends.database import DatabaseBackend
from celery.exceptions import ImproperlyConfigured
from kombu.exceptions import DecodeError

from celery_durable import make_durable

BEFORE_57 = not hasattr(DatabaseBackend, "_decode_stored_result")


DRIVER = """
import sys
from types import SimpleNamespace
from celery import Celery
from celery_durable import make_durable
from celery_durable.durable import Precheck
app = make_durable(Celery("shop", backend="db+postgresql+psycopg://u@127.0.0.1:1/x"))
app.conf.database_create_tables_at_setup = False
before = "psycopg" in sys.modules
Precheck(SimpleNamespace(app=app)).create(SimpleNamespace(app=app))
print(before, "psycopg" in sys.modules)
"""


class Touch:
    """An object that creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.fixture(params=["db+sqlite:///{}", "database", "celery.backends.database:DatabaseBackend"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Celery:
    """An application with its results in a file."""
    path = tmp_path / "results.db"
    app = Celery("shop", backend=request.param.format(path), set_as_current=False)
    app.conf.database_url = f"sqlite:///{path}"
    return make_durable(app)


@pytest.fixture
def evil(tmp_path: Path) -> bytes:
    """A value of a column that would create the file `harm`."""
    found = pickle.dumps(Touch(tmp_path / "harm"))
    assert found.startswith(b"\x80")
    return found


def write(tmp_path: Path, statement: str, *values: Any) -> None:
    """Write into the database, past Celery."""
    with sqlite3.connect(tmp_path / "results.db") as connection:
        connection.execute(statement, values)


if BEFORE_57:

    def test_a_celery_that_pickles_every_result_is_refused(app: Celery) -> None:
        with pytest.raises(ImproperlyConfigured, match=r"use Celery 5.7, or another result backend\."):
            _ = app.backend

    def test_an_application_that_is_wrapped_keeps_its_results(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        code = f"from celery import Celery\napp = Celery('old', backend='db+sqlite:///{tmp_path}/r.db')\n"
        (tmp_path / "old_shop.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setenv("CELERY_DURABLE_APP", "old_shop:app")
        wrapped = importlib.import_module("celery_durable.wrap").app
        wrapped.backend.store_result("1", 3, "SUCCESS")
        assert wrapped.AsyncResult("1").get(timeout=1) == 3
        assert wrapped.conf.task_acks_late

else:

    def test_results_and_groups_are_stored_and_read(app: Celery) -> None:
        app.backend.store_result("1", {"sum": 3}, "SUCCESS")
        assert app.AsyncResult("1").get(timeout=1) == {"sum": 3}
        group = app.GroupResult("g", [app.AsyncResult("1")])
        group.save()
        assert app.GroupResult.restore("g").get(timeout=1) == [{"sum": 3}]
        assert app.GroupResult.restore("none") is None
        assert app.AsyncResult("none").state == "PENDING"
        app.backend.store_result("2", None, "SUCCESS")
        assert app.AsyncResult("2").get(timeout=1) is None

    def test_a_pickle_in_a_result_does_not_run(app: Celery, tmp_path: Path, evil: bytes) -> None:
        app.backend.store_result("1", None, "SUCCESS")
        write(tmp_path, "UPDATE celery_taskmeta SET result = ?", evil)
        with pytest.raises(DecodeError):
            app.AsyncResult("1").get(timeout=1)
        assert not (tmp_path / "harm").exists()

    def test_a_pickle_in_a_group_does_not_run(app: Celery, tmp_path: Path, evil: bytes) -> None:
        app.GroupResult("g", [app.AsyncResult("1")]).save()
        write(tmp_path, "UPDATE celery_tasksetmeta SET result = ?", evil)
        with pytest.raises(DecodeError):
            app.GroupResult.restore("g")
        assert not (tmp_path / "harm").exists()

    @pytest.mark.parametrize("column", ["args", "kwargs", "children", "stamps"])
    def test_a_pickle_in_another_column_does_not_run(
        app: Celery, tmp_path: Path, evil: bytes, column: str
    ) -> None:
        app.conf.result_extended = True
        app.backend.store_result("1", None, "SUCCESS")
        write(tmp_path, f"UPDATE celery_taskmeta SET {column} = ?", evil)
        with suppress(DecodeError):  # Celery itself passes over broken stamps
            app.AsyncResult("1").get(timeout=1)
        assert not (tmp_path / "harm").exists()

    def test_the_same_pickle_runs_in_an_application_that_is_not_durable(tmp_path: Path, evil: bytes) -> None:
        """Else the tests above would show nothing."""
        plain = Celery("plain", backend=f"db+sqlite:///{tmp_path / 'results.db'}", set_as_current=False)
        plain.backend.store_result("1", None, "SUCCESS")
        write(tmp_path, "UPDATE celery_taskmeta SET result = ?", evil)
        plain.AsyncResult("1").get(timeout=1)
        assert (tmp_path / "harm").exists()

    def test_the_driver_is_loaded_before_it_is_needed() -> None:
        assert programs.output(DRIVER) == "False True\n"


def test_a_backend_that_the_application_names_itself_stays() -> None:
    app = make_durable(Celery("shop", backend="cache+memory://", set_as_current=False))
    assert type(app.backend).__name__ == "CacheBackend"
