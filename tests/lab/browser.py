"""The console in a real browser: Debian's Chromium, controlled by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / ".lab" / "reports" / "screenshots"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
SERIOUS = ("serious", "critical")
DESKTOPTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield the browser. Without Chromium, skip the test, but fail it in CI and in `./lab test`."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        reason = "Chromium is missing: apt-get install chromium"
        if os.environ.get("CI") or os.environ.get("LAB_TEST"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program,
            # No proxy reaches the lab; a container has little shared memory; root cannot use the sandbox.
            args=["--no-proxy-server", "--disable-dev-shm-usage", "--no-sandbox"],
        )
        try:
            yield browser
        finally:
            browser.close()


def new_context(browser: Browser, url: str, **options: Any) -> BrowserContext:
    """Return a context without cookies. It accepts any certificate, because other tests verify the lab's."""
    wanted: dict[str, Any] = {"viewport": DESKTOPTOP, **options}
    context = browser.new_context(base_url=url, ignore_https_errors=True, **wanted)
    context.set_default_timeout(20_000)
    return context


def log_in(page: Page, password: str) -> None:
    """Open the login page and log in."""
    page.goto("/login")
    fill_in(page, password)


# What a page shows once its first data have come.
FILLED = {
    "": "#workers .host",
    "jobs": "#jobs tr",
    "workers": "#rows tr",
    "flow": "#queues .node",
    "queues": "#queues tr",
    "failures": "#failures li, #none:not([hidden])",
    "logs": "#live.up",
    "periodic": "#entries tr",
    "charts": "#charts .plot > *",
}


def visit(page: Page, name: str) -> None:
    """Open a page of the console and wait until it shows its data."""
    page.goto(f"/{name}")
    expect(page.locator(FILLED[name]).first).to_be_visible()


def fill_in(page: Page, password: str) -> None:
    """Log in with the form that the page shows."""
    page.get_by_label("User name").fill("lab")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def entered_job(page: Page) -> str:
    """Wait until the job that was submitted is shown; return its path, or fail with the refusal."""
    shown, refused = page.locator("#state"), page.locator("form .error:visible")
    expect(shown.or_(refused)).to_be_visible(timeout=20_000)
    assert not refused.is_visible(), refused.inner_text()
    return page.url[page.url.index("/jobs/") :]


def keep_screenshot(page: Page, name: str, *, full: bool = True) -> Path:
    """Save a screenshot of the page as an artifact of the tests."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    file = SCREENSHOTS / f"{name}.png"
    page.screenshot(path=file, full_page=full, animations="disabled")
    return file


def complaints(page: Page) -> list[str]:
    """Return the violations on the page that axe rates serious or critical: rule and elements."""
    found = Axe().run(page).response["violations"]
    return [
        f"{violation['id']}: {violation['help']}: {[node['target'] for node in violation['nodes']][:5]}"
        for violation in found
        if violation["impact"] in SERIOUS
    ]


def legend(page: Page) -> dict[str, int]:
    """Return the count of each host in the legend of a job's page."""
    return {
        str(item.get_attribute("data-host")): int(str(item.get_attribute("data-count")))
        for item in page.locator("#legend li").all()
    }
