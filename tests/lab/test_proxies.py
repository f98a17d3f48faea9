"""The authenticated proxies of RabbitMQ, Flower and Prometheus, in a real browser."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.lab import browser as web
from tests.lab.commands import UserLab

# Path, and text that the page shows only when it has its data.
PROXIES = {
    "rabbitmq": ("/rabbitmq/", r"Global counts"),
    "flower": ("/flower/workers", r"Showing 1 to \d+ of \d+ workers"),
    "prometheus": ("/prometheus/classic/targets", r"rabbitmq_queues \(3/3 up\)"),
}


@pytest.mark.parametrize("proxy", PROXIES)
def test_one_login_is_enough_for_every_proxy(chromium: Browser, lab: UserLab, url: str, proxy: str) -> None:
    path, words = PROXIES[proxy]
    context = web.new_context(chromium, url)
    page = context.new_page()
    web.log_in(page, lab.password)
    menu = page.get_by_role("list", name="Other pages")
    assert path.startswith(
        str(menu.get_by_role("link", name=re.compile(proxy, re.IGNORECASE)).get_attribute("href"))
    )
    page.goto(path)
    expect(page.locator("body")).to_contain_text(re.compile(words))
    web.keep_screenshot(page, f"proxy-{proxy}", full=False)
    context.close()


def test_flower_shows_tasks_and_its_links_lead_somewhere(chromium: Browser, lab: UserLab, url: str) -> None:
    context = web.new_context(chromium, url)
    page = context.new_page()
    web.log_in(page, lab.password)
    page.goto("/flower/tasks")
    expect(page.locator("#tasks-table tbody a[href*='/flower/task/']").first).to_be_visible()
    page.goto("/flower/workers")
    page.get_by_role("searchbox").fill("render@worker-1")
    page.locator("#workers-table a", has_text="render@worker-1").first.click()
    expect(page).to_have_url(re.compile(r"/flower/tasks\?worker="))
    page.get_by_role("link", name="Broker").click()
    expect(page).to_have_url(re.compile("/rabbitmq/#/queues$"))
    context.close()


def test_rabbitmq_offers_a_reader_nothing_that_it_would_refuse(
    chromium: Browser, lab: UserLab, url: str, console: httpx.Client
) -> None:
    context = web.new_context(chromium, url)
    page = context.new_page()
    web.log_in(page, lab.password)
    page.goto("/rabbitmq/#/queues/mosaic/mosaic.dead")
    expect(page.locator("#main")).to_contain_text("Consumers")
    buttons = page.locator('input[type="submit"]:visible')
    assert buttons.evaluate_all("all => all.map((one) => one.value)") == ["Log out"]
    for name in ("Purge", "Delete", "Publish message", "Get messages"):
        expect(page.locator("h2", has_text=name)).to_be_hidden()
    expect(page.locator("h2", has_text="Bindings")).to_be_visible()
    web.keep_screenshot(page, "proxy-rabbitmq-queue", full=False)
    assert console.delete("/rabbitmq/api/queues/mosaic/mosaic.dead/contents").status_code == 403
    context.close()


@pytest.mark.parametrize("proxy", PROXIES)
def test_a_user_without_a_login_is_sent_to_the_login_and_back(
    chromium: Browser, lab: UserLab, url: str, proxy: str
) -> None:
    context = web.new_context(chromium, url)
    page = context.new_page()
    page.goto(f"/{proxy}/")
    expect(page).to_have_url(re.compile(f"/login\\?next=/{proxy}/$"))
    web.fill_in(page, lab.password)
    expect(page).to_have_url(re.compile(f"/{proxy}/"))
    context.close()


@pytest.mark.parametrize("path", ["/flower/metrics", "/prometheus/metrics"])
def test_only_the_monitor_can_read_metrics(console: httpx.Client, path: str) -> None:
    answer = console.get(path)
    assert (answer.status_code, answer.json()["error"]) == (403, "Only the monitor may read these metrics.")
