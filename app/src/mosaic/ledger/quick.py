"""The usual start and end of an attempt at a part, each in one round trip to the database.

Usual means: nobody has started the part before, and no other attempt started it meanwhile. Everything else
is done by mosaic.ledger.work, which locks the part's row.

No statement here waits for other parts of the job. A lock that two of them need is FOR KEY SHARE, which they
share. So two parts that end at the same time do not see each other, and each attempt looks for parts that are
not done only after its own commit: the later of the two finds none.
"""

from __future__ import annotations

import uuid
from typing import Any

from psycopg.types.json import Jsonb

from mosaic.ledger import work
from mosaic.ledger.database import connection, transaction
from mosaic.ledger.work import PartWork, Product, Runner

# An accepted part without an attempt. A revived part had one.
BEGIN = """
WITH started AS (
  UPDATE part
  SET attempts = 1, state = 'running', latest_attempt = nextval('attempt_id_seq'), host = %(host)s,
      pid = %(pid)s, started_at = clock_timestamp()
  WHERE job_id = %(job)s AND index = %(index)s AND state = 'accepted' AND latest_attempt IS NULL
    AND attempts = 0
  RETURNING latest_attempt, params
), stored AS (
  INSERT INTO attempt (id, task_id, task, job_id, index, number, redelivered, host, pid,
                       started_at, message)
  SELECT latest_attempt, %(task_id)s, %(task)s, %(job)s, %(index)s, 1, %(redelivered)s, %(host)s, %(pid)s,
         clock_timestamp(), %(message)s
  FROM started
)
SELECT started.latest_attempt, started.params, job.params FROM started, job WHERE job.id = %(job)s
"""

# The job's row first, as everything else that locks both does: a deletion of the job could wait for the part.
FINISH = """
WITH owner AS MATERIALIZED (
  SELECT id FROM job WHERE id = %(job)s FOR KEY SHARE
), marked AS (
  UPDATE part
  SET state = 'done', host = %(host)s, pid = %(pid)s, result = %(result)s,
      progress = CASE WHEN progress IS NOT NULL THEN 1.0 END, checkpoint = NULL, error = NULL,
      ended_at = clock_timestamp()
  FROM owner
  WHERE job_id = owner.id AND index = %(index)s AND state = 'running' AND latest_attempt = %(attempt)s
  RETURNING job_id, index
), stored AS (
  INSERT INTO blob (job_id, role, index, content_type, data)
  SELECT job_id, %(role)s, index, %(content_type)s, %(data)s FROM marked WHERE %(role)s::text IS NOT NULL
  ON CONFLICT DO NOTHING
), ended AS (
  UPDATE attempt SET outcome = 'done', ended_at = clock_timestamp()
  FROM marked WHERE attempt.id = %(attempt)s
)
SELECT index FROM marked
"""

# From the end: parts are done in about their order, so that this reads few rows.
OPEN = """
SELECT index FROM part WHERE job_id = %(job)s AND NOT joins AND state <> 'done' ORDER BY index DESC LIMIT 1
"""


def begin(runner: Runner, job_id: uuid.UUID, index: int) -> PartWork | None:
    """Store the start of an attempt as mosaic.ledger.work.begin does."""
    message = None if runner.message is None else Jsonb(runner.message)
    values = {**vars(runner), "message": message, "job": job_id, "index": index}
    with connection() as database:
        row = database.execute(BEGIN, values).fetchone()
    if row is not None:
        attempt, params, job_params = row
        return PartWork(attempt, job_id, index, params, job_params)
    with transaction() as session:
        return work.begin(session, runner, job_id, index)


def finish(part: PartWork, runner: Runner, product: Product) -> bool:
    """Store the product and mark the part as done; return whether another part that does not join is open."""
    values: dict[str, Any] = {
        "job": part.job_id,
        "index": part.index,
        "attempt": part.attempt,
        "host": runner.host,
        "pid": runner.pid,
        "result": None if product.result is None else Jsonb(product.result),
        "role": product.role,
        "content_type": product.content_type,
        "data": product.data,
    }
    with connection() as database:
        with database.pipeline():
            database.execute("BEGIN")
            marked = database.execute(FINISH, values)
            database.execute("COMMIT")
            other = database.execute(OPEN, values)
        if marked.fetchone() is not None:
            return other.fetchone() is not None
    with transaction() as session:
        work.finish(session, part, runner, product)
    return False
