"""What a command shows while it works: live on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table

HEARTBEAT_S = 15.0
PLAIN_WIDTH = 200  # columns of a table in a file or a pipe


class Step:
    """One step at work: detail says what is done now; result and ok are kept on the finished line."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.detail = ""
        self.result = ""
        self.ok = True
        self.started = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def update(self, detail: str) -> None:
        """Say what is being done now."""
        self.detail = detail


class _LiveStep(Step):
    """A step whose line is drawn again and again: rich asks for it."""

    def __init__(self, title: str) -> None:
        super().__init__(title)
        self._spinner = Spinner("dots")

    def __rich__(self) -> Table:
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(width=1)
        grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        grid.add_column(justify="right")
        text = f"[bold]{escape(self.title)}[/bold]  {escape(self.detail)}"
        grid.add_row(self._spinner, text, f"{self.seconds:.0f} s")
        return grid


class _PlainStep(Step):
    """A step that prints a line now and then, so that a log shows it is alive."""

    def __init__(self, title: str, screen: Screen) -> None:
        super().__init__(title)
        self._screen = screen
        self._printed = time.monotonic()

    def update(self, detail: str) -> None:
        super().update(detail)
        if time.monotonic() - self._printed >= HEARTBEAT_S:
            self._printed = time.monotonic()
            subject = "" if self._screen.alone else f"{self.title}: "
            self._screen.say(f"  {self.seconds:4.0f} s  {subject}{detail}")


class _Board:
    """The steps that are at work, drawn below each other; there is a display as long as there is a step."""

    def __init__(self, console: Console) -> None:
        self.steps: list[Step] = []
        self._console = console
        self._lock = threading.Lock()
        self._live: Live | None = None

    def __rich__(self) -> Group:
        return Group(*(step for step in self.steps if isinstance(step, _LiveStep)))

    def add(self, step: Step) -> None:
        with self._lock:
            self.steps = [*self.steps, step]
            if self._live is None and isinstance(step, _LiveStep):
                self._live = Live(self, console=self._console, refresh_per_second=8, transient=True)
                self._live.start()

    def remove(self, step: Step) -> None:
        with self._lock:
            self.steps = [other for other in self.steps if other is not step]
            if self._live is not None and not self.steps:
                self._live.stop()
                self._live = None


class Screen:
    """Where a command's words go. With json, stdout is left to the JSON document."""

    def __init__(self, *, json: bool = False) -> None:
        self.json = json
        self.console = Console(stderr=json, highlight=False, soft_wrap=True)
        if not self.console.is_terminal:
            self.console = Console(stderr=json, highlight=False, soft_wrap=True, width=PLAIN_WIDTH)
        self.errors = Console(stderr=True, highlight=False, soft_wrap=True)
        self._board = _Board(self.console)

    def say(self, text: str) -> None:
        """Print one line as it is."""
        self.console.print(text, markup=False)

    def fail(self, text: str) -> None:
        """Print the message of an error."""
        self.errors.print(text, markup=False, style="red" if sys.stderr.isatty() else None)

    @property
    def alone(self) -> bool:
        """True when no more than one step is at work."""
        return len(self._board.steps) <= 1

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Show a step at work, beside those of other threads; leaves a line with its result and duration."""
        step: Step
        if self.console.is_terminal:
            step = _LiveStep(title)
        else:
            step = _PlainStep(title, self)
            self.say(f"{title} ...")
        self._board.add(step)
        try:
            yield step
        except BaseException:
            step.ok = False
            raise
        finally:
            self._board.remove(step)
            mark = "[green]✓[/green]" if step.ok else "[red]✗[/red]"
            self.console.print(f"{mark} {self._line(step)}")

    @staticmethod
    def _line(step: Step) -> str:
        result = f"  {step.result}" if step.result else ""
        return escape(f"{step.title}{result}  ({step.seconds:.1f} s)")
