"""The database: which errors count as unavailable."""

from __future__ import annotations

import time

import pytest
from mosaic.ledger.database import DATABASE_AWAY, transaction
from mosaic.ledger.models import Job
from psycopg.errors import IdleInTransactionSessionTimeout
from sqlalchemy import select, text

pytestmark = pytest.mark.usefixtures("config")


def test_session_that_the_server_ended_counts_as_a_database_that_is_away() -> None:
    # As when a host is frozen during a transaction.
    with transaction() as session:
        session.execute(text("SET LOCAL idle_in_transaction_session_timeout = 50"))
        time.sleep(0.3)
        with pytest.raises(DATABASE_AWAY) as caught:
            session.execute(select(Job.id))
        session.rollback()
    assert isinstance(getattr(caught.value, "orig", None), IdleInTransactionSessionTimeout)
    with transaction() as session:
        assert session.scalars(select(Job.id)).all() == []
