"""Finished pictures at a glance: small ones, made when first asked for and kept with the job."""

from __future__ import annotations

import io
import uuid

from PIL import Image
from sqlalchemy import Engine
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from mosaic.kinds.render.assemble import assemble
from mosaic.kinds.render.view import View
from mosaic.kinds.scale.pictures import to_png
from mosaic.ledger import jobs
from mosaic.ledger.models import DONE, Blob, Job

ROLE = "thumbnail"
EDGE = 320


def thumbnail(engine: Engine, job_id: uuid.UUID) -> bytes | None:
    """Return the small picture (PNG within EDGE pixels) of a finished job; None: it has none."""
    with Session(engine) as session:
        kept = jobs.blob(session, job_id, ROLE)
        if kept is not None:
            return kept.data
        job = session.get(Job, job_id)
        if job is None or job.state != DONE or job.kind not in ("render", "scale"):
            return None
        kind, params = job.kind, job.params
        pieces = jobs.blobs(session, job_id, "tile" if kind == "render" else "sheet")
    # Without a transaction: this takes a while.
    whole = (
        assemble(View.from_params(params), pieces) if kind == "render" else pieces[0][1] if pieces else b""
    )
    if not whole:
        return None
    small = _fit(whole)
    with Session(engine) as session, session.begin():
        session.execute(
            upsert(Blob)
            .values(job_id=job_id, role=ROLE, index=0, content_type="image/png", data=small)
            .on_conflict_do_nothing()
        )
    return small


def _fit(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        picture = image.convert("RGB")
    picture.thumbnail((EDGE, EDGE), Image.Resampling.LANCZOS)
    return to_png(picture)
