"""./lab app add: what it finds in an application, and each application that it refuses."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from labctl.applications import declaration, source
from labctl.applications.declaration import Wanted
from labctl.audit import environment
from labctl.errors import UsageError
from labctl.paths import ROOT, LabPaths
from labctl.screen import Screen

# The second Python of the unit tests has no Celery.
PYTHON = Path(sys.executable) if find_spec("celery") else ROOT / ".venv" / "bin" / "python"
EMPTY = """
from celery import Celery
app = Celery("shop", broker="redis://localhost", backend="redis://localhost")
"""
SHOP = f"{EMPTY}\n@app.task\ndef sell():\n    return 1\n"
Add = Callable[..., dict[str, Any]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An application whose own values name Redis."""
    found = tmp_path / "shop"
    write(found, {"requirements.txt": "celery\n", "shop.py": SHOP})
    return found


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


@pytest.fixture
def declared(folder: Path, tmp_path: Path) -> Add:
    """Writes files into the application, and returns its declaration."""

    def add(wanted: Wanted | None = None, **files: str) -> dict[str, Any]:
        write(folder, files)
        paths = LabPaths("trial", tmp_path)
        chosen = wanted or Wanted()
        found = declaration.read(
            paths, Screen(), folder, source.pack(paths, folder), Wanted(**{**vars(chosen), "python": PYTHON})
        )
        return declaration.make(folder, source.name_of(folder, chosen.name), found, chosen)

    return add


def test_values_that_name_redis_are_replaced_by_those_of_the_lab(declared: Add, folder: Path) -> None:
    assert declared() == {
        "name": "shop",
        "source": str(folder),
        "app": "shop:app",
        "workers": [{"name": "default", "queues": ["celery"], "concurrency": 2}],
    }


def test_queues_of_routes_and_periodic_tasks_are_consumed(declared: Add) -> None:
    text = (
        SHOP
        + """
from celery.schedules import crontab
app.conf.timezone = "Europe/Berlin"
app.conf.task_routes = {"a": {"queue": "slow jobs"}, "b": "mail"}
app.conf.beat_schedule = {
    "tick": {"task": "a", "schedule": crontab(hour=3), "options": {"queue": "nightly"}}
}
"""
    )
    entry = declared(Wanted(queues=("more",)), **{"shop.py": text})
    assert entry["workers"][0]["queues"] == ["celery", "slow jobs", "nightly", "mail", "more"]
    assert entry["beat"] is True


def test_500_queues_are_declared(declared: Add) -> None:
    text = SHOP + "app.conf.task_routes = {f't{n}': {'queue': f'q{n}'} for n in range(500)}\n"
    assert len(declared(**{"shop.py": text})["workers"][0]["queues"]) == 501


def test_django_gets_its_settings_and_its_migrations(declared: Add) -> None:
    manage = 'import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings_of_shop")\n'
    check = "import os\nassert os.environ['DJANGO_SETTINGS_MODULE'] == 'settings_of_shop'\n"
    check += "assert os.environ['DATABASE_URL'].startswith('postgresql://')\n"
    entry = declared(**{"manage.py": manage, "settings_of_shop.py": "", "shop.py": check + SHOP})
    assert entry["environment"] == {
        "DJANGO_SETTINGS_MODULE": "settings_of_shop",
        "DATABASE_URL": "{database_url}",
    }
    assert entry["deploy"] == ["python manage.py migrate --noinput"]


@pytest.mark.parametrize(("name", "fits"), [("/code/db.sqlite3", False), (":memory:", True)])
def test_an_sqlite_file_of_django_is_refused(declared: Add, name: str, fits: bool) -> None:
    manage = 'import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings_of_shop")\n'
    databases = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": name}}
    files = {
        "manage.py": manage,
        "settings_of_shop.py": f"DATABASES = {databases}\n",
        "shop.py": "from django.conf import settings\nassert settings.DATABASES\n" + SHOP,
    }
    refused = pytest.raises(UsageError, match=r"the SQLite file db\.sqlite3.*let the settings read")
    with nullcontext() if fits else refused:
        declared(**files)


def test_an_import_that_writes_files_does_not_change_the_source(declared: Add, folder: Path) -> None:
    declared(**{"shop.py": "open('written.txt', 'w').write('x')\n" + SHOP})
    assert not (folder / "written.txt").exists()


REFUSED: list[tuple[dict[str, str], str]] = [
    (
        {"shop.py": "import absent_module\nfrom celery import Celery\nCelery('x')\n"},
        r"cannot be imported, ModuleNotFoundError: No module named 'absent_module' \(shop.py, line 1\)",
    ),
    ({"shop.py": "import celery\n"}, r"No Celery instance was found in \S+/shop: name it with --app"),
    ({"two.py": SHOP}, "has 2 Celery instances, shop:app, two:app: choose one with --app"),
    (
        {"shop.py": SHOP + "app.conf.broker_read_url = app.conf.broker_write_url = 'redis://r'\n"},
        "is redis, because broker_read_url, .* has precedence over CELERY_BROKER_URL",
    ),
    (
        {"shop.py": SHOP + "app.conf.broker_use_ssl = True\n"},
        "sets broker_use_ssl, .*: leave broker_use_ssl unset",
    ),
    (
        {"shop.py": SHOP + "app.backend_cls = 'redis'\n"},
        "result backend of its own class, .*: set result_backend instead",
    ),
    (
        {"shop.py": SHOP + "app.conf.task_routes = {'a': {'queue': 'a,b'}}\n"},
        "cannot be told to consume the queue 'a,b', .*: rename the queue",
    ),
    ({"shop.py": EMPTY}, "shop:app has no tasks, .*: import the modules that declare them"),
    (
        {"shop.py": "import socket\nsocket.create_connection(('127.0.0.1', 1))\n" + SHOP},
        "ConnectionRefusedError: .* correct the error",
    ),
]


@pytest.mark.parametrize(("files", "words"), REFUSED)
def test_an_application_that_cannot_run_is_refused(declared: Add, files: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        declared(**files)


def test_an_old_celery_is_refused(folder: Path) -> None:
    found = {"name": "shop:app", "celery": "4.4.7", "custom_backend": False, "own_tls": False, "sqlite": ""}
    with pytest.raises(UsageError, match=r"has Celery 4\.4\.7, and the lab runs Celery 5\.3 and newer"):
        declaration._check(found, [])


@pytest.mark.parametrize("wanted", [">=3.9,<3.13", "==3.11.*", "<3.12"])
def test_another_python_is_refused(folder: Path, wanted: str) -> None:
    text = f'[project]\nname = "shop"\nversion = "1"\nrequires-python = "{wanted}"\n'
    write(folder, {"pyproject.toml": text})
    with pytest.raises(UsageError, match=r"requires Python .* and the nodes have Python 3\.13: change"):
        source.check_python(folder)
    write(folder, {"pyproject.toml": text.replace(wanted, ">=3.9")})
    source.check_python(folder)


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        ("3.12.1", False),
        ("^3.9", True),
        ("~3.12", False),
        ("~3.13.1", True),
        ("^2.7", False),
        (">=3.9,<3.13", False),
        ("3.13.*", True),
        ("*", True),
        ("^2.7 || ^3.13", True),
    ],
)
def test_the_python_of_a_poetry_project_is_checked(folder: Path, wanted: str, fits: bool) -> None:
    write(folder, {"pyproject.toml": f'[tool.poetry.dependencies]\npython = "{wanted}"\n'})
    with nullcontext() if fits else pytest.raises(UsageError, match=r"requires Python .* Python 3\.13"):
        source.check_python(folder)


def test_a_project_file_that_cannot_be_read_is_refused(folder: Path) -> None:
    write(folder, {"pyproject.toml": "[project\n"})
    with pytest.raises(UsageError, match=r"pyproject\.toml is not valid TOML, .*: correct it"):
        source.check_python(folder)


@pytest.mark.parametrize("name", ["mosaic", "guest", "pg_shop", "Shop", "a", "x" * 32, "a-b"])
def test_a_name_that_the_lab_cannot_use_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"cannot have the name .* choose another with --name"):
        source.name_of(folder, name)


def test_the_name_is_that_of_the_project_else_of_the_folder(folder: Path) -> None:
    assert source.name_of(folder, "") == "shop"
    write(folder, {"pyproject.toml": '[project]\nname = "My-Shop.web"\n'})
    assert source.name_of(folder, "") == "my_shop_web"


def test_a_source_that_is_too_large_is_refused_but_not_for_its_environments(
    folder: Path, tmp_path: Path
) -> None:
    paths = LabPaths("trial", tmp_path)
    for place in (".git", "node_modules", ".venv"):
        (folder / place).mkdir()
        with (folder / place / "large").open("wb") as file:
            file.truncate(2_000_000_000)
    assert source.pack(paths, folder)["key"]
    with (folder / "dump").open("wb") as file:
        file.truncate(2_000_000_000)
    with pytest.raises(UsageError, match=r"has 2000 MB in 3 files, more than 200 MB \(the largest is dump\)"):
        source.pack(paths, folder)


def test_requirements_that_do_not_resolve_are_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    refused = r"cannot be installed with Python 3\.\d+, the package index .*: correct the error"
    with pytest.raises(UsageError, match=refused):
        environment.interpreter(folder, tmp_path / "cache", Screen())


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("NAME", "is not NAME=VALUE"),
        ("A-B=1", "is not NAME=VALUE"),
        ("CELERY_BROKER_URL=amqp://x", "The lab sets CELERY_BROKER_URL itself"),
        ("URL={databse_url}", "has {databse_url}; what the lab fills in is broker_url"),
    ],
)
def test_a_variable_that_cannot_be_set_is_refused(variable: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        declaration.check_variables((variable,))
