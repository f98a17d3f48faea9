"""The page Flow, and /api/flow/events."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from mosaic.gateway.deps import TheStreams
from mosaic.gateway.flow.explain import EXPLANATIONS
from mosaic.gateway.flow.watch import FlowWatch
from mosaic.gateway.pages import shell

router = APIRouter()


@router.get("/flow", include_in_schema=False)
async def flow_page(request: Request) -> Response:
    """Show the drawing."""
    texts = {kind: found.model_dump() for kind, found in EXPLANATIONS.items()}
    vhost = request.app.state.config.lab.vhost
    return shell(request, "flow", "Flow", explanations=texts, own_vhost=vhost)


@router.get("/api/flow/events", response_class=Response)
async def follow_flow(
    request: Request, streams: TheStreams, vhost: Annotated[str, Query(max_length=255)] = "mosaic"
) -> Response:
    """Follow a vhost: an event `flow` now and after each change, at least once a second."""
    watch: FlowWatch = request.app.state.flow
    return streams.answer(watch.follow(vhost))
