"""Counting words: one task for each shard, and the merge, which the attempt at the last shard publishes."""

from __future__ import annotations

from celery import shared_task

from mosaic.kinds.digest import words
from mosaic.ledger import jobs
from mosaic.ledger.database import transaction
from mosaic.ledger.work import PartWork, Product
from mosaic.tasks.base import PartTask


@shared_task(base=PartTask, name="mosaic.digest.shard", publishes_join=True)
def shard(part: PartWork) -> Product:
    """Count the words of one shard."""
    with transaction() as session:
        text = jobs.content(session, part.job_id, "text", part.index)
    if text is None:
        raise ValueError("the text of this shard was deleted")
    return Product(result=dict(words.count_words(text.decode("utf-8"))))


@shared_task(base=PartTask, name="mosaic.digest.merge")
def merge(part: PartWork) -> Product:
    """Add up the shards: in the database, because all counts may be larger than the memory of a task."""
    with transaction() as session:
        return Product(result=words.report(session, part.job_id))
