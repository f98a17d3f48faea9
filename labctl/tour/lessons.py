"""The lessons of the tour: the files tour/NN-name.py, and what their docstrings say."""

import ast
import difflib
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from labctl.errors import UsageError
from labctl.paths import ROOT
from labctl.topology.model import GROUPS

FOLDER = ROOT / "tour"
SHARED = FOLDER / "lesson.py"  # what every lesson imports
PLACES = ("a gateway", "a worker host", "every worker host")
_ONE_PART = {"main": "a gateway"}


@dataclass(frozen=True)
class Lesson:
    """A lesson. `see`: what will be seen, one sentence a line. `parts`: name of a process -> one of PLACES;
    the first one is the main process. `needs`: hosts of a group of the lab, at least.
    """

    file: Path
    title: str
    see: str
    question: str
    answer: str
    code: str
    parts: dict[str, str] = field(default_factory=lambda: _ONE_PART)
    needs: dict[str, int] = field(default_factory=dict)

    @cached_property
    def name(self) -> str:
        """Like "ack" for tour/03-ack.py."""
        return re.sub(r"^\d+-", "", self.file.stem)

    @property
    def kills(self) -> bool:
        """True when the lesson kills a broker."""
        return "kill_broker(" in self.code


def read(file: Path) -> Lesson:
    """A lesson from its file; UsageError when the file is not a lesson."""
    try:
        text = file.read_text(encoding="utf-8")
        first = ast.parse(text).body[0]
    except (OSError, ValueError, SyntaxError, IndexError) as error:
        raise UsageError(f"{file} cannot be read as a program ({error}); correct it.") from error
    docstring = ast.get_docstring(ast.parse(text)) or ""
    title, *paragraphs = docstring.split("\n\n")
    labelled, see = {}, []
    for paragraph in paragraphs:
        for part in re.split(r"\n(?=(?:Runs|Needs|Question|Answer): )", paragraph):
            label, colon, rest = part.partition(": ")
            if colon and label in ("Runs", "Needs", "Question", "Answer"):
                labelled[label] = " ".join(rest.split())
            else:
                see.append(part)
    if not (see and {"Question", "Answer"} <= labelled.keys()):
        raise UsageError(
            f"{file} is no lesson: its docstring needs a title, what will be seen, `Question: `, `Answer: `."
        )
    return Lesson(
        file,
        title.strip(),
        re.sub(r"(?<![.!?])\n", " ", "\n".join(see)),
        labelled["Question"],
        labelled["Answer"],
        "\n".join(text.splitlines()[first.end_lineno :]).strip("\n"),
        _parts(file, labelled["Runs"]) if "Runs" in labelled else _ONE_PART,
        _needs(file, labelled["Needs"]) if "Needs" in labelled else {},
    )


def _parts(file: Path, text: str) -> dict[str, str]:
    parts = dict(part.strip().split(" on ", 1) for part in text.split(";") if " on " in part)
    if not parts or not set(parts.values()) <= set(PLACES):
        raise UsageError(
            f"{file}: `Runs: {text}` is not understood; write NAME on PLACE; ... with {', '.join(PLACES)}."
        )
    return parts


def _needs(file: Path, text: str) -> dict[str, int]:
    found = re.fullmatch(r"(\d+) (\w+)", text)
    if not found or found[2] not in GROUPS:
        raise UsageError(f"{file}: `Needs: {text}` is not understood; write it as in `Needs: 3 brokers`.")
    return {found[2]: int(found[1])}


def every() -> list[Lesson]:
    """All lessons, in their order."""
    return [read(file) for file in sorted(FOLDER.glob("[0-9]*-*.py"))]


def find(names: tuple[str, ...]) -> list[Lesson]:
    """Lessons by name, number or file; all of them without names. UsageError for an unknown one."""
    lessons = every()
    known = {lesson.name: lesson for lesson in lessons}
    numbers = {lesson.file.stem.partition("-")[0].lstrip("0"): lesson for lesson in lessons}
    stems = {lesson.file.stem: lesson for lesson in lessons}
    found = []
    for name in names:
        lesson = (known | stems).get(name) or numbers.get(name.lstrip("0"))
        if lesson is None and name.endswith(".py"):
            lesson = read(Path(name))
        if lesson is None:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
            hint = f"did you mean {' or '.join(near)}?" if near else "./lab tour --list shows all."
            raise UsageError(f"There is no lesson {name!r}; {hint}")
        found.append(lesson)
    return found if names else lessons
