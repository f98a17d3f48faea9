"""Scaling: one task for each size, then the contact sheet, joined by Celery's chord.

The chord polls the result backend once a second, through native delayed delivery. Compare
mosaic.kinds.digest.task, where the ledger shows which attempt completed the parts.
"""

from __future__ import annotations

import uuid
from typing import Any

from celery import chord, shared_task

from mosaic.kinds.scale import pictures
from mosaic.kinds.scale.sheet import contact_sheet
from mosaic.ledger import jobs
from mosaic.ledger.database import transaction
from mosaic.ledger.models import HIGH
from mosaic.ledger.work import PartWork, Product
from mosaic.publish import PRIORITIES
from mosaic.tasks.base import PartlessTask, PartTask

FAN_OUT = "mosaic.scale.fan_out"
SIZE = "mosaic.scale.size"
SHEET = "mosaic.scale.sheet"


@shared_task(bind=True, base=PartlessTask, name=FAN_OUT)
def fan_out(self: PartlessTask, job: str) -> None:
    """Publish the chord of a job: its sizes, then its contact sheet."""
    with transaction() as session:
        view = jobs.find(session, uuid.UUID(job))
    if view is None:
        return
    sheet = view.total - 1
    priority = PRIORITIES[view.priority]
    header = [_signature(self, SIZE, job, index, priority) for index in range(sheet)]
    chord(header)(_signature(self, SHEET, job, sheet, PRIORITIES[HIGH]))


def _signature(task: PartlessTask, name: str, job: str, index: int, priority: int) -> Any:
    return task.app.signature(name, args=(job, index), immutable=True, priority=priority)


# The chord counts results, so they are stored.
@shared_task(base=PartTask, name=SIZE, ignore_result=False)
def size(part: PartWork) -> Product:
    """Scale the job's picture to the part's edge length in pixels."""
    edge = int(part.params["edge"])
    with transaction() as session:
        source = jobs.blob(session, part.job_id, "source")
    if source is None:
        raise ValueError("the uploaded picture was deleted")
    png, width, height = pictures.scale(source.data, edge)
    return Product(
        result={"edge": edge, "width": width, "height": height, "bytes": len(png)},
        role="size",
        content_type="image/png",
        data=png,
    )


@shared_task(base=PartTask, name=SHEET)
def sheet(part: PartWork) -> Product:
    """Put the sizes of the job on one sheet."""
    with transaction() as session:
        sizes = jobs.blobs(session, part.job_id, "size")
        results = jobs.part_results(session, part.job_id)
    labels = [f"{item['width']} x {item['height']}" for item in results]
    png = contact_sheet([(label, data) for label, (_, data, _) in zip(labels, sizes, strict=True)])
    return Product(result={"sizes": results}, role="sheet", content_type="image/png", data=png)
