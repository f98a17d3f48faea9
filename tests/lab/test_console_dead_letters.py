"""Dead letters in the console: a user retries or drops them."""

from __future__ import annotations

import time

from playwright.sync_api import Page, expect

from tests.lab import browser as web
from tests.lab.commands import UserLab

# A message expires in a queue of its own and becomes a dead letter. Retry sends it back to this queue.
BURY = """
import json, pika, sys, time, tomllib, uuid
queue = "mosaic.host.console-check"
url = tomllib.load(open('/etc/mosaic/mosaic.toml', 'rb'))['broker']['url']
channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
channel.confirm_delivery()
channel.queue_declare(queue, durable=True, arguments={'x-queue-type': 'quorum'})
channel.queue_bind(queue, 'mosaic.tasks', 'host.console-check')
properties = pika.BasicProperties(
    content_type='application/json', delivery_mode=2, expiration='1',
    headers={'task': 'mosaic.probe', 'id': sys.argv[1], 'lang': 'py'})
channel.basic_publish('mosaic.tasks', 'host.console-check', b'[[], {}, {}]', properties, mandatory=True)
print(json.dumps(queue))
"""
DIG = """
import json, pika, sys, tomllib
queue = "mosaic.host.console-check"
url = tomllib.load(open('/etc/mosaic/mosaic.toml', 'rb'))['broker']['url']
channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
found = []
while True:
    method, properties, body = channel.basic_get(queue, auto_ack=True)
    if method is None:
        break
    found.append([properties.headers['id'], 'x-death' in properties.headers, body.decode()])
channel.queue_delete(queue)
print(json.dumps(found))
"""


def test_dead_letter_is_retried_from_the_page(page: Page, lab: UserLab) -> None:
    own = f"console-check-{time.time_ns()}"
    lab.python("gateway-1", BURY, own)
    page.goto("/queues")
    letter = page.locator("#letters .letter", has_text="mosaic.host.console-check")
    expect(letter).to_be_visible(timeout=30_000)
    expect(letter).to_contain_text("expired")
    web.keep_screenshot(page, "dead-letter")
    letter.get_by_role("button", name="Retry").click()
    expect(page.get_by_role("alert")).to_contain_text("sent back to mosaic.tasks")
    expect(letter).to_have_count(0)
    assert lab.python("gateway-1", DIG) == [[own, False, "[[], {}, {}]"]]


def test_dead_letter_is_dropped_by_the_second_press(page: Page, lab: UserLab) -> None:
    lab.python("gateway-1", BURY, f"console-check-{time.time_ns()}")
    page.goto("/queues")
    letter = page.locator("#letters .letter", has_text="mosaic.host.console-check")
    letter.get_by_role("button", name="Drop").click(timeout=30_000)
    expect(letter).to_be_visible()
    letter.get_by_role("button", name="Really drop?").click()
    expect(page.get_by_role("alert")).to_contain_text("was dropped")
    expect(letter).to_have_count(0)
    assert lab.python("gateway-1", DIG) == []
