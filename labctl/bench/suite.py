"""What every suite gets."""

from dataclasses import dataclass

from labctl.context import Context

USER = "bench"  # of the brokers, and its vhost


@dataclass(frozen=True)
class Bench:
    """The lab, the password of the broker's user `bench` ("" without), and how long the series is."""

    context: Context
    password: str
    quick: bool

    def size(self, full: int, quick: int) -> int:
        """A number of the full series, or of the quick one."""
        return quick if self.quick else full

    @property
    def hosts(self) -> dict[str, list[str]]:
        """The hosts of each group."""
        return self.context.substrate.groups()
