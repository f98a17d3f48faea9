"""Digesting: the words of a text, counted."""

from __future__ import annotations

from mosaic.kinds.kind import Kind

KIND = Kind(name="digest", summary="Count the words of a text.", routing_key="digest", uploads=True)
