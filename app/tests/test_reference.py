"""docs/reference/queues.md is in step with the declarations of the application."""

from __future__ import annotations

from mosaic import topology

from labctl.docs import pages
from labctl.paths import ROOT

PATH = "docs/reference/queues.md"


def test_the_page_of_queues_is_what_the_generator_writes() -> None:
    assert (ROOT / PATH).read_text(encoding="utf-8") == pages.complete(PATH), (
        "run .venv/bin/python -m labctl.docs"
    )


def test_every_queue_is_a_quorum_queue() -> None:
    for queue in (*topology.task_queues("a"), *topology.plain_queues()):
        assert (queue.queue_arguments or {})["x-queue-type"] == "quorum"
