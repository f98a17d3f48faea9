"""Random requests from the API's schema: the answer is never a 5xx."""

from __future__ import annotations

import os
import time
from contextlib import nullcontext

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from mosaic.gateway import dead_letters as routes
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import BaseSchema
from test_mosaic_dead_letters import FakeBroker

LOGIN = ("lab", "correct horse")
# Event streams have no end.
STREAMS = "/events$"
EXAMPLES = int(os.environ.get("MOSAIC_FUZZ_EXAMPLES", "12"))


@pytest.fixture
def api(served: str, monkeypatch: pytest.MonkeyPatch) -> BaseSchema:
    """Return the schema of a served gateway."""
    monkeypatch.setattr(routes, "connect", lambda *_: nullcontext(FakeBroker()))
    deadline = time.monotonic() + 5
    while httpx.get(f"{served}/api/lab", auth=LOGIN, trust_env=False).status_code == 503:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return schemathesis.openapi.from_url(f"{served}/openapi.json", auth=LOGIN).exclude(path_regex=STREAMS)


def test_nothing_is_a_server_error(api: BaseSchema) -> None:
    operations = [result.ok() for result in api.get_all_operations()]
    assert len(operations) > 15
    for operation in operations:

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def ask(case: Case) -> None:
            answer = case.call(auth=LOGIN)
            case.validate_response(answer, checks=[not_a_server_error])

        ask()
