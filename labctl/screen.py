"""What a command shows while it works: live lines on a terminal, plain lines elsewhere."""

import os
import sys
import threading
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Column, Table

HEARTBEAT_S = 15.0
PLAIN_WIDTH = 200  # columns of a table in a file or a pipe, unless COLUMNS is set


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False, soft_wrap=True)
    if not console.is_terminal and not os.environ.get("COLUMNS", "").isdigit():
        console.width = PLAIN_WIDTH
    return console


class Step:
    """A step of a command. `detail` is what it does now; its last line shows `result` and `ok`."""

    def __init__(self, title: str, show: Callable[[str], None] = lambda _detail: None) -> None:
        self.title = title
        self.detail = ""
        self.result = ""
        self.ok = True
        self.started = self.printed = time.monotonic()
        self._show = show

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def update(self, detail: str) -> None:
        """Show what the step does now."""
        self.detail = detail
        self._show(detail)


class Screen:
    """Prints results on stdout, progress and errors on stderr; with json, all on stderr."""

    def __init__(self, *, json: bool = False) -> None:
        self.json = json
        self.errors = _console(stderr=True)
        self.console = self.errors if json else _console(stderr=False)
        self._live = self.errors.is_interactive
        self._lock = threading.Lock()
        self._steps = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", style="bold", markup=False),
            TextColumn("{task.fields[detail]}", markup=False, table_column=Column(no_wrap=True, ratio=1)),
            TextColumn("{task.elapsed:.0f} s", justify="right"),
            console=self.errors,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),  # a file gets the result also while steps are shown
            expand=True,
        )

    def say(self, text: str) -> None:
        """Print one line of the result as it is."""
        self.console.print(text, markup=False, emoji=False)

    def note(self, text: str) -> None:
        """Print one line about what the command does, on stderr."""
        self.errors.print(text, markup=False)

    def fail(self, text: str) -> None:
        """Print an error message on stderr."""
        self.errors.print(text, markup=False, style="red" if sys.stderr.isatty() else None)

    def table(self, rows: Sequence[Mapping[str, str]], *, right: Container[str] = ()) -> None:
        """Print rows {title: cell with markup}; columns named in `right` are aligned to the right."""
        table = Table(box=None, pad_edge=False)
        for title in rows[0]:
            table.add_column(title, justify="right" if title in right else "left", overflow="fold")
        for row in rows:
            table.add_row(*row.values())
        self.console.print(table, soft_wrap=False)

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Show a step while it runs, beside those of other threads; then a line with result and duration."""
        with self._lock:
            task = self._steps.add_task(title, detail="")
            if self._live:
                self._steps.start()
            else:
                self.note(f"{title} ...")

        def show(detail: str) -> None:
            self._steps.update(task, detail=detail)
            if not self._live and time.monotonic() - step.printed >= HEARTBEAT_S:
                step.printed = time.monotonic()
                subject = "" if len(self._steps.task_ids) == 1 else f"{title}: "
                self.note(f"  {step.seconds:4.0f} s  {subject}{detail}")

        step = Step(title, show)
        try:
            yield step
        except BaseException:
            step.ok = False
            raise
        finally:
            with self._lock:
                self._steps.remove_task(task)
                if self._live and not self._steps.task_ids:
                    self._steps.stop()
            mark = "[green]✓[/green]" if step.ok else "[red]✗[/red]"
            result = f"  {step.result}" if step.result else ""
            self.errors.print(f"{mark} {escape(f'{title}{result}  ({step.seconds:.1f} s)')}")
