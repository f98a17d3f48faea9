"""The console shows every application of the lab: its workers, queues, periodic tasks and failures."""

from __future__ import annotations

import ssl
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.lab import browser as web
from tests.lab.commands import UserLab, wait_for

OWN = "mosaic"
# As the application's own code would publish: a task whose arguments are wrong fails in the worker.
FAILING = """
import json, os, socket, sys
sys.path.insert(0, {folder!r})
from celery.app.utils import find_app
app = find_app({app!r})
app.loader.import_default_modules()
name = sorted(name for name in app.tasks if not name.startswith("celery."))[0]
sent = app.send_task(name, args=["wrong"] * 9, queue={queue!r}, ignore_result=True)
print(json.dumps([name, sent.id]))
"""


@pytest.fixture(scope="module")
def others(lab: UserLab) -> dict[str, Any]:
    """The other applications of the lab, as `./lab status` shows them; without any, the tests fail."""
    found = {name: one for name, one in lab.status()["applications"].items() if name != OWN}
    assert found, "only mosaic runs on this lab: declare an example in lab_added_applications"
    return found


def rows(console: httpx.Client, path: str, key: str, application: str) -> list[dict[str, Any]]:
    """Return the items of an application that the API lists."""
    return [one for one in console.get(f"/api/{path}").json()[key] if one["application"] == application]


def test_every_worker_of_each_application_is_up(console: httpx.Client, others: dict[str, Any]) -> None:
    for name, application in others.items():
        wanted = {
            (host, unit.partition("-worker@")[2])
            for host, units in application["workers"].items()
            for unit in units
        }

        def up(name: str = name, wanted: set[tuple[str, str]] = wanted) -> bool:
            shown = rows(console, "workers", "workers", name)
            return {(one["host"], one["name"]) for one in shown if one["state"] == "up"} == wanted

        wait_for(f"the workers of {name}", 30, up)


def test_queues_of_each_application_have_consumers(console: httpx.Client, others: dict[str, Any]) -> None:
    for name, application in others.items():
        consumed = {queue for names in application["consumes"].values() for queue in names}
        shown = {one["name"]: one for one in rows(console, "queues", "queues", name)}
        assert consumed <= shown.keys()
        assert [queue for queue in consumed if not shown[queue]["consumers"]] == []


def test_schedule_of_each_beat_is_shown(console: httpx.Client, others: dict[str, Any]) -> None:
    for name, application in others.items():
        if application["beat"]:

            def reported(name: str = name) -> bool:
                beats = {
                    one["application"]: one["state"] for one in console.get("/api/periodic").json()["beats"]
                }
                return beats[name] == "up" and bool(rows(console, "periodic", "entries", name))

            wait_for(f"the schedule of {name}", 30, reported)


def test_alert_rules_know_the_declared_workers_of_each_application(
    lab: UserLab, url: str, trust: ssl.SSLContext, others: dict[str, Any]
) -> None:
    with httpx.Client(auth=("lab", lab.password), verify=trust, timeout=30, trust_env=False) as client:
        answer = client.get(
            f"{url}/prometheus/api/v1/query", params={"query": "queue:workers:declared"}
        ).json()
    declared = {(one["metric"]["vhost"], one["metric"]["queue"]) for one in answer["data"]["result"]}
    for name, application in others.items():
        consumed = {queue for names in application["consumes"].values() for queue in names}
        assert {queue for vhost, queue in declared if vhost == name} & consumed, name


@pytest.mark.parametrize("path", ["workers", "queues"])
def test_filter_shows_one_application_and_the_address_keeps_it(
    page: Page, others: dict[str, Any], path: str
) -> None:
    name = next(iter(others))
    web.visit(page, path)
    options = page.locator("#application option")
    expect(options).to_have_count(2 + len(others))
    first, own, *rest = options.all_inner_texts()
    assert (first, own, sorted(rest)) == ("all applications", OWN, sorted(others))
    expect(page.locator(f'tr[data-application="{OWN}"]').first).to_be_visible()
    page.get_by_label("Application").select_option(name)
    expect(page.locator(f'tr[data-application="{OWN}"]')).to_have_count(0)
    expect(page.locator(f'tr[data-application="{name}"]').first).to_be_visible()
    page.reload()
    expect(page.locator(f'tr[data-application="{name}"]').first).to_be_visible()
    expect(page.locator(f'tr[data-application="{OWN}"]')).to_have_count(0)
    web.keep_screenshot(page, f"{path}-{name}")


def test_failed_task_of_each_application_is_shown_with_its_traceback(
    lab: UserLab, page: Page, console: httpx.Client, others: dict[str, Any]
) -> None:
    for name, application in others.items():
        host = next(iter(application["workers"]))
        task, number = publish_failing(lab, host, name, application)

        def shown(name: str = name, number: str = number) -> bool:
            return number in {one["id"] for one in rows(console, "failures", "failures", name)}

        wait_for(f"the failed task of {name}", 30, shown)
        page.goto(f"/failures?application={name}")
        card = page.locator("#failures li", has_text=number)
        expect(card).to_contain_text(task)
        expect(card).to_contain_text("TypeError")
        card.locator("summary").click()
        expect(card.locator("pre")).to_be_visible()
        web.keep_screenshot(page, f"failures-{name}")


def publish_failing(lab: UserLab, host: str, name: str, application: dict[str, Any]) -> tuple[str, str]:
    """Publish a task with wrong arguments, with the environment of the application's worker on a host."""
    unit = next(iter(application["workers"][host]))
    started = lab.run("shell", host, "systemctl", "show", "--property=ExecStart", "--value", unit).out
    app = started.partition(" -A ")[2].split()[0]
    (queue, *_) = application["consumes"][host]
    source = FAILING.format(folder=f"/opt/{name}/current", app=app, queue=queue)
    done = lab.run(
        "shell",
        host,
        "systemd-run",
        "--quiet",
        "--pipe",
        "--wait",
        f"--property=EnvironmentFile=/etc/{name}/{name}.env",
        f"--property=User={name}",
        f"--property=WorkingDirectory=/var/lib/{name}",
        f"/opt/{name}/current/venv/bin/python",
        "-c",
        source,
    )
    assert done.status == 0, str(done)
    task, number = done.json()
    return str(task), str(number)
