"""Prometheus metrics of publisher confirms; needs the extra `prometheus`.

With the variable PROMETHEUS_MULTIPROC_DIR the processes of a host share their values.
"""

from __future__ import annotations

from prometheus_client import Counter, Histogram

from celery_durable.confirms import message_confirmed, message_unconfirmed

# Seconds: from a normal confirm (some ms) to the end of all retries (36 s).
BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 40.0)

confirm_seconds = Histogram(
    "celery_publish_confirm_seconds",
    "Seconds from sending a message to its publisher confirm.",
    ["publisher"],
    buckets=BUCKETS,
)
unconfirmed_total = Counter(
    "celery_publish_unconfirmed",
    "Sent messages that were not confirmed, and were sent again or given up.",
    ["publisher"],
)


def measure_publishing(publisher: str) -> None:
    """Measure publishing by durable applications of this process, with the label `publisher`.

    Histogram `celery_publish_confirm_seconds` (seconds), counter `celery_publish_unconfirmed_total`
    (messages). They show a slow broker early; the drill `freeze-broker-leader` increases both.
    """
    confirms = confirm_seconds.labels(publisher)
    unconfirmed = unconfirmed_total.labels(publisher)  # from the start: a rate needs a first value of 0
    message_confirmed.connect(lambda seconds, **_: confirms.observe(seconds), weak=False)
    message_unconfirmed.connect(lambda **_: unconfirmed.inc(), weak=False)
