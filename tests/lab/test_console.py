"""The console in a real browser on a real lab. Screenshots: .lab/reports/screenshots."""

from __future__ import annotations

import base64
import re
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, StorageState, expect

from tests.lab import browser as web
from tests.lab.commands import UserLab, wait_for
from tests.lab.pictures import png

# Creates what a browser passes to a page when a user drops a file.
DRAG = """
(text) => {
  const bytes = Uint8Array.from(atob(text), (byte) => byte.charCodeAt(0));
  const dragged = new DataTransfer();
  dragged.items.add(new File([bytes], "dropped.png", { type: "image/png" }));
  return dragged;
}
"""


# Number of values of the page's canvas, four per pixel, that differ from the picture at this address.
DIFFERENT = """
async (address) => {
  const image = await createImageBitmap(await (await fetch(address)).blob());
  const pixels = (context) => context.getImageData(0, 0, image.width, image.height).data;
  const wanted = new OffscreenCanvas(image.width, image.height).getContext("2d");
  wanted.drawImage(image, 0, 0);
  const shown = pixels(document.querySelector("#canvas").getContext("2d"));
  return pixels(wanted).filter((value, index) => value !== shown[index]).length;
}
"""


def job_of(page: Page, console: httpx.Client, seconds: float = 120) -> dict[str, Any]:
    """Wait until the job of the page has ended; return it from the API."""
    job: dict[str, Any] = {}
    address = f"/api{web.entered_job(page)}"

    def ended() -> bool:
        job.update(console.get(address).json())
        return bool(job["state"] != "running")

    wait_for("the job ends", seconds, ended)
    return job


def test_wrong_password_is_refused(chromium: Browser, lab: UserLab, url: str) -> None:
    context = web.new_context(chromium, url)
    page = context.new_page()
    page.goto("/queues")
    expect(page).to_have_url(re.compile("/login"))
    web.log_in(page, f"{lab.password}x")
    expect(page.get_by_role("alert")).to_have_text("User name or password is wrong.")
    assert page.goto("/queues") is not None
    expect(page).to_have_url(re.compile("/login"))
    web.keep_screenshot(page, "login")
    context.close()


def test_lab_shows_every_host_as_up(page: Page, lab: UserLab) -> None:
    groups: dict[str, list[str]] = {}
    for node in lab.status()["nodes"]:
        groups.setdefault(node["group"], []).append(node["name"])
    expect(page.locator("#brokers .host.up")).to_have_count(len(groups["brokers"]))
    expect(page.locator("#workers .host.up")).to_have_count(len(groups["workers"]))
    expect(page.locator("#bases .host.up")).to_have_count(3)
    texts = page.locator("#brokers .fact:first-child dd").all_inner_texts()
    leads = [[int(number) for number in re.findall(r"\d+", text)] for text in texts]
    assert sum(queues for queues, _ in leads) >= 6, "the queues of the application have leaders"
    assert sum(levels for _, levels in leads) >= 28, "the levels of delayed delivery have leaders"
    web.keep_screenshot(page, "lab")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious_at_the_login(chromium: Browser, url: str, theme: str) -> None:
    context = web.new_context(chromium, url, color_scheme=theme)
    page = context.new_page()
    page.goto("/login")
    assert web.complaints(page) == []
    context.close()


@pytest.fixture(scope="module")
def signed_in(chromium: Browser, lab: UserLab, url: str) -> StorageState:
    """Cookies of somebody who is logged in."""
    context = web.new_context(chromium, url)
    page = context.new_page()
    web.log_in(page, lab.password)
    expect(page.locator("#workers")).to_be_visible()
    state = context.storage_state()
    context.close()
    return state


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", web.FILLED)
def test_axe_finds_nothing_serious(
    chromium: Browser, signed_in: StorageState, url: str, name: str, theme: str
) -> None:
    context = web.new_context(chromium, url, color_scheme=theme, storage_state=signed_in)
    page = context.new_page()
    web.visit(page, name)
    web.keep_screenshot(page, f"{name or 'lab'}-{theme}")
    assert web.complaints(page) == []
    context.close()


def test_phone_shows_the_whole_menu_and_marks_wide_tables(
    chromium: Browser, signed_in: StorageState, url: str
) -> None:
    context = web.new_context(chromium, url, viewport=web.PHONE, storage_state=signed_in)
    page = context.new_page()
    web.visit(page, "queues")
    for link in page.locator("nav a").all():
        box = link.bounding_box()
        assert box, link.inner_text()
        assert box["x"] + box["width"] <= web.PHONE["width"], link.inner_text()
    expect(page.locator("#table")).to_have_class(re.compile("wider"))
    context.close()


def test_figures_of_queues_are_young_and_say_how_old_they_are(page: Page) -> None:
    web.visit(page, "queues")
    ready = page.locator('#ages [data-name="ready"]')
    expect(ready).to_have_text(re.compile("^ready [12] s$"))
    ages = []
    for _ in range(20):
        ages.append(int(str(ready.get_attribute("data-seconds"))))
        page.wait_for_timeout(250)
    assert sorted(ages)[len(ages) // 2] <= 2


@pytest.mark.parametrize("name", web.FILLED)
def test_phone_needs_no_horizontal_scrolling(
    chromium: Browser, signed_in: StorageState, url: str, name: str
) -> None:
    context = web.new_context(
        chromium, url, viewport=web.PHONE, is_mobile=True, has_touch=True, storage_state=signed_in
    )
    page = context.new_page()
    web.visit(page, name)
    web.keep_screenshot(page, f"{name or 'lab'}-phone")
    assert page.evaluate("document.documentElement.scrollWidth") <= web.PHONE["width"]
    context.close()


def test_render_by_dragging_and_legend_equals_the_ledger(page: Page, console: httpx.Client) -> None:
    page.goto("/jobs")
    box = page.locator("#preview").bounding_box()
    assert box
    before = page.locator("#where").inner_text()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.3)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.6, steps=5)
    page.mouse.up()
    assert page.locator("#where").inner_text() != before
    page.get_by_role("button", name="Render", exact=True).click()
    job = job_of(page, console)
    assert job["state"] == "done"
    assert 0.8 < job["params"]["width_units"] < 1.1, "three tenths of 3.2"
    expect(page.locator("#state")).to_have_text("done")
    assert web.legend(page) == job["by_host"]
    expect(page.locator("#attempts tr")).to_have_count(min(200, job["total"]))
    page.wait_for_timeout(1500)
    web.keep_screenshot(page, "job-tinted")
    page.get_by_label("Tint by host").uncheck()
    web.keep_screenshot(page, "job-plain")
    assert web.complaints(page) == []
    page.emulate_media(color_scheme="dark")
    web.keep_screenshot(page, "job-dark")
    assert web.complaints(page) == []


def test_finished_picture_is_loaded_at_once_and_equals_the_download(
    page: Page, console: httpx.Client
) -> None:
    view = {"width": 640, "height": 450, "tile": 64, "iterations": 200}
    job = console.post("/api/jobs/render", json=view).json()["job"]
    wait_for("the picture", 60, lambda: console.get(f"/api/jobs/{job}").json()["state"] == "done")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"/jobs/{job}")
    page.get_by_label("Tint by host").uncheck()
    wait_for("it is drawn", 20, lambda: page.evaluate(DIFFERENT, f"/api/jobs/{job}/image") == 0)
    assert not [address for address in asked if "/tiles/" in address]


def test_form_of_a_picture_fits_on_the_screen_and_its_preview_has_its_iterations(page: Page) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto("/jobs")
    expect(page.get_by_role("button", name="Render", exact=True)).to_be_in_viewport(ratio=1)
    pixels = "document.querySelector('#preview').toDataURL()"
    before = page.evaluate(pixels)
    page.get_by_label("Iterations").fill("5")
    wait_for("another preview", 20, lambda: page.evaluate(pixels) != before)


def test_keys_choose_a_view(page: Page) -> None:
    page.goto("/jobs")
    page.locator("#preview").focus()
    before = page.locator("#where").inner_text()
    page.keyboard.press("+")
    page.keyboard.press("ArrowLeft")
    after = page.locator("#where").inner_text()
    assert "2.0×" in after
    assert after != before


def test_scale_of_a_dropped_picture(page: Page, console: httpx.Client) -> None:
    page.goto("/jobs")
    dragged = page.evaluate_handle(DRAG, base64.b64encode(png(300, 200)).decode())
    page.dispatch_event("#scale .drop", "dragover", {"dataTransfer": dragged})
    page.dispatch_event("#scale .drop", "drop", {"dataTransfer": dragged})
    expect(page.locator("#scale .chosen")).to_have_text("dropped.png")
    page.get_by_role("button", name="Scale").click()
    assert job_of(page, console)["state"] == "done"
    expect(page.locator("#sheet")).to_be_visible()
    web.keep_screenshot(page, "job-scale")


def test_finished_picture_is_downloaded_from_the_gallery(page: Page, console: httpx.Client) -> None:
    page.goto("/jobs")
    link = page.locator("#gallery").get_by_role("link", name=re.compile("^Download the render")).first
    address = str(link.get_attribute("href"))
    with page.expect_download() as download:
        link.click()
    kept = download.value.path().read_bytes()
    assert kept.startswith(b"\x89PNG")
    assert kept == console.get(address).content


def test_digest_of_a_text(page: Page, console: httpx.Client) -> None:
    page.goto("/jobs")
    page.locator("#digest textarea").fill("the quick brown fox jumps over the lazy dog " * 500)
    page.get_by_role("button", name="Count words").click()
    assert job_of(page, console)["state"] == "done"
    expect(page.locator("#sum")).to_contain_text("8 of them different")
    web.keep_screenshot(page, "job-digest")


def test_a_file_and_a_text_are_refused_until_one_is_removed(page: Page) -> None:
    page.goto("/jobs")
    form = page.locator("#digest")
    form.locator("textarea").fill("a typed text")
    form.locator("input[type=file]").set_input_files(
        {"name": "a.txt", "mimeType": "text/plain", "buffer": b"a file"}
    )
    form.get_by_role("button", name="Count words").click()
    expect(form.locator(".error")).to_have_text("There is a file and a text; remove one of them.")
    form.get_by_role("button", name="Remove the file").click()
    expect(form.locator(".chosen")).to_have_text("Drop a text file here, or choose one")
    expect(form.get_by_role("button", name="Remove the file")).to_be_hidden()


def test_progress_of_long_parts_is_shown_as_it_comes(page: Page, console: httpx.Client) -> None:
    page.goto("/jobs")
    page.get_by_label("Up to").fill("4000000000")
    page.get_by_label("Parts", exact=True).fill("2")
    page.get_by_role("button", name="Count primes").click()
    path = web.entered_job(page)
    part = page.locator('#parts li[data-part="0"]')
    expect(part).to_be_visible(timeout=60_000)
    shown = int(str(part.get_attribute("data-percent")))
    wait_for("the next report", 20, lambda: int(str(part.get_attribute("data-percent"))) > shown)
    expect(part).to_contain_text("worker-")
    assert web.complaints(page) == []
    page.emulate_media(color_scheme="dark")
    web.keep_screenshot(page, "job-primes-dark")
    assert web.complaints(page) == []
    page.set_viewport_size({"width": web.PHONE["width"], "height": web.PHONE["height"]})
    web.keep_screenshot(page, "job-primes-phone")
    assert page.evaluate("document.documentElement.scrollWidth") <= web.PHONE["width"]
    job = job_of(page, console)
    assert (job["state"], job["progress"]) == ("done", 1.0)
    expect(page.locator("#figures")).to_contain_text("189,961,812")
    expect(part.locator("b")).to_have_text("100 %")
    assert web.complaints(page) == []
    assert page.url.endswith(path)
    web.keep_screenshot(page, "job-primes")


def test_wrong_file_shows_a_clear_message(page: Page, tmp_path: Path) -> None:
    page.goto("/jobs")
    page.locator("#scale input[type=file]").set_input_files(
        {"name": "x.png", "mimeType": "image/png", "buffer": b"<svg xmlns='http://www.w3.org/2000/svg'/>"}
    )
    page.get_by_role("button", name="Scale").click()
    expect(page.locator("#scale .error")).to_contain_text("not a picture")
    web.keep_screenshot(page, "wrong-file")
    large = tmp_path / "large.txt"
    large.write_bytes(b"word " * (20 * 2**20))
    page.locator("#digest input[type=file]").set_input_files(large)
    page.get_by_role("button", name="Count words").click()
    expect(page.locator("#digest .error")).to_contain_text("at most 32 MB")


def test_job_is_cancelled_from_its_page(page: Page, console: httpx.Client) -> None:
    view = {"width": 1024, "height": 1024, "tile": 64, "iterations": 20000, "center_x": -0.6}
    job = console.post("/api/jobs/render", json=view).json()["job"]
    page.goto(f"/jobs/{job}")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#state")).to_have_text("cancelled")
    done = console.get(f"/api/jobs/{job}").json()["done"]
    time.sleep(2)
    assert console.get(f"/api/jobs/{job}").json()["done"] == done


def test_two_browsers_see_the_same(
    chromium: Browser, page: Page, lab: UserLab, url: str, console: httpx.Client
) -> None:
    context = web.new_context(chromium, url)
    other = context.new_page()
    web.log_in(other, lab.password)
    page.goto("/jobs")
    other.goto("/jobs")
    page.get_by_label("Iterations").fill("20000")
    page.get_by_role("button", name="Render", exact=True).click()
    path = web.entered_job(page)
    other.locator(f'#jobs a[href="{path}"]').click()
    expect(other).to_have_url(page.url)
    other.get_by_role("button", name="Cancel").click()
    for one in (page, other):
        expect(one.locator("#state")).to_have_text("cancelled")
    counts = console.get(f"/api{path}").json()["by_host"]
    assert web.legend(page) == web.legend(other) == counts
    context.close()


def test_page_catches_up_after_its_connection_was_cut(page: Page, console: httpx.Client) -> None:
    view = {"width": 1024, "height": 1024, "tile": 64, "iterations": 1500}
    job = console.post("/api/jobs/render", json=view).json()["job"]
    page.goto(f"/jobs/{job}")
    expect(page.locator("#counts")).to_contain_text("of 256 parts")
    page.context.set_offline(True)
    wait_for("the picture", 120, lambda: console.get(f"/api/jobs/{job}").json()["state"] == "done")
    page.context.set_offline(False)
    expect(page.locator("#state")).to_have_text("done", timeout=30_000)
    assert web.legend(page) == console.get(f"/api/jobs/{job}").json()["by_host"]


def test_logs_are_tailed_by_binding_patterns(page: Page, lab: UserLab) -> None:
    page.goto("/logs")
    page.locator("select[name=host]").select_option("worker-1")
    page.locator("select[name=severity]").select_option("warning")
    expect(page.locator("input[name=patterns]")).to_have_value(
        "worker-1.emerg worker-1.alert worker-1.crit worker-1.err worker-1.warning"
    )
    expect(page.locator("#live")).to_have_text("live")
    mark = f"tail-{time.time_ns()}"
    for host, severity in (("worker-1", "info"), ("worker-2", "warning"), ("worker-1", "warning")):
        lab.run("shell", host, "logger", "--priority", f"user.{severity}", f"{mark} {host} {severity}")
    expect(page.locator("#logs li", has_text=f"{mark} worker-1 warning")).to_be_visible()
    assert page.locator("#logs li", has_text=mark).count() == 1
    for number in (1, 2):
        lab.run("shell", "worker-1", "logger", "--priority", "user.warning", f"{mark} line {number}")
    lines = page.locator("#logs li", has_text=f"{mark} line")
    expect(lines).to_have_count(2)
    assert [text[-1] for text in lines.all_inner_texts()] == ["1", "2"], "they read downwards"


def test_periodic_work_is_shown(page: Page) -> None:
    page.goto("/periodic?application=mosaic")
    expect(page.locator("#entries tr")).to_have_count(4)
    expect(page.locator("#entries tr", has_text="tick")).to_contain_text("worker-")
    sent = page.locator("#entries tr", has_text="tick").locator(".since")
    shown = sent.inner_text()
    wait_for("the time since it was sent grows", 20, lambda: sent.inner_text() != shown)
    expect(page.locator("#beats")).to_have_text("beat of mosaic on gateway-1: up")
