"""Fixtures of the end-to-end tests: the running lab of LAB_NAME."""

from __future__ import annotations

import os
import ssl
from collections.abc import Generator, Iterator
from contextlib import suppress

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect
from playwright.sync_api import Error as PlaywrightError

from tests.lab import browser as web
from tests.lab.commands import DEFAULT_LAB, UserLab


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests that delete parts of the lab last."""
    items.sort(key=lambda item: item.path.name == "test_repair.py")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Save a screenshot of the page when a test fails."""
    report = yield
    if report.when == "call" and report.failed:
        for page in (value for value in item.funcargs.values() if isinstance(value, Page)):
            with suppress(PlaywrightError):
                web.keep_screenshot(page, f"failed-{item.name}")
    return report


@pytest.fixture(scope="session")
def lab() -> UserLab:
    """The lab of LAB_NAME, which must be up and healthy."""
    found = UserLab(os.environ.get("LAB_NAME") or DEFAULT_LAB)
    assert (found.state / "pki" / "ca.pem").exists(), (
        f"Lab {found.name} is not up; create it with LAB_NAME={found.name} ./lab up, or run ./lab test."
    )
    status = found.run("status")
    assert status.status == 0, str(status)
    return found


@pytest.fixture
def spare_lab(lab: UserLab) -> UserLab:
    """A lab that tests may break; never the default lab of a user."""
    if lab.name == DEFAULT_LAB:
        pytest.skip(f"the test breaks things and does not run on lab {DEFAULT_LAB}; use another LAB_NAME")
    return lab


@pytest.fixture(scope="session")
def url(lab: UserLab) -> str:
    """Address of the console, as `open` prints it."""
    return lab.run("open").out.splitlines()[0].strip()


@pytest.fixture(scope="session")
def trust(lab: UserLab) -> ssl.SSLContext:
    """TLS settings that trust only the lab's CA."""
    return ssl.create_default_context(cafile=str(lab.state / "pki" / "ca.pem"))


@pytest.fixture(scope="session")
def console(lab: UserLab, url: str, trust: ssl.SSLContext) -> Iterator[httpx.Client]:
    """The API with the lab's login."""
    with httpx.Client(
        base_url=url, auth=("lab", lab.password), verify=trust, timeout=30, trust_env=False
    ) as client:
        yield client


@pytest.fixture(scope="session")
def stranger(url: str, trust: ssl.SSLContext) -> Iterator[httpx.Client]:
    """The API without a login."""
    with httpx.Client(base_url=url, verify=trust, timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for all tests of a module, because Playwright uses this thread's event loop."""
    with web.chromium() as found:
        yield found


@pytest.fixture
def page(chromium: Browser, lab: UserLab, url: str) -> Iterator[Page]:
    """A page of a logged-in user; errors and violations of its content security policy fail the test."""
    context = web.new_context(chromium, url)
    page = context.new_page()
    problems: list[str] = []

    def note(line: ConsoleMessage) -> None:
        if "Content Security Policy" in line.text:
            problems.append(line.text)

    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", note)
    web.log_in(page, lab.password)
    expect(page.locator("#workers .host").first).to_be_visible()
    yield page
    context.close()
    assert not problems
