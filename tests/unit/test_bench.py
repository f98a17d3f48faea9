"""./lab bench: the order of its runs, its figures, its sentences, and that it leaves nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, cast

import httpx
import pytest

from labctl import cli
from labctl.bench import arms, jobs, programs, suites, tasks
from labctl.bench.arms import Arm, Suite
from labctl.bench.figures import AGAIN, ArmResult, Figure, Run, SuiteResult
from labctl.bench.jobs import Jobs
from labctl.bench.programs import ON_NODES, Program
from labctl.bench.report import Series, number, rows
from labctl.bench.suite import Bench
from labctl.bench.usage import Meter, Reading, Use, kinds
from labctl.commands import bench
from labctl.console_api import Console
from labctl.context import Context
from labctl.errors import LabError
from labctl.paths import LabPaths
from labctl.programs import on_node, vhost
from labctl.screen import Screen, Step
from labctl.substrates.base import Substrate

GROUPS = {
    "brokers": ["broker-1", "broker-2"],
    "workers": ["worker-1"],
    "gateways": ["gateway-1"],
    "databases": ["gateway-1"],
    "monitors": [],
}


def a_suite(names: str = "ABC") -> Suite:
    made = [Arm(name, lambda: Run({"tasks/s": 10.0}, 5)) for name in names]
    return Suite("about it", made, guard=made[1])


class FakeMeter(Meter):
    """Every node uses one core, and one second passes between two readings."""

    def __init__(self) -> None:
        super().__init__([], {"brokers": ["broker-1"], "workers": ["worker-1"]})
        self.readings = 0

    def read(self) -> Reading:
        self.readings += 1
        now = float(self.readings)
        return Reading({host: (now, Use(now, 1000 * now)) for host in ("broker-1", "worker-1")})


# The order of the arms.


def test_arms_are_interleaved_and_one_runs_twice_in_each_round() -> None:
    ran: list[str] = []

    def arm(name: str) -> Arm:
        def run() -> Run:
            ran.append(name)
            return Run({"tasks/s": 1.0})

        return Arm(name, run)

    a, b, c = map(arm, "ABC")
    result = arms.measure("s", Suite("x", [a, b, c], b), FakeMeter(), Step("x"), repeats=2, idle_s=0)
    assert ran == ["A", "B", "C", "B"] * 2
    assert [found.name for found in result.arms] == ["A", "B", "C", f"B{AGAIN}"]


def test_each_run_has_its_cpu_time_without_that_of_the_idle_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    prepared = []
    arm = Arm("A", lambda: Run({"tasks/s": 10.0}, 5), lambda: prepared.append(1))
    result = arms.measure("s", Suite("x", [arm], arm), FakeMeter(), Step("x"), repeats=3, idle_s=1)
    assert result.idle == {"brokers": Use(1.0, 1000.0), "workers": Use(1.0, 1000.0)}
    assert [(found.name, len(found.values["tasks/s"])) for found in result.arms] == [
        ("A", 3),
        (f"A{AGAIN}", 3),
    ]
    assert result.arms[0].cpu_ms == {"brokers": [0.0] * 3, "workers": [0.0] * 3}
    assert len(prepared) == 6


# CPU time.


def test_cpu_time_is_summed_by_kind_of_node() -> None:
    meter = Meter([], GROUPS)
    before = Reading(dict.fromkeys(kinds(GROUPS), (100.0, Use(5.0, 1e6))))
    used = {"broker-1": 3.0, "broker-2": 1.0, "worker-1": 2.0, "gateway-1": 0.5}
    after = Reading({host: (110.0, Use(5.0 + cpu, 2e6)) for host, cpu in used.items()})
    assert meter.used(before, after, {}) == {
        "brokers": Use(4.0, 2e6),
        "workers": Use(2.0, 1e6),
        "gateways+databases": Use(0.5, 1e6),
    }
    assert meter.used(before, after, {"brokers": Use(0.1, 0.0)})["brokers"].cpu == pytest.approx(3.0)
    assert meter.a_second(before, after)["brokers"].cpu == pytest.approx(0.4)


def test_the_program_of_a_node_counts_processes_that_have_ended() -> None:
    program = subprocess.Popen(
        [sys.executable, str(ON_NODES / "usage.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    stdin, stdout = cast("IO[str]", program.stdin), cast("IO[str]", program.stdout)
    stdin.write("{}\n")

    def ask() -> dict[str, float]:
        stdin.write("{}\n")
        stdin.flush()
        found: dict[str, float] = json.loads(stdout.readline())
        return found

    before = ask()
    burn = "import time\nwhile time.process_time() < 0.5: pass"
    subprocess.run([sys.executable, "-c", burn], check=True)
    after = ask()
    assert after["cpu"] - before["cpu"] >= 0.4
    assert after["at"] > before["at"]
    assert after["sent"] >= before["sent"] >= 0
    stdin.close()
    assert program.wait(10) == 0


# Statistics.


def test_the_median_and_the_range_of_the_runs() -> None:
    assert Figure([5.0, 1.0, 3.0]).document() == {
        "median": 3.0,
        "low": 1.0,
        "high": 5.0,
        "runs": [5.0, 1.0, 3.0],
    }


def test_cpu_per_task_is_in_milliseconds_and_what_is_sent_in_kb() -> None:
    arm = ArmResult("A")
    arm.add(Run({"tasks/s": 100.0}, 200), {"brokers": Use(1.0, 8e5)})
    arm.add(Run({"s": 0.1}), {"brokers": Use(1.0, 8e5)})  # without tasks it has no meaning
    assert (arm.cpu_ms, arm.sent_kb) == ({"brokers": [5.0]}, {"brokers": [4.0]})


def a_result() -> SuiteResult:
    values = {"A": [10.0, 30.0, 20.0], "B": [40.0, 60.0, 40.0], f"B{AGAIN}": [44.0, 66.0, 20.0]}
    bases = ("", "A", "B")
    results = [
        ArmResult(
            name, base, {"tasks/s": runs}, {"brokers": [1.5] * 3, "workers": [0.5] * 3}, {"brokers": [0.4]}
        )
        for (name, runs), base in zip(values.items(), bases, strict=True)
    ]
    results[-1].cpu_ms["workers"] = [2.5] * 3
    return SuiteResult("drain", "about it", {"brokers": Use(0.25, 0.0)}, 1.0, results)


def test_the_guard_compares_an_arm_with_itself() -> None:
    found = a_result().guard()
    assert (found.arm, round(found.ratio, 3), found.cpu) == ("B", 1.1, 2.0)
    assert str(found) == (
        "Noise guard: 'B' measured again has 1.10 times the tasks/s, and 2.00 times the CPU time per task."
    )


def test_arms_are_compared_round_by_round() -> None:
    """Ratios 4, 2 and 2: a machine that is slower in one round slows both arms."""
    result = a_result()
    assert result.compared(result.arms[1]) == 2.0
    assert result.compared(result.arms[0]) is None


def test_the_table_has_medians_ranges_comparisons_and_cpu() -> None:
    first, second, _ = rows(a_result())
    assert first == {
        "arm": "A",
        "tasks/s": "20.0 (10.0 to 30.0)",
        "compared": "",
        "CPU ms, brokers": "1.50 (1.50 to 1.50)",
        "CPU ms, workers": "0.50 (0.50 to 0.50)",
    }
    assert second["compared"] == "2.00 of A"


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234.5, "1234"), (56.78, "56.8"), (0.1234, "0.12"), (-0.04, "-0.04"), (-0.004, "0.00")],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_the_page_and_the_picture(tmp_path: Path) -> None:
    from labctl.bench import plot

    series = Series("./lab bench drain", 3, {"brokers": 3, "monitors": 0}, [a_result()])
    page = series.page()
    assert "| repeat | `./lab bench drain` |" in page
    assert "| hosts | 3 brokers |" in page
    assert "Noise guard: 'B' measured again" in page
    assert "| A | 0.40 (0.40 to 0.40) |" in page
    assert "CPU of the idle lab, of one core: brokers 25%." in page
    assert json.loads(json.dumps(series.document()))["suites"][0]["noise_guard"]["arm"] == "B"
    plot.draw([a_result()], tmp_path / "bench.png")
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


# Draining a queue.


class FakeProgram(Program):
    """A worker of the measuring program that answers so."""

    def __init__(self, host: str, *answers: dict[str, object]) -> None:
        self.host, self.patience = host, 1.0
        self.sent: list[dict[str, object]] = []
        self._answers = list(answers)

    def send(self, **command: object) -> None:
        self.sent.append(command)

    def poll(self, _seconds: float) -> dict[str, object] | None:
        return self._answers.pop(0) if self._answers else None

    def read(self, _seconds: float) -> dict[str, object]:
        return {"consuming": False}


def test_the_rate_is_from_the_first_start_to_the_last_end_on_any_host() -> None:
    pool = [
        FakeProgram(
            "a",
            {"consuming": True},
            {"done": 4, "first": 10.0, "last": 11.0},
            {"done": 6, "first": 10.0, "last": 12.0},
        ),
        FakeProgram("b", {"done": 4, "first": 10.5, "last": 15.0}),
    ]
    run = tasks.drained(pool, 10)
    assert (run.tasks, run.values) == (10, {"tasks/s": 2.0})
    assert [program.sent for program in pool] == [[{"consume": True}, {"consume": False}]] * 2


def test_workers_that_stop_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = [FakeProgram("a", {"done": 4, "first": 10.0, "last": 11.0})]
    monkeypatch.setattr(tasks, "STALL_S", 0.0)
    with pytest.raises(LabError, match="have done 4 of 10 tasks, and none for 0 s"):
        tasks.drained(pool, 10)


# The sentences.


def refusal(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What ./lab prints when it refuses, with exit status 2."""
    monkeypatch.setattr(sys, "argv", ["lab", "bench", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert not captured.out
    return " ".join(captured.err.split())


@contextmanager
def a_lab(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **changes: object) -> Iterator[Context]:
    found = {
        "groups": lambda: GROUPS,
        "states": lambda: {"broker-1": "running"},
        "patience": lambda: 1.0,
        "url": lambda: "https://127.0.0.1:8443",
        **changes,
    }
    context = Context(LabPaths("lab", tmp_path), SimpleNamespace(**found), Screen(json=True))
    monkeypatch.setattr(cli, "_context", lambda **_: context)
    yield context
    assert not (tmp_path / ".lab" / "lab").exists(), "a command that is refused writes nothing"


def test_an_unknown_suite(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with a_lab(monkeypatch, tmp_path):
        text = refusal(["drain", "speed"], monkeypatch, capsys)
    assert text == "There is no suite 'speed'; there are publish, drain, parts, latency, scale."


def test_a_lab_that_does_not_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    states = {"broker-1": "running", "worker-1": "stopped"}
    with a_lab(monkeypatch, tmp_path, states=lambda: states):
        text = refusal([], monkeypatch, capsys)
    assert text == "worker-1 must run before the lab is measured; ./lab up starts the lab."


def test_a_lab_without_a_gateway(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with a_lab(monkeypatch, tmp_path, groups=lambda: {**GROUPS, "gateways": []}):
        text = refusal(["publish"], monkeypatch, capsys)
    assert text.startswith("The suite publish needs a host in gateways, and the lab has none;")


def test_a_gateway_that_is_not_published(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with a_lab(monkeypatch, tmp_path, url=lambda: ""):
        assert "No gateway is published" in refusal(["parts"], monkeypatch, capsys)


# The end.


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What was closed, in order, of a command whose suite is interrupted."""
    closed: list[str] = []

    @contextmanager
    def block(name: str, value: object = None) -> Iterator[Any]:
        try:
            yield value
        finally:
            closed.append(name)

    monkeypatch.setattr(bench, "vhost", lambda _substrate, name: block(f"vhost {name}", "secret"))
    monkeypatch.setattr(bench, "meter", lambda _substrate: block("meter"))
    entry = suites.Entry(lambda _bench: block("suite", a_suite()), (), vhost=True)
    monkeypatch.setattr(suites, "SUITES", {"publish": entry})
    return closed


@pytest.mark.parametrize("error", [KeyboardInterrupt(), LabError("It is down.")])
def test_an_interrupted_suite_leaves_nothing(
    error: BaseException, ended: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(arms, "measure", fail)
    with a_lab(monkeypatch, tmp_path) as context, pytest.raises(type(error)):
        bench.command(context, ("publish",), quick=True, repeats=None)
    assert ended == ["suite", "meter", "vhost bench"]


def test_a_vhost_whose_creation_was_interrupted_is_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    scripts: list[str] = []

    def output(_substrate: object, _host: str, command: list[str], **_: str) -> str:
        scripts.append(command[-1])
        if len(scripts) == 1:
            raise KeyboardInterrupt
        return ""

    monkeypatch.setattr(vhost, "output", output)
    substrate = cast("Substrate", SimpleNamespace(groups=lambda: GROUPS))
    with pytest.raises(KeyboardInterrupt), vhost.vhost(substrate, "bench"):
        pytest.fail("it was not created")
    created, deleted = scripts
    assert created.startswith("rabbitmqctl --quiet delete_vhost bench "), "one of a command that was killed"
    assert "delete_vhost bench && rabbitmqctl --quiet delete_user bench" in deleted


def test_jobs_that_still_run_are_cancelled() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.method} {request.url.path}")
        known = [
            {
                "job": "j1",
                "state": "done",
                "done": 4,
                "total": 4,
                "created": "2026-11-30T12:00:00+00:00",
                "seconds": 2.0,
            }
        ]
        body = {"job": f"j{len(asked)}"} if request.url.path.endswith("render") else {"jobs": known}
        return httpx.Response(200, json=body)

    console = Console.__new__(Console)
    console._client = httpx.Client(base_url="https://127.0.0.1:8443", transport=httpx.MockTransport(answer))
    with Jobs(console, 1.0) as submitted:
        first, _ = submitted.submit({}), submitted.submit({})
        assert submitted.rate([first]) == (2.0, 4)
    assert asked[-1] == "POST /api/jobs/j2/cancel"
    assert "POST /api/jobs/j1/cancel" not in asked


def test_a_probe_measures_until_the_pixels_are_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """One tile comes with the stream; the other one was done before, and is fetched."""
    now = iter([100.0, 100.5, 101.0])
    monkeypatch.setattr(
        jobs, "time", SimpleNamespace(time=lambda: next(now), sleep=lambda _s: None, monotonic=float)
    )
    ended = "1970-01-01T00:01:40.400000+00:00"  # 100.4 s
    parts = [{"part": index, "ended": ended} for index in (0, 1)]
    stream = (
        'event: tiles\ndata: {"1":"cGl4ZWxz"}\n\nid: x\nevent: parts\ndata: []\n\nevent: alive\ndata: {}\n\n'
    )
    fetched: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        fetched.append(request.url.path)
        if request.url.path.endswith("/events"):
            assert request.url.params["tiles"] == "true"
            return httpx.Response(200, text=stream)
        summary = {"job": "j", "state": "done", "done": 2, "parts": parts}
        return httpx.Response(200, json={**summary, "jobs": [summary]})

    console = Console.__new__(Console)
    console._client = httpx.Client(base_url="https://127.0.0.1:8443", transport=httpx.MockTransport(answer))
    with Jobs(console, 1.0) as found:
        first, pixels = jobs._probe(found, offset=0.0)
    assert first == pytest.approx(0.5)  # submitted at 100.0, the first tile here at 100.5
    assert pixels == pytest.approx(0.35)  # the median of 0.1 and 0.6
    assert "/api/jobs/j/tiles/0.png" in fetched
    assert "/api/jobs/j/tiles/1.png" not in fetched


def test_the_load_is_submitted_steadily_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    submitted: list[str] = []
    waited: list[str] = []

    def submit(_view: object) -> str:
        submitted.append(f"j{len(submitted)}")
        return submitted[-1]

    fake = SimpleNamespace(submit=submit, wait=waited.extend)
    rate = 20 * jobs.LOAD_GRID[0] * jobs.LOAD_GRID[1]  # parts a second, for 20 jobs a second
    with jobs._Load(cast("Jobs", fake), rate, 0.5):
        pass
    assert 5 <= len(submitted) <= 12
    assert waited == submitted
    with jobs._Load(cast("Jobs", fake), 0.0, 10.0):
        pass
    assert waited == submitted, "without load nothing is submitted"


@pytest.mark.parametrize(
    ("workers", "arms_of_suite"),
    [
        (1, ["1 worker host"]),
        (3, ["1 worker host", "3 worker hosts"]),
        (4, ["1 worker host", "3 worker hosts", "4 worker hosts"]),
        (8, ["1 worker host", "3 worker hosts", "6 worker hosts", "8 worker hosts"]),
    ],
)
def test_the_worker_hosts_of_scale(
    workers: int, arms_of_suite: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = [f"worker-{number}" for number in range(workers)]

    @contextmanager
    def started(_substrate: object, names: list[str], *_: object) -> Iterator[list[FakeProgram]]:
        yield [FakeProgram(name) for name in names]

    monkeypatch.setattr(tasks, "started", started)
    substrate = SimpleNamespace(groups=lambda: {**GROUPS, "workers": hosts})
    context = cast("Context", SimpleNamespace(substrate=substrate))
    with tasks.scale(Bench(context, "secret", quick=True)) as suite:
        assert [arm.name for arm in suite.arms] == arms_of_suite
        assert [arm.base for arm in suite.arms] == ["", *["1 worker host"] * (len(arms_of_suite) - 1)]
        assert suite.guard.name == arms_of_suite[-1]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A host that is this machine; on it runs a program that answers once and then ends at a `fail`."""
    (tmp_path / "echo.py").write_text(
        "import sys\nprint('a warning')\nprint(sys.stdin.readline(), flush=True)\n"
        "for line in sys.stdin:\n    sys.exit('no memory') if 'fail' in line else print(line, flush=True)\n"
    )
    monkeypatch.setattr(programs, "ON_NODES", tmp_path)
    monkeypatch.setattr(on_node, "FOLDER", str(tmp_path / "host"))

    def shell(_host: str, command: list[str]) -> list[str]:
        return [sys.executable, command[-1]] if command[0] == "systemd-run" else command

    return SimpleNamespace(shell=shell, patience=lambda: 1.0)


def test_a_program_answers_and_ends_with_the_block(here: SimpleNamespace) -> None:
    with programs.started(here, ["worker-1", "worker-2"], "echo.py", {"part": "p"}) as found:
        assert [program.read(10) for program in found] == [
            {"part": "p", "host": host} for host in ("worker-1", "worker-2")
        ]
        assert programs.ask_all(found, count=3) == [{"count": 3}] * 2
        processes = [program._process._process for program in found]
    assert [process.returncode for process in processes] == [0, 0]


def test_a_program_that_fails_is_an_error_with_its_last_lines(here: SimpleNamespace) -> None:
    with Program(here, "worker-1", "echo.py", {"part": "p"}) as program:
        program.read(10)
        with pytest.raises(LabError, match="on worker-1 ended by itself: a warning; no memory"):
            program.ask(fail=True)
