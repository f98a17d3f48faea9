"""Finished pictures at a glance: small ones, made when first asked for and kept with the job."""

from __future__ import annotations

import uuid

from sqlalchemy.dialects.postgresql import insert as upsert

from mosaic.kinds import kind_of
from mosaic.ledger import jobs
from mosaic.ledger.database import transaction
from mosaic.ledger.models import DONE, Blob, Job

ROLE = "thumbnail"
EDGE = 320


def kept(job_id: uuid.UUID) -> bytes | None:
    """Return the small picture that was made before."""
    with transaction() as session:
        blob = jobs.blob(session, job_id, ROLE)
    return blob.data if blob else None


def make(job_id: uuid.UUID) -> bytes | None:
    """Make and keep the small picture (PNG within EDGE pixels) of a finished job; None: it has no picture."""
    with transaction() as session:
        blob = jobs.blob(session, job_id, ROLE)
        if blob is not None:  # another request made it meanwhile
            return blob.data
        job = session.get(Job, job_id)
        if job is None or job.state != DONE or not kind_of(job.kind).picture:
            return None
        kind, params = kind_of(job.kind), job.params
        blobs = jobs.blobs(session, job_id, kind.picture_role)
    # Without a transaction: this takes a while.
    small: bytes | None = kind.load(kind.picture).thumbnail(params, blobs, EDGE)
    if small is None:
        return None
    with transaction() as session:
        session.execute(
            upsert(Blob)
            .values(job_id=job_id, role=ROLE, index=0, content_type="image/png", data=small)
            .on_conflict_do_nothing()
        )
    return small
