"""Which drills there are, whom they hit, and how their results are judged."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
import yaml

from labctl.audit.rules import guards
from labctl.commands.drill import Choice, _chosen, soak
from labctl.drills.catalogue import DRILLS, JOBS, SHORT, find
from labctl.drills.definition import Drill, Series
from labctl.drills.expectations import judge, judge_application
from labctl.drills.ledger import DeadLetter, Ledger, Totals
from labctl.drills.metrics import Gap, Metrics, Window
from labctl.drills.result import Result, Round
from labctl.drills.tables import headline
from labctl.drills.targets import Held, Targets, halves, isolate, majorities_ring
from labctl.errors import UsageError
from labctl.paths import ROOT

GROUPS = {
    "brokers": ["broker-1", "broker-2", "broker-3"],
    "workers": ["worker-1", "worker-2", "worker-3"],
    "gateways": ["gateway-1"],
    "databases": ["database-1"],
    "monitors": [],
}
WELL = Totals(100, 100, 0, 100, 0, 0, 0, 0, [], [], [])


def targets(seed: int = 1) -> Targets:
    chance, held = random.Random(seed), Held(1, "worker-2", 42)
    return Targets(GROUPS, "broker-2", chance, "mosaic.drill", "mosaic-worker@render.service", held)


@pytest.mark.parametrize("drill", [*DRILLS, *JOBS.drills], ids=lambda drill: drill.name)
def test_a_drill_hits_hosts_that_there_are_by_a_playbook_that_there_is(drill: Drill) -> None:
    hosts = {host for group in GROUPS.values() for host in group}
    fault = drill.fault(targets())
    assert set(fault.hosts) | set(fault.hit) | ({fault.power} if fault.power else set()) <= hosts
    assert fault.playbook or fault.power or fault.publish
    if fault.playbook:
        plays = yaml.safe_load((ROOT / "playbooks" / "drills" / fault.playbook).read_text(encoding="utf-8"))
        assert plays[0]["hosts"].startswith("{{ drill_hosts")


@pytest.mark.parametrize("drill", DRILLS, ids=lambda drill: drill.name)
def test_the_same_seed_hits_the_same_hosts(drill: Drill) -> None:
    """Many seeds: of three brokers a choice at random would be the same one time in three."""
    for seed in range(20):
        assert drill.fault(targets(seed)) == drill.fault(targets(seed))


@pytest.mark.parametrize(
    "name", ["disk-alarm", "kill-proxy", "partition-random-node", "kill-broker-follower"]
)
def test_every_host_that_may_be_hit_is_hit_by_some_seed(name: str) -> None:
    faults = [find(name).fault(targets(seed)) for seed in range(40)]
    able = {"kill-proxy": 3, "kill-broker-follower": 2}.get(name, 3)
    assert len({fault.what for fault in faults}) == able


def test_drills_have_names_of_their_own_and_the_short_set_exists() -> None:
    names = [drill.name for drill in DRILLS]
    assert len(set(names)) == len(names)
    assert set(SHORT) <= {*names, JOBS.name}


def test_jobs_are_submitted_while_a_broker_a_worker_and_the_database_fail() -> None:
    assert {"freeze-broker-leader", "kill-pool-child", "stop-database"} <= {d.name for d in JOBS.drills}
    for drill in JOBS.drills:
        assert drill.interrupts == ("rerun" in drill.limits), (
            "what is interrupted must be seen to begin again"
        )


def test_what_is_run_under_one_load() -> None:
    assert _chosen(Choice(("jobs",))) == [JOBS]
    (twice,) = _chosen(Choice(("jobs",), rounds=2))
    assert list(twice.drills) == [*JOBS.drills, *JOBS.drills]
    mixed = _chosen(Choice(("kill-proxy", "jobs", "kill-proxy")))
    assert mixed == [Series("kill-proxy", (find("kill-proxy"),)), JOBS]
    everything = _chosen(Choice((), everything=True))
    assert [series.name for series in everything] == [*(drill.name for drill in DRILLS), "jobs"]
    assert not any(series.jobs for series in everything[:-1])


def test_leader_and_follower_are_told_apart() -> None:
    assert find("kill-broker-leader").fault(targets()).hosts == ("broker-2",)
    for seed in range(20):
        assert find("kill-broker-follower").fault(targets(seed)).hosts != ("broker-2",)


def test_partitions_are_those_of_jepsen() -> None:
    brokers = ["a", "b", "c", "d", "e"]
    assert isolate(brokers[:3], "b") == {"b": ["a", "c"], "a": ["b"], "c": ["b"]}
    assert halves(brokers) == {
        "a": ["c", "d", "e"],
        "b": ["c", "d", "e"],
        "c": ["a", "b"],
        "d": ["a", "b"],
        "e": ["a", "b"],
    }
    ring = majorities_ring(brokers)
    seen = {name: set(brokers) - set(blocked) for name, blocked in ring.items()}
    assert all(len(names) == 3 and name in names for name, names in seen.items())
    assert len({frozenset(names) for names in seen.values()}) == len(brokers)


def test_a_soak_is_repeated_by_its_seed() -> None:
    assert soak(50, 7) == soak(50, 7)
    assert soak(50, 7) != soak(50, 8)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (Choice(()), "Name a drill"),
        (Choice(("nonsense",)), "no drill 'nonsense'"),
        (Choice((), soak=5), "needs a --seed"),
        (Choice(("poison-task",), soak=5, seed=1), "picks its faults itself"),
    ],
)
def test_bad_choices_are_named(choice: Choice, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        _chosen(choice)


def test_a_lab_that_is_too_small_is_named() -> None:
    small = {**GROUPS, "brokers": ["broker-1"], "workers": ["worker-1"]}
    assert find("partition-leader").lacks(small) == "3 brokers, not 1"
    assert find("power-off-worker").lacks(small) == "2 workers, not 1"
    assert find("kill-pool-child").lacks(small) == ""
    assert not any(drill.lacks(GROUPS) for drill in DRILLS)


def test_a_fault_that_was_not_there_is_found() -> None:
    rounds = [replace(result(publish=(0.4,)).rounds[0], drill="disk-alarm")]
    complaints = [check.what for check in judge(result(rounds=rounds), [find("disk-alarm")]) if not check.ok]
    assert complaints == ["disk-alarm: publish >= 4 s, the fault was there"]


def result(*, totals: Totals = WELL, publish: tuple[float, ...] = (0.5,), **changes: Any) -> Result:
    gap = Gap(0.0, 0.5)
    rounds = [
        Round(
            "kill-broker-leader",
            "kill broker-2",
            Window(10.0, 40.0),
            10.0,
            20.0,
            Metrics(Gap(10.0, 10.0 + seconds), gap, gap, 0.1, None, 0.1),
        )
        for seconds in publish
    ]
    made = Result(
        "kill-broker-leader", "lab", "run", rounds, totals, Ledger({}, [], {}), Window(0.0, 50.0), 1.0
    )
    return replace(made, **changes)


def failed(found: Result) -> list[str]:
    return [check.what for check in judge(found, [find("kill-broker-leader")]) if not check.ok]


def test_a_good_result_is_good() -> None:
    assert failed(result()) == []


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (result(totals=replace(WELL, lost=[3])), "no confirmed task is lost"),
        (result(totals=replace(WELL, unexpected=[3])), "not attempted"),
        (result(totals=replace(WELL, twice=[3])), "had once"),
        (result(drained=None), "queues drain"),
        (result(rounds=[replace(result().rounds[0], recovered=None)]), "recovers by itself"),
        (
            result(ledger=Ledger({}, [], {}, [DeadLetter(4, "delivery_limit")])),
            "no other task is a dead letter",
        ),
        (result(publish=(3.1,)), "publish <= 3 s"),
        (result(publish=(1.2, 1.3, 0.1)), "median <= 1 s"),
    ],
)
def test_each_expectation_can_fail(found: Result, words: str) -> None:
    (complaint,) = failed(found)
    assert words in complaint


def test_one_round_is_held_to_the_bound_of_a_round() -> None:
    assert failed(result(publish=(1.2,))) == []


def test_the_culprit_must_be_a_dead_letter_for_its_reason() -> None:
    poison = find("poison-task")
    rounds = [replace(result().rounds[0], drill="poison-task", dead=(7,))]

    def complaints(*letters: DeadLetter) -> list[str]:
        found = result(rounds=rounds, ledger=Ledger({}, [], {}, letters))
        return [check.what for check in judge(found, [poison]) if not check.ok]

    assert complaints(DeadLetter(7, "delivery_limit")) == []
    assert len(complaints()) == 1
    assert len(complaints(DeadLetter(7, "rejected"))) == 1


def test_an_application_must_lose_nothing_and_not_stall() -> None:
    drill = find("kill-broker-leader")

    def complaints(found: Result) -> list[str]:
        return [check.what for check in judge_application(found, [drill]) if not check.ok]

    lost = replace(WELL, lost=[1, 2])
    assert complaints(result(profile="as it is")) == []
    assert complaints(result(profile="as it is", totals=lost)) == ["no task is lost"]
    assert complaints(result(profile="as it is", publish=(12.0,))) == ["kill-broker-leader: publish <= 3 s"]
    waiting = result(profile="as it is", totals=lost, ledger=Ledger({}, [], {}, left=2), drained=None)
    assert complaints(waiting) == ["all queues drain"]
    assert waiting.as_json()["lost"] == 0


def test_an_application_that_could_not_go_on_says_why() -> None:
    cut = result(profile="as it is", ended_early="No worker began the task.")
    assert "every round ends" in [check.what for check in judge_application(cut, []) if not check.ok]
    assert "ended after round 1: No worker began" in headline(cut)
    assert cut.as_json()["ended_early"]


def test_settings_that_guard_are_those_of_the_table() -> None:
    assert set(guards()) <= {drill.name for drill in DRILLS}
    assert "task_reject_on_worker_lost" in guards()["kill-pool-child"]
