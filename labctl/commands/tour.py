"""tour: short lessons that show on the lab what queues, exchanges and tasks do."""

import json
import sys
import textwrap
import time
from collections.abc import Callable

from rich.markup import escape
from rich.syntax import Syntax

from labctl.context import Context, states
from labctl.lab.files import shown
from labctl.lab.lock import exclusive
from labctl.programs.vhost import vhost
from labctl.screen import Screen
from labctl.tour import lessons, runner
from labctl.tour.lessons import Lesson
from labctl.tour.runner import Outcome

WIDTH = 100  # columns of a text, at most


def listing(screen: Screen) -> int:
    """Print every lesson; this needs no lab."""
    found = lessons.every()
    if screen.json:
        keys = ("name", "title", "see", "kills_a_broker")
        rows = [(lesson.name, lesson.title, lesson.see, lesson.kills) for lesson in found]
        print(json.dumps([dict(zip(keys, row, strict=True)) for row in rows], indent=2))
        return 0
    screen.table(
        [
            {
                "lesson": escape(lesson.name),
                "about": escape(lesson.title),
                "kills a broker": "yes" if lesson.kills else "",
            }
            for lesson in found
        ]
    )
    return 0


def command(context: Context, names: tuple[str, ...], *, everything: bool) -> int:
    """Run the lessons; exit status 1 when one failed. On a terminal, Enter continues."""
    chosen = lessons.find(names)
    states(context)  # UsageError when there is no lab
    keys = not everything and not context.screen.json and sys.stdin.isatty() and sys.stdout.isatty()
    wait = _wait_for_key if keys else lambda _what: None
    started = time.monotonic()
    with exclusive(context.paths, "tour"), vhost(context.substrate, "tour") as password:
        outcomes = [_one(context, lesson, password, wait) for lesson in chosen]
    seconds = time.monotonic() - started
    failed = [outcome.lesson.name for outcome in outcomes if outcome.failure]
    if context.screen.json:
        document = {
            "ok": not failed,
            "seconds": round(seconds, 1),
            "lessons": [o.document() for o in outcomes],
        }
        print(json.dumps(document, indent=2))
    elif len(chosen) > 1:
        passed = sum(not (outcome.failure or outcome.left_out) for outcome in outcomes)
        context.screen.say(f"{passed} of {len(chosen)} lessons passed ({seconds:.0f} s)")
    return 1 if failed else 0


def _wait_for_key(what: str) -> None:
    input(f"\n[Enter: {what}; Ctrl-C: end the tour] ")


def _one(context: Context, lesson: Lesson, password: str, wait: Callable[[str], None]) -> Outcome:
    screen = context.screen
    screen.console.print(f"{lesson.name}: {lesson.title}", style="bold underline", markup=False)
    for sentence in lesson.see.splitlines():
        _say(screen, sentence)
    screen.say(f"\n{shown(lesson.file)}:\n")
    screen.console.print(Syntax(lesson.code, "python", theme="ansi_dark", background_color="default"))
    wait("run the program")
    screen.say("")
    outcome = runner.run(context, lesson, password, screen.say)
    if outcome.left_out:
        screen.say(f"This lesson is left out: {outcome.left_out}.\n")
        return outcome
    if outcome.failure:
        screen.fail(f"\nThe lesson {lesson.name} failed: {outcome.failure}")
    _say(screen, f"\nQuestion: {lesson.question}")
    wait("show the answer")
    _say(screen, f"Answer: {lesson.answer}")
    screen.say(f"\n({outcome.seconds:.1f} s)\n")
    return outcome


def _say(screen: Screen, text: str) -> None:
    start = text[: len(text) - len(text.lstrip("\n"))]
    screen.say(start + textwrap.fill(text, min(screen.console.width, WIDTH)))
