"""Scaling: an uploaded picture in several sizes, and a contact sheet of these."""

from __future__ import annotations

from mosaic.kinds.kind import Kind

KIND = Kind(
    name="scale",
    summary="Scale an uploaded picture to `sizes`, comma-separated edge lengths in pixels.",
    routing_key="scale",
    uploads=True,
    picture="sheet",
    picture_role="sheet",
    caption="{sizes}",
)
