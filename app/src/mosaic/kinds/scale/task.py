"""Scaling: one task for each size, and the contact sheet, which the attempt at the last size publishes."""

from __future__ import annotations

from celery import shared_task

from mosaic.kinds.scale import pictures
from mosaic.kinds.scale.sheet import contact_sheet
from mosaic.ledger import jobs
from mosaic.ledger.database import transaction
from mosaic.ledger.work import PartWork, Product
from mosaic.tasks.base import PartTask


@shared_task(base=PartTask, name="mosaic.scale.size", publishes_join=True)
def size(part: PartWork) -> Product:
    """Scale the job's picture to the part's edge length in pixels."""
    edge = int(part.params["edge"])
    with transaction() as session:
        source = jobs.content(session, part.job_id, "source")
    if source is None:
        raise ValueError("the uploaded picture was deleted")
    png, width, height = pictures.scale(source, edge)
    return Product(
        result={"edge": edge, "width": width, "height": height, "bytes": len(png)},
        role="size",
        content_type="image/png",
        data=png,
    )


@shared_task(base=PartTask, name="mosaic.scale.sheet")
def sheet(part: PartWork) -> Product:
    """Put the sizes of the job on one sheet."""
    with transaction() as session:
        results = jobs.part_results(session, part.job_id)
        # One at a time: together they may be larger than the memory of a task.
        sizes = (jobs.content(session, part.job_id, "size", index) or b"" for index in range(len(results)))
        png = contact_sheet([f"{item['width']} x {item['height']}" for item in results], sizes)
    return Product(result={"sizes": results}, role="sheet", content_type="image/png", data=png)
