"""A load: the work during a fault, and the record of what was accepted and done."""

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from labctl.drills.definition import SingleTask
from labctl.drills.ledger import Ledger
from labctl.drills.targets import Held
from labctl.errors import LabError


class NotHeldError(LabError):
    """No task started where the fault is to hit."""


@dataclass(frozen=True)
class Counts:
    """So far: attempted; confirmed or, without a confirm, unknown; executed, as the database shows."""

    attempted: int = 0
    confirmed: int = 0
    unknown: int = 0
    executed: int = 0


class Load(Protocol):
    """A running load. As a context manager it ends with the block, also after an error."""

    #: The queue whose leader a fault may hit, its vhost, and the systemd unit of the workers that execute it.
    vhost: str
    queue: str
    worker_unit: str

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def counts(self) -> Counts:
        """Counts of the last second."""

    def progress(self) -> str:
        """The rate and the counts, for the screen."""

    def now(self) -> float:
        """The database's time, which the ledger uses too; seconds since 1970."""

    def hold(self, host: str) -> Held:
        """Start a long task, on `host` if it can be chosen; raises NotHeldError, LabError."""

    def publish(self, single: SingleTask) -> int:
        """Publish one extra task; returns its number. Raises LabError."""

    def stop(self) -> float:
        """Publish no more; returns the time. Counting continues."""

    def read_back(self, file: Path) -> Ledger:
        """The record of the load, which is written to `file` too. Raises LabError."""

    def close(self) -> None:
        """End the load."""
