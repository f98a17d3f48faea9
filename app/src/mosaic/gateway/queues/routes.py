"""GET /api/queues...: the queues as the brokers count them."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from mosaic.gateway.deps import TheStreams, TheWatch
from mosaic.gateway.queues.states import QueueList

router = APIRouter(prefix="/api/queues")


@router.get("")
async def list_queues(watch: TheWatch) -> QueueList:
    """List the queues of the application as the brokers counted them last."""
    return watch.queues.latest or QueueList(queues=[], reason="no broker was asked yet")


@router.get("/events", response_class=Response)
async def follow_queues(watch: TheWatch, streams: TheStreams) -> Response:
    """Follow the queues: an event `queues` now and at each change."""
    return streams.answer(watch.queues.events("queues"))
