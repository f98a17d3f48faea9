"""The queues of the applications, as a page shows them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from pydantic import BaseModel

from mosaic.gateway.lab.depths import Depth, QueueKey
from mosaic.logs.tail import PREFIX as TAILS
from mosaic.topology import DEAD

DELAYS = "celery_delayed_"
# Queues of Celery's events and remote control, with the names that Celery gives them.
INTERNAL = re.compile(r"celeryev\..+|(.+\.)?celery\.pidbox")


class QueueState(BaseModel):
    """A queue; rates in messages a second. `missing`: members of a quorum queue on brokers that are down.

    The vhost of an application has its name.
    """

    application: str
    name: str
    type: str
    ready: int
    unacknowledged: int
    rate_in: float
    rate_out: float
    consumers: int
    leader: str
    members: list[str]
    missing: list[str]


class QueueList(BaseModel):
    """The queues; those of delayed delivery, log tails and Celery's own are only counted.

    `dead` is the number of mosaic's dead letters. `reason`: why the list is old.
    """

    applications: list[str] = []
    queues: list[QueueState]
    delays: int = 0
    delayed: int = 0
    tails: int = 0
    internal: int = 0
    dead: int = 0
    reason: str = ""


def is_delay(document: dict[str, Any]) -> bool:
    """Return whether a queue is a level of delayed delivery."""
    return str(document["name"]).startswith(DELAYS)


def queue_list(
    documents: Iterable[dict[str, Any]],
    reason: str,
    brokers: AbstractSet[str],
    applications: Sequence[str],
    depths: Mapping[QueueKey, Depth],
) -> QueueList:
    """Return the queues of these applications from the management API's answer; `brokers` are up.

    The ready messages are those of `depths`, where these are known.
    """
    found = QueueList(applications=list(applications), queues=[], reason=reason)
    own = [document for document in documents if document["vhost"] in applications]
    for document in sorted(own, key=lambda one: (applications.index(one["vhost"]), str(one["name"]))):
        name = str(document["name"])
        if is_delay(document):
            found.delays += 1
            found.delayed += int(document.get("messages") or 0)
        elif name.startswith(TAILS):
            found.tails += 1
        elif INTERNAL.fullmatch(name):
            found.internal += 1
        else:
            if name == DEAD and document["vhost"] == applications[0]:
                found.dead = int(document.get("messages") or 0)
            found.queues.append(_state(name, document, brokers, depths))
    return found


def _state(
    name: str, document: dict[str, Any], brokers: AbstractSet[str], depths: Mapping[QueueKey, Depth]
) -> QueueState:
    members = [_host(member) for member in document.get("members") or []]
    depth = known_depth(document, depths)
    return QueueState(
        application=str(document["vhost"]),
        name=name,
        type=str(document.get("type", "classic")),
        ready=depth.ready if depth else int(document.get("messages_ready") or 0),
        unacknowledged=int(document.get("messages_unacknowledged") or 0),
        rate_in=_rate(document, "publish"),
        rate_out=_rate(document, "deliver_get"),
        consumers=int(document.get("consumers") or 0),
        leader=_host(document.get("leader") or document.get("node") or ""),
        members=sorted(members),
        # Not the API's `online`: after an election it can lack a member that is back, for minutes.
        missing=sorted(set(members) - brokers),
    )


def known_depth(document: dict[str, Any], depths: Mapping[QueueKey, Depth]) -> Depth | None:
    """Return what the queue itself answered, unless it cannot be true."""
    depth = depths.get((str(document["vhost"]), str(document["name"])))
    return depth if depth and depth.is_plausible(int(document.get("consumers") or 0)) else None


def asked_queues(
    documents: Iterable[dict[str, Any]], applications: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """Return the queues that the list shows, by application."""
    shown: dict[str, list[dict[str, Any]]] = {}
    for document in documents:
        name, vhost = str(document["name"]), str(document["vhost"])
        hidden = is_delay(document) or name.startswith(TAILS) or INTERNAL.fullmatch(name)
        if vhost in applications and not hidden:
            shown.setdefault(vhost, []).append(document)
    return shown


def _rate(document: dict[str, Any], what: str) -> float:
    details = (document.get("message_stats") or {}).get(f"{what}_details") or {}
    return round(float(details.get("rate") or 0.0), 1)


def _host(node: object) -> str:
    return str(node).removeprefix("rabbit@")
