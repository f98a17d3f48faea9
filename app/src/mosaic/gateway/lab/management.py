"""The brokers' management API, as a user who may read and change nothing."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx

from mosaic.config import Lab

# A broker that waits for a frozen peer answers late: longer than net_ticktime.
TIMEOUT_SECONDS = 4.0
QUEUE_COLUMNS = (
    "name,type,node,leader,members,online,consumers,messages,messages_ready,messages_unacknowledged,"
    "message_stats.publish_details.rate,message_stats.deliver_get_details.rate"
)
NODE_COLUMNS = "name,running,partitions,mem_alarm,disk_free_alarm,mem_used"

Document = dict[str, Any]


class ManagementError(Exception):
    """No broker answered; the message is one sentence."""


def trust(lab: Lab) -> ssl.SSLContext:
    """Return a context that trusts the lab's authority alone. Raises OSError when its file is missing."""
    return ssl.create_default_context(cafile=lab.ca_file)


class Management:
    """Asks whichever broker answers, the ones that are known to be up first."""

    def __init__(self, lab: Lab, context: ssl.SSLContext) -> None:
        """Connect to nobody yet."""
        self._lab = lab
        self._client = httpx.AsyncClient(
            auth=(lab.monitor_user, lab.monitor_password),
            verify=context,
            timeout=TIMEOUT_SECONDS,
            trust_env=False,  # a proxy has no way into the lab
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def nodes(self, is_up: Callable[[str], bool]) -> list[Document]:
        """Return the members of the cluster as a broker that is up sees them. Raises ManagementError."""
        return await self._ask(f"/api/nodes?columns={NODE_COLUMNS}", is_up)

    async def queues(self, is_up: Callable[[str], bool]) -> list[Document]:
        """Return the queues of the application's vhost, with rates. Raises ManagementError."""
        return await self._ask(
            f"/api/queues/{quote(self._lab.vhost, safe='')}?columns={QUEUE_COLUMNS}", is_up
        )

    async def _ask(self, path: str, is_up: Callable[[str], bool]) -> list[Document]:
        reason = "no broker is up"
        for broker in filter(is_up, self._lab.brokers):
            try:
                answer = await self._client.get(f"https://{broker}:{self._lab.management_port}{path}")
                answer.raise_for_status()
                documents: list[Document] = answer.json()
                return documents
            except (httpx.HTTPError, ValueError) as error:
                reason = f"{broker}: {error or type(error).__name__}"
        raise ManagementError(f"the management API does not answer ({reason}).")
