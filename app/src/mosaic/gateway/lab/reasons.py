"""Why something in the lab is not up: the sentences of the list of conditions; a test compares them."""

from __future__ import annotations

SENTENCES = {
    "BrokerDown": "The broker on {host} does not answer.",
    "ClusterPartitioned": "The cluster is partitioned: brokers that run do not reach each other.",
    "MemoryAlarm": "{host} is above its memory limit, so all brokers block publishers.",
    "DiskAlarm": "{host} has too little free disk space, so all brokers block publishers.",
    "WorkersNotConsuming": "The workers on {host} do not consume all of their queues.",
    "ProxyFindsNoBroker": "The proxy on {host} finds no healthy broker.",
    "BeatSilent": "The ticks of beat do not reach the database.",
    "DatabaseDown": "The database on {host} does not answer.",
}


def reason(condition: str, detail: str = "", **values: str) -> str:
    """Return the sentence of a condition, with `detail` in parentheses before its full stop."""
    sentence = SENTENCES[condition].format(**values)
    return f"{sentence[:-1]} ({detail})." if detail else sentence
