"""What a person sees of a suite that failed."""

from __future__ import annotations

from pathlib import Path

from labctl.testing.checks import FailedTest, Suite


def test_an_assertion_that_many_tests_share_is_shown_once() -> None:
    suite = Suite("verify", Path("verify.xml"), Path("verify.log"))
    suite.failures = [FailedTest(f"test_{n}", "worker-3 is not reached") for n in range(5)]
    suite.failures.append(FailedTest("test_other", "assert 1 == 2"))
    assert suite.failure_lines() == [
        "FAILED test_0",
        "FAILED test_1",
        "FAILED test_2",
        "FAILED and 2 more in the same way",
        "    worker-3 is not reached",
        "FAILED test_other",
        "    assert 1 == 2",
        "  log: verify.log",
    ]
