"""make_durable in many kinds of applications: their own settings stay, the others are durable."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import programs
import pytest
from amqp.exceptions import MessageNacked
from celery import Celery, Task, shared_task
from celery.app.defaults import DEFAULTS
from celery_durable.durable import Precheck
from celery_durable.settings import PUBLISH_RETRY_POLICY, SETTINGS
from flask import Flask

from celery_durable import make_durable


def plain(**options: Any) -> Celery:
    """A Celery application as it comes."""
    return Celery("shop", broker="amqp://u:p@127.0.0.1:1//", set_as_current=False, **options)


def is_durable(app: Celery) -> bool:
    """Whether every setting has its value; those that depend on others are tested below."""
    return all(app.conf[s.name] == s.value for s in SETTINGS if not isinstance(s.value, (Callable, dict)))


def from_object(app: Celery) -> None:
    app.config_from_object(SimpleNamespace(task_default_queue="orders"))


def from_namespace(app: Celery) -> None:
    app.config_from_object(SimpleNamespace(CELERY_TASK_DEFAULT_QUEUE="orders"), namespace="CELERY")


def from_old_names(app: Celery) -> None:
    app.config_from_object(SimpleNamespace(CELERY_DEFAULT_QUEUE="orders", CELERYD_CONCURRENCY=3))


def by_update(app: Celery) -> None:
    app.conf.update(task_default_queue="orders")


def by_attribute(app: Celery) -> None:
    app.conf.task_default_queue = "orders"


def by_defaults(app: Celery) -> None:
    app.add_defaults({"task_default_queue": "orders"})


def read_first(app: Celery) -> None:
    by_update(app)
    _ = app.conf.task_acks_late, app.amqp.queues, app.amqp.router, app.events


CONFIGURED = [from_object, from_namespace, from_old_names, by_update, by_attribute, by_defaults, read_first]


@pytest.mark.parametrize("configure", CONFIGURED)
@pytest.mark.parametrize("order", ["before", "after"])
def test_settings_are_durable_however_the_application_is_configured(
    configure: Callable[[Celery], None], order: str
) -> None:
    app = plain()
    if order == "after":
        make_durable(app)
    configure(app)
    if order == "before":
        assert make_durable(app) is app
    assert app.conf.task_default_queue == "orders"
    assert is_durable(app)
    assert app.amqp.queues["orders"].queue_arguments == {"x-queue-type": "quorum"}
    assert app.amqp.queues["orders"].exchange.type == "topic"


def test_nothing_is_read_at_import_or_by_make_durable() -> None:
    app = make_durable(plain())
    assert not app.configured


def lacking(app: Celery) -> set[str]:
    return {setting.name for setting in SETTINGS if not setting.suffices(app.conf)}


def test_a_plain_application_lacks_settings_and_a_durable_one_none() -> None:
    assert lacking(plain()) == {setting.name for setting in SETTINGS} - {
        "broker_native_delayed_delivery_queue_type",
        "database_engine_options",  # its results are not in PostgreSQL
        "task_publish_retry",
    }
    assert lacking(make_durable(plain())) == set()


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("broker_heartbeat", 3, 60),
        ("broker_heartbeat", 10, 0),
        ("broker_connection_max_retries", 0, 100),
        (
            "broker_transport_options",
            {"confirm_publish": True, "read_timeout": 20},
            {"confirm_publish": True},
        ),
        ("task_publish_retry_policy", {"max_retries": None}, {"max_retries": 10, "interval_max": 0.5}),
        ("task_publish_retry_policy", {"max_retries": 20, "interval_start": 1}, {"max_retries": 0}),
        ("worker_soft_shutdown_timeout", 60, 0),
        ("worker_proc_alive_timeout", 60, 4.0),
    ],
)
def test_another_value_can_do_as_well(name: str, good: Any, bad: Any) -> None:
    for value, missing in ((good, set()), (bad, {name})):
        app = plain()
        app.conf[name] = value
        assert lacking(app) & {name} == missing


def test_settings_know_no_unknown_name() -> None:
    assert [setting.name for setting in SETTINGS if setting.name not in DEFAULTS] == []


NEW = {"task_acks_late": False, "broker_heartbeat": 3, "worker_consumer": "celery.worker.consumer:Consumer"}
OLD = {"CELERY_ACKS_LATE": False, "BROKER_HEARTBEAT": 3, "CELERYD_CONSUMER": NEW["worker_consumer"]}
PREFIXED = {f"CELERY_{name.upper()}": value for name, value in NEW.items()}


@pytest.mark.parametrize(
    "configure",
    [
        lambda app: app.config_from_object(SimpleNamespace(**NEW)),
        lambda app: app.config_from_object(SimpleNamespace(**OLD)),
        lambda app: app.config_from_object(SimpleNamespace(**PREFIXED), namespace="CELERY"),
        lambda app: app.conf.update(NEW),
        lambda app: app.add_defaults(NEW),
    ],
    ids=["object", "old names", "namespace", "update", "defaults"],
)
@pytest.mark.parametrize("order", ["before", "after", "after reading"])
def test_what_the_application_sets_stays(configure: Callable[[Celery], None], order: str) -> None:
    app = plain()
    if order != "before":
        make_durable(app)
    if order == "after reading":
        assert app.conf.task_acks_late is True
    configure(app)
    make_durable(app)
    for name, value in NEW.items():
        assert app.conf[name] == value
        assert getattr(app.conf, name) == value
    assert app.conf.task_reject_on_worker_lost is True


def test_what_depends_on_other_settings() -> None:
    app = make_durable(plain())
    assert app.conf.broker_transport_options == {"confirm_publish": True, "read_timeout": 6}
    assert app.conf.worker_soft_shutdown_timeout == 4.0
    app = plain()
    app.conf.broker_heartbeat = 2
    make_durable(app)
    assert app.conf.broker_transport_options["read_timeout"] == 2
    assert app.conf.worker_soft_shutdown_timeout == 3.0


@pytest.mark.parametrize("heartbeat", [2, 3, 10, 60])
def test_a_worker_that_shuts_down_is_not_taken_for_dead(heartbeat: int) -> None:
    app = plain()
    app.conf.broker_heartbeat = heartbeat
    make_durable(app)
    assert 0 < app.conf.worker_soft_shutdown_timeout < 2 * heartbeat


def test_publishing_outlasts_an_election() -> None:
    policy = PUBLISH_RETRY_POLICY
    waits = [
        min(policy["interval_max"], policy["interval_start"] + policy["interval_step"] * attempt)
        for attempt in range(policy["max_retries"])
    ]
    assert 20 < sum(waits) < 60


@pytest.mark.parametrize("backend", ["db+postgresql://u@db/x", "db+postgresql+psycopg://u@db/x"])
def test_mappings_are_completed_key_by_key(backend: str) -> None:
    app = plain(backend=backend)
    app.conf.update(
        broker_transport_options={"read_timeout": 9, "client_properties": {"name": "shop"}},
        task_publish_retry_policy={"max_retries": 3},
        database_engine_options={
            "pool_size": 2,
            "connect_args": {"connect_timeout": 1, "sslmode": "require"},
        },
    )
    make_durable(app)
    assert app.conf.broker_transport_options == {
        "confirm_publish": True,
        "read_timeout": 9,
        "client_properties": {"name": "shop"},
    }
    policy = app.conf.task_publish_retry_policy
    assert (policy["max_retries"], policy["interval_max"]) == (3, 2.0)
    assert policy["retry_errors"] == (MessageNacked,)
    engine = app.conf.database_engine_options
    assert (engine["pool_size"], engine["pool_pre_ping"], engine["pool_recycle"]) == (2, True, 3600)
    assert engine["connect_args"]["connect_timeout"] == 1
    assert engine["connect_args"]["sslmode"] == "require"
    assert engine["connect_args"]["tcp_user_timeout"] == 15000


def test_another_database_gets_no_options_of_postgresql() -> None:
    app = make_durable(plain(backend="db+sqlite:///results.db"))
    assert "connect_args" not in app.conf.database_engine_options


def test_remote_control_is_kept_on_demand() -> None:
    assert make_durable(plain()).conf.worker_enable_remote_control is False
    assert make_durable(plain(), remote_control=True).conf.worker_enable_remote_control is True


def test_a_setting_that_loses_tasks_is_a_warning_once(caplog: pytest.LogCaptureFixture) -> None:
    app = plain()
    app.conf.update(task_acks_late=False, broker_transport_options={"confirm_publish": False})
    make_durable(make_durable(app))
    _ = app.conf.task_acks_late
    app.config_from_object(SimpleNamespace(task_default_queue="orders"))
    Precheck(SimpleNamespace(app=app)).create(SimpleNamespace(app=app))
    sentences = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert sentences == [
        "task_acks_late = False: " + SETTINGS[0].without,
        "broker_transport_options['confirm_publish'] is off: " + SETTINGS[2].without,
    ]


def test_a_setting_that_is_changed_later_is_a_warning_when_the_worker_starts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = make_durable(plain())
    assert app.conf.task_acks_late is True
    app.conf.broker_transport_options = {"read_timeout": 3}
    Precheck(SimpleNamespace(app=app)).create(SimpleNamespace(app=app))
    assert "broker_transport_options['confirm_publish'] is off" in caplog.text


def test_a_durable_application_is_no_warning(caplog: pytest.LogCaptureFixture, app: Celery) -> None:
    Precheck(SimpleNamespace(app=app)).create(SimpleNamespace(app=app))
    assert caplog.text == ""


def test_a_task_whose_options_lose_it_is_a_warning_once(
    caplog: pytest.LogCaptureFixture, app: Celery
) -> None:
    @app.task(name="early", shared=False, acks_late=False)
    def early() -> None: ...

    @app.task(name="acknowledged", shared=False, reject_on_worker_lost=False)
    def acknowledged() -> None: ...

    worker = SimpleNamespace(app=app)
    for _ in range(2):
        Precheck(worker).create(worker)
    named = sorted(record.message.partition(":")[0] for record in caplog.records)
    assert named == [
        "the task acknowledged has reject_on_worker_lost=False",
        "the task early has acks_late=False",
    ]


def test_an_application_can_be_pickled(app: Celery) -> None:
    assert pickle.loads(pickle.dumps(app)).main == "shop"


def test_calling_it_twice_adds_nothing(app: Celery) -> None:
    classes = app.amqp_cls, app.events_cls, set(app.steps["worker"])
    receivers = len(app.on_after_configure.receivers)
    make_durable(app)
    assert (app.amqp_cls, app.events_cls, set(app.steps["worker"])) == classes
    assert len(app.on_after_configure.receivers) == receivers


def test_the_environment_names_the_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "amqp://u:p@elsewhere//")
    app = make_durable(plain())
    assert app.connection_for_write().hostname == "elsewhere"
    assert app.connection_for_write().transport_options["confirm_publish"] is True


def test_a_task_class_of_the_application_is_kept() -> None:
    class Patient(Task):
        default_retry_delay = 7

    app = plain(task_cls=Patient)
    make_durable(app)

    @app.task(name="slow", shared=False)
    def slow() -> None: ...

    assert isinstance(app.tasks["slow"], Patient)
    assert app.tasks["slow"].acks_late is True
    assert app.tasks["slow"].reject_on_worker_lost is True


def test_shared_tasks() -> None:
    @shared_task(name="shared.add")
    def add(a: int, b: int) -> int:
        return a + b

    app = make_durable(plain())
    assert app.tasks["shared.add"].acks_late is True


def test_two_applications_in_one_process() -> None:
    durable, other = make_durable(plain()), plain()
    assert is_durable(durable)
    assert other.conf.task_acks_late is False
    assert other.conf.broker_transport_options == {}
    assert other.amqp.queues["celery"].queue_arguments is None
    assert (other.steps["worker"], other.loader.override_backends) == (set(), {})
    with other.connection_for_write() as connection:
        assert "confirm_publish" not in connection.transport_options


def test_a_task_that_runs_at_once() -> None:
    app = make_durable(plain())
    app.conf.task_always_eager = True

    @app.task(name="add", shared=False)
    def add(a: int, b: int) -> int:
        return a + b

    assert app.tasks["add"].delay(1, 2).get() == 3


def test_flask() -> None:
    """As Flask's pages have it: a task class with an application context, and a mapping."""

    def celery_init_app(flask: Flask) -> Celery:
        class FlaskTask(Task):
            def __call__(self, *args: object, **kwargs: object) -> object:
                with flask.app_context():
                    return self.run(*args, **kwargs)

        app = make_durable(Celery(flask.name, task_cls=FlaskTask, set_as_current=False))
        app.config_from_object(flask.config["CELERY"])
        flask.extensions["celery"] = app
        return app

    flask = Flask("shop")
    flask.config.from_mapping(CELERY={"broker_url": "amqp://u:p@127.0.0.1:1//", "task_acks_late": False})
    app = celery_init_app(flask)
    assert app.conf.task_reject_on_worker_lost is True
    assert app.conf.task_acks_late is False
    assert app.conf.broker_transport_options["confirm_publish"] is True

    @app.task(name="name", shared=False)
    def name() -> str:
        from flask import current_app

        return str(current_app.name)

    assert app.tasks["name"].apply().get() == "shop"


DJANGO = """
from django.conf import settings
settings.configure(
    CELERY_BROKER_URL="amqp://u:p@127.0.0.1:1//",
    CELERY_TASK_DEFAULT_QUEUE="orders",
    CELERY_TASK_ACKS_LATE=False,
    CELERY_BROKER_TRANSPORT_OPTIONS={"read_timeout": 9},
    TIME_ZONE="Europe/Berlin",
    INSTALLED_APPS=[],
)
import django
django.setup()
from celery import Celery, shared_task
from celery_durable import make_durable
app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
make_durable(app)
app.autodiscover_tasks()

@shared_task
def add(a, b): ...

assert app.conf.task_acks_late is False
assert app.conf.task_reject_on_worker_lost is True
assert app.conf.broker_transport_options == {"confirm_publish": True, "read_timeout": 9}
assert app.conf.task_default_queue == "orders"
assert app.amqp.queues["orders"].queue_arguments == {"x-queue-type": "quorum"}
assert app.conf.timezone == "Europe/Berlin"
assert add.app is app
print("fine")
"""


def test_django() -> None:
    assert programs.output(DJANGO, DJANGO_SETTINGS_MODULE="unused") == "fine\n"
