"""What is behind the console's login beside the console, in a real browser."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.lab import browser as web
from tests.lab.commands import UserLab

# Path, and words that are there only when the page has got its data.
DOORS = {
    "rabbitmq": ("/rabbitmq/", r"Global counts"),
    "flower": ("/flower/workers", r"render@worker-1"),
    "prometheus": ("/prometheus/classic/targets", r"rabbitmq_queues \(3/3 up\)"),
}


@pytest.mark.parametrize("door", DOORS)
def test_one_login_opens_every_door(chromium: Browser, lab: UserLab, url: str, door: str) -> None:
    path, words = DOORS[door]
    context = web.new_context(chromium, url)
    page = context.new_page()
    web.log_in(page, lab.password)
    menu = page.get_by_role("list", name="Pages of others")
    assert path.startswith(
        str(menu.get_by_role("link", name=re.compile(door, re.IGNORECASE)).get_attribute("href"))
    )
    page.goto(path)
    expect(page.locator("body")).to_contain_text(re.compile(words))
    web.keep_screenshot(page, f"door-{door}", full=False)
    context.close()


@pytest.mark.parametrize("door", DOORS)
def test_a_stranger_is_led_to_the_login_and_back(
    chromium: Browser, lab: UserLab, url: str, door: str
) -> None:
    context = web.new_context(chromium, url)
    page = context.new_page()
    page.goto(f"/{door}/")
    expect(page).to_have_url(re.compile(f"/login\\?next=/{door}/$"))
    web.fill_in(page, lab.password)
    expect(page).to_have_url(re.compile(f"/{door}/"))
    context.close()


@pytest.mark.parametrize("path", ["/flower/metrics", "/prometheus/metrics"])
def test_metrics_answer_the_monitor_only(console: httpx.Client, path: str) -> None:
    answer = console.get(path)
    assert (answer.status_code, answer.json()["error"]) == (403, "Only the monitor may read these metrics.")
