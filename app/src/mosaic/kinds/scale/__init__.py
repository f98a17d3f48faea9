"""Scaling: an uploaded picture in several sizes, and a contact sheet of these."""

from __future__ import annotations

from mosaic.kinds.kind import Kind

DEFAULT_SIZES = (64, 128, 256, 512)

KIND = Kind(
    name="scale",
    summary="Scale an uploaded picture to `sizes`, comma-separated edge lengths in pixels.",
    routing_key="scale",
    uploads=True,
    picture="sheet",
    picture_role="sheet",
    caption="{sizes}",
    form_values={"sizes": ", ".join(map(str, DEFAULT_SIZES))},
)
