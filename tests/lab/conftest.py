"""Fixtures of the checks from end to end: a lab that is up, named by LAB_NAME."""

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
    """What takes the lab apart comes last."""
    items.sort(key=lambda item: item.path.name == "test_repair.py")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep what the browser showed when a test failed."""
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
        f"Lab {found.name} is not up: LAB_NAME={found.name} ./lab up makes it, ./lab test runs these checks."
    )
    status = found.run("status")
    assert status.status == 0, str(status)
    return found


@pytest.fixture
def spare_lab(lab: UserLab) -> UserLab:
    """A lab that may be broken; never the one that a user works with."""
    if lab.name == DEFAULT_LAB:
        pytest.skip(f"breaks things on purpose, which lab {DEFAULT_LAB} is spared: use another LAB_NAME")
    return lab


@pytest.fixture(scope="session")
def url(lab: UserLab) -> str:
    """Address of the console, as `open` prints it."""
    return lab.run("open").out.splitlines()[0].strip()


@pytest.fixture(scope="session")
def trust(lab: UserLab) -> ssl.SSLContext:
    """The lab's CA and no other."""
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
    """One browser for all tests of a module: Playwright holds this thread's event loop while it runs."""
    with web.chromium() as found:
        yield found


@pytest.fixture
def page(chromium: Browser, lab: UserLab, url: str) -> Iterator[Page]:
    """A page of somebody who is logged in; whatever it complains about in its console fails the test."""
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
