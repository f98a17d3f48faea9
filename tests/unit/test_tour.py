"""./lab tour: its lessons, what it reads from them, and how it runs one."""

from __future__ import annotations

import ast
import json
import re
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest

from labctl import cli
from labctl.commands import tour
from labctl.context import Context
from labctl.errors import LabError, UsageError
from labctl.paths import ROOT, LabPaths
from labctl.programs import on_node, vhost
from labctl.screen import Screen
from labctl.tour import lessons, runner
from labctl.tour.lessons import Lesson

LESSONS = lessons.every()
GROUPS = {
    "brokers": ["broker-1"],
    "workers": ["worker-1", "worker-2"],
    "gateways": ["gateway-1"],
    "databases": ["database-1"],
    "monitors": [],
}
TEXT = '''"""A title

What is
seen. And
this.

{extra}Question: Why?
Answer: Because
it is so.
"""

{code}
'''


def write(folder: Path, code: str, extra: str = "") -> Path:
    file = folder / "own.py"
    file.write_text(TEXT.format(code=textwrap.dedent(code), extra=f"{extra}\n\n" if extra else ""))
    return file


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """A lab whose hosts are this machine: a lesson runs here, without a broker."""

    def shell(_host: str, command: list[str], **_: object) -> list[str]:
        if command[0] == "systemd-run":
            return [sys.executable, *command[-1:]]
        return command if command[0] == "sh" and "rabbitmqctl" not in command[-1] else ["cat"]

    monkeypatch.setattr(on_node, "FOLDER", str(tmp_path / "host"))
    substrate = SimpleNamespace(
        groups=lambda: GROUPS, patience=lambda: 1.0, states=lambda: {"broker-1": "running"}, shell=shell
    )
    return Context(LabPaths("lab", tmp_path), substrate, Screen(json=True))


def run(context: Context, file: Path) -> runner.Outcome:
    return runner.run(context, lessons.read(file), "secret", lambda _line: None)


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)
def test_a_lesson_is_short_and_complete(lesson: Lesson) -> None:
    code = [line for line in lesson.code.splitlines() if line.strip()]
    assert 10 <= len(code) <= 40
    assert len(lesson.see.splitlines()) == 3, "three sentences of what will be seen"
    assert lesson.title
    assert lesson.question.endswith("?")
    assert lesson.answer.endswith(".")
    called = {
        node.func.id
        for node in ast.walk(ast.parse(lesson.code))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert "check" in called
    assert set(lesson.parts) == {"main"} or "play" in called


def test_lessons_are_numbered_and_named_once() -> None:
    numbers = [int(lesson.file.stem.partition("-")[0]) for lesson in LESSONS]
    assert numbers == list(range(1, len(LESSONS) + 1))
    assert len({lesson.name for lesson in LESSONS}) == len(LESSONS)


@pytest.mark.parametrize("name", ["ack", "3", "03", "03-ack", str(lessons.FOLDER / "03-ack.py")])
def test_a_lesson_is_found(name: str) -> None:
    assert [lesson.name for lesson in lessons.find((name,))] == ["ack"]


def test_an_unknown_lesson_names_near_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["lab", "tour", "prefech"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert "no lesson 'prefech'; did you mean prefetch" in " ".join(captured.err.split())
    assert not captured.out


def test_the_list_needs_no_lab(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["lab", "tour", "--list", "--json"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    listed = json.loads(capsys.readouterr().out)
    assert [lesson["name"] for lesson in listed] == [lesson.name for lesson in LESSONS]
    assert {lesson["name"] for lesson in listed if lesson["kills_a_broker"]} == {
        "durable",
        "confirms",
        "quorum",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = (", "cannot be read"),
        ("x = 1", "is no lesson"),
        (TEXT.format(code="", extra="Runs: a on the moon\n\n"), "Runs: a on the moon"),
        (TEXT.format(code="", extra="Needs: some brokers\n\n"), "Needs: some brokers"),
    ],
)
def test_a_file_that_is_no_lesson(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(text)
    with pytest.raises(UsageError, match=message):
        lessons.find((str(file),))


def test_what_a_docstring_says(tmp_path: Path) -> None:
    lesson = lessons.read(write(tmp_path, "print(1)", "Runs: a on a gateway; b on every worker host"))
    assert (lesson.title, lesson.see, lesson.question) == ("A title", "What is seen. And this.", "Why?")
    assert lesson.answer == "Because it is so."
    assert lesson.parts == {"a": "a gateway", "b": "every worker host"}
    assert lesson.code == "print(1)"


class Terminal:
    """A standard input or output with keys."""

    def isatty(self) -> bool:
        return True


PART = """
    import json, sys, time
    own = json.loads(sys.stdin.readline())
    print("part", own["part"], own["password"], flush=True)
"""


def test_parts_run_on_their_hosts_until_the_first_ends(here: Context, tmp_path: Path) -> None:
    code = (
        PART
        + """
    if own["part"] == "a":
        time.sleep(1)
    else:
        sys.stdin.read()
    """
    )
    done = run(here, write(tmp_path, code, "Runs: a on a gateway; b on every worker host"))
    assert done.failure == ""
    assert sorted(done.lines) == [
        "gateway-1  part a secret",
        "worker-1   part b secret",
        "worker-2   part b secret",
    ]


@pytest.mark.parametrize(
    ("end", "failure"),
    [("sys.exit('✗ not true: 1 is 2')", "not true any more"), ("1 / 0", "an error, exit status 1"), ("", "")],
)
def test_a_lesson_fails_as_its_program_does(end: str, failure: str, here: Context, tmp_path: Path) -> None:
    done = run(here, write(tmp_path, PART + f"    {end}"))
    assert failure in done.failure
    assert bool(done.failure) == bool(end)


def test_a_part_that_ends_too_early_fails_the_lesson(here: Context, tmp_path: Path) -> None:
    code = PART + "    sys.stdin.read() if own['part'] == 'a' else None"
    done = run(here, write(tmp_path, code, "Runs: a on a gateway; b on a worker host"))
    assert "worker-1 ended before the lesson did" in done.failure


def test_a_lesson_that_waits_without_end_is_ended(
    here: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "LIMIT_S", 1.0)
    done = run(here, write(tmp_path, PART + "    sys.stdin.read()"))
    assert "has not ended within 1 s" in done.failure


def test_a_lesson_may_kill_brokers_only(
    here: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = []
    monkeypatch.setattr(runner, "play", lambda _c, _s, book, variables: killed.append((book, variables)))
    code = """
        import json, sys
        sys.stdin.readline()
        for host in ("broker-1", "database-1"):
            print(json.dumps({"kill_broker": host}), flush=True)
            print(sys.stdin.readline(), flush=True)
    """
    done = run(here, write(tmp_path, code))
    assert [(book, variables["drill_hosts"]) for book, variables in killed] == [("kill.yml", ["broker-1"])]
    assert "database-1 is no broker" in done.failure
    assert '{"killed": "broker-1"}' in done.lines


def test_a_lesson_that_needs_more_hosts_is_left_out(here: Context, tmp_path: Path) -> None:
    done = run(here, write(tmp_path, "1 / 0", "Needs: 3 brokers"))
    assert (done.failure, done.left_out) == ("", "it needs 3 brokers, and the lab has 1")


def test_the_command_reports_each_lesson(
    here: Context, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad").mkdir()
    good, bad = write(tmp_path, PART), write(tmp_path / "bad", PART + "    sys.exit(1)")
    assert tour.command(here, (str(good), str(bad)), everything=False) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False
    assert [(lesson["name"], lesson["ok"]) for lesson in document["lessons"]] == [
        ("own", True),
        ("own", False),
    ]
    assert document["lessons"][0]["output"][0].startswith("part main ")


def test_on_a_terminal_the_reader_continues_by_enter(
    here: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program runs after the first key, and the answer comes after the second one."""
    shown: list[str] = []
    monkeypatch.setattr(tour, "sys", SimpleNamespace(stdin=Terminal(), stdout=Terminal()))
    monkeypatch.setattr("builtins.input", lambda _prompt: shown.append(capsys.readouterr().out))
    context = Context(here.paths, here.substrate, Screen())
    assert tour.command(context, (str(write(tmp_path, PART)),), everything=False) == 0
    shown.append(capsys.readouterr().out)
    before, between, after = shown
    assert "What is seen. And this." in before
    assert 'print("part"' in before
    assert "part main" in between
    assert "Question: Why?" in between
    assert "Answer: Because it is so." in after
    assert "Because" not in before + between


def test_without_keys_nothing_waits(
    here: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("builtins.input", lambda _prompt: pytest.fail("it waits for a key"))
    context = Context(here.paths, here.substrate, Screen())
    assert tour.command(context, (str(write(tmp_path, PART)),), everything=False) == 0
    assert "Answer: Because it is so." in capsys.readouterr().out


def test_the_vhost_is_deleted_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, str]] = []

    def output(_substrate: object, host: str, command: list[str], **options: str) -> str:
        calls.append((command[-1], options["stdin"]))
        if host == "broker-1":
            raise LabError("It is down.")
        return ""

    monkeypatch.setattr(vhost, "output", output)
    substrate = SimpleNamespace(groups=lambda: {"brokers": ["broker-1", "broker-2"]})
    with pytest.raises(LabError, match="within"), vhost.vhost(substrate, "tour") as password:
        raise LabError("within")
    created = json.loads(calls[0][1])
    assert created["users"] == [{"name": "tour", "password": password, "tags": "management"}]
    assert {right["vhost"] for right in created["permissions"]} == {"tour"}
    assert password not in calls[0][0]
    assert "delete_vhost tour" in calls[-1][0]
    assert "delete_user tour" in calls[-1][0]


def test_the_page_of_the_tour_lists_every_lesson() -> None:
    page = (ROOT / "docs" / "tutorial" / "the-tour.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE) == [lesson.name for lesson in LESSONS]
