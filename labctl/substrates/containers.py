"""The Docker substrate: every node is a systemd container on this machine."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import docker
from docker.models.containers import Container

from labctl import console_api
from labctl.ansible import playbooks
from labctl.errors import LabError, UsageError
from labctl.images import bake, keys
from labctl.lab import state
from labctl.machine import checks, engine, fitness, network, speed
from labctl.paths import DOCKER_INVENTORY, LabPaths
from labctl.screen import Screen
from labctl.substrates import cleanup
from labctl.substrates.base import Made
from labctl.topology import declaration
from labctl.topology.model import GROUPS, Node, Topology, kinds

_SILENCE = (
    "table inet lab_off {"
    " chain input { type filter hook input priority -20; policy drop; };"
    " chain output { type filter hook output priority -20; policy drop; }; }"
)


class DockerSubstrate:
    """Containers `<lab>-<node>` that playbooks/substrate/create.yml creates from the topology."""

    inventory = DOCKER_INVENTORY

    def __init__(self, paths: LabPaths) -> None:
        self._paths = paths

    @cached_property
    def client(self) -> docker.DockerClient:
        return engine.require()

    def topology(self) -> Topology:
        return state.current_topology(self._paths)

    def groups(self) -> dict[str, list[str]]:
        lab = self.topology()
        return {group: [node.name for node in lab.group(group)] for group in GROUPS}

    def url(self) -> str:
        return self.topology().url

    def console_password(self) -> str:
        return console_api.password(self._paths)

    def make(self, screen: Screen, counts: Mapping[str, int] | None = None) -> Made:
        """As Substrate.make; `counts`: the hosts of groups from now on, instead of those in lab.json."""
        declared = self._declared(screen) if counts is None else state.declared_topology(self._paths, counts)
        self.client = engine.ensure(self._paths, screen)
        info = self.client.info()
        in_a_vm = fitness.is_in_a_vm(info)
        if not in_a_vm:
            checks.inotify(len(declared.nodes), screen)
        present = self.containers()
        foreign = self._foreign(present)
        if foreign:
            raise UsageError(foreign)
        settled = network.settle(self._paths, declared, self.client)
        settled = settled if counts is None else replace(settled, counts=dict(counts))
        lab = declared.moved_to(settled.network, settled.published)
        for name in sorted(present.keys() - {node.name for node in lab.nodes}):
            how = "./lab down removes it with the lab"
            if name.startswith("worker-"):
                how = f"./lab scale workers={len(lab.group('workers'))} removes it"
            screen.note(f"{name} is not in {lab.source} any more; {how}")
        asleep = [node for node in lab.nodes if _state_word(present.get(node.name)) != "running"]
        missing = [node for node in lab.nodes if node.name not in present]
        as_wanted = not asleep and all(
            _matches(present[node.name], node, self._paths.name) for node in lab.nodes
        )
        if not as_wanted:
            cold = any(not bake.exists(self.client, keys.image(kind)) for kind in kinds(missing))
            checks.disk(self._paths, "" if in_a_vm else info["DockerRootDir"], cold=cold)
            limits = sum(node.memory_mb for node in asleep)
            checks.memory(limits, info["MemTotal"] // 2**20 if in_a_vm else None)
            checks.ports([(node.name, port.host) for node in asleep for port in node.publish])
        if settled != state.read(self._paths):
            state.write(self._paths, settled)
        self._measure(screen)
        if as_wanted:
            return Made(0, len(lab.nodes))
        bake.ensure(self._paths, declared, kinds(missing), self.client, screen)
        with screen.step("make the nodes") as step:
            variables = {"lab_images": _images(lab, missing, present)}
            run = playbooks.run(self._paths, "substrate/create.yml", step, variables=variables)
            step.result = (
                f"{len(lab.nodes)} nodes, {len(missing)} new, {len(asleep) - len(missing)} restarted"
            )
        return Made(run.changed, len(lab.nodes))

    def _declared(self, screen: Screen) -> Topology:
        """The topology of LAB_TOPOLOGY, else the one that the lab was created from."""
        chosen = declaration.chosen()
        declared = declaration.load(chosen) if chosen else state.declared_topology(self._paths)
        known = state.read(self._paths)
        before = known.topology if known else ""
        if before and before != declared.source:
            screen.note(f"topology {declared.source} from now on, by LAB_TOPOLOGY; it was {before}")
            return declared
        if declared.source != declaration.DEFAULT:
            screen.note(f"topology {declared.source}")
        if known and known.counts:
            counts = ", ".join(f"{group}={count}" for group, count in known.counts.items())
            screen.note(f"{counts}, by ./lab scale")
            return declaration.load(chosen, known.counts) if chosen else declared
        return declared

    def is_installed(self) -> bool:
        known, present = state.read(self._paths), self.containers()
        recorded, records = known.nodes if known else {}, self._records(present)
        return all(
            node.name in present
            and (
                present[node.name].labels.get("warren.image") == keys.image(node.kind)
                or recorded.get(node.name) == records[node.name]
            )
            for node in self.topology().nodes
        )

    def unfinished(self) -> list[str]:
        """The nodes that no site.yml or scale.yml has finished since they were created."""
        known, records = state.read(self._paths), self._records(self.containers())
        recorded = known.nodes if known else {}
        return [
            node.name
            for node in self.topology().nodes
            if node.name not in records
            or node.name not in recorded
            or recorded[node.name].container != records[node.name].container
        ]

    def remove(self, nodes: Iterable[str]) -> None:
        """Shut these nodes down and delete them with their volumes, all at the same time."""
        present = self.containers()
        cleanup.remove(self._paths, self.client, [present[name] for name in nodes if name in present])

    def remember_installed(self) -> None:
        known, records = state.read(self._paths), self._records(self.containers())
        if known is None:
            raise LabError(f"{self._paths.lab_file} vanished during this command; run ./lab up again.")
        if records != known.nodes:
            state.write(self._paths, replace(known, nodes=records))

    def _records(self, present: dict[str, Container]) -> dict[str, state.NodeRecord]:
        return {
            node.name: state.NodeRecord(str(present[node.name].id), keys.key(node.kind))
            for node in self.topology().nodes
            if node.name in present
        }

    def states(self) -> dict[str, str]:
        present = self.containers()
        return {node.name: _state_word(present.get(node.name)) for node in self.topology().nodes}

    def shell(self, node: str, command: list[str], *, terminal: bool = False) -> list[str]:
        name = self.topology().node(node).name
        options = ["-i", "-t"] if terminal else ["-i"]
        return ["docker", "exec", *options, f"{self._paths.name}-{name}", *(command or ["bash", "-l"])]

    def power_off(self, node: str) -> None:
        container = self._container(node)
        # A process that ends closes its connections; a host without power does not.
        done = container.exec_run(["nft", _SILENCE])
        if done.exit_code != 0:
            raise LabError(f"{node} cannot be powered off, as nft failed: {done.output!r}")
        container.kill()

    def power_on(self, node: str) -> None:
        self._container(node).start()

    def patience(self) -> float:
        return float(speed.remembered(self._paths.state))

    def _measure(self, screen: Screen) -> None:
        times = speed.measured(self._paths.state)
        if times > 1:
            screen.note(speed.sentence(times))

    def _container(self, node: str) -> Container:
        name = self.topology().node(node).name
        found = self.containers().get(name)
        if found is None:
            raise LabError(f"{name} is missing; ./lab up creates it again.")
        return found

    def containers(self) -> dict[str, Container]:
        """The lab's containers by node name, also those that are stopped."""
        listed = self.client.containers.list(
            all=True, filters={"label": f"warren.lab={self._paths.name}"}, ignore_removed=True
        )
        prefix = f"{self._paths.name}-"
        return {str(item.name).removeprefix(prefix): item for item in listed}

    def foreign(self) -> str:
        """Why this checkout cannot use the nodes of this name: it lacks their secrets. "" when it can."""
        with suppress(engine.EngineDownError):
            return self._foreign(self.containers())
        return ""

    def owner(self) -> str:
        """The folder of another checkout that created the nodes, "" when none did."""
        return self._owner(self.containers())

    def _owner(self, present: dict[str, Container]) -> str:
        home = self._paths.state.resolve()
        owners = (container.labels.get("warren.state") for container in present.values())
        return next((owner for owner in owners if owner and Path(owner).resolve() != home), "")

    def _foreign(self, present: dict[str, Container]) -> str:
        owner = self._owner(present)
        if owner:
            return (
                f"The nodes of lab {self._paths.name} belong to another checkout, whose state is {owner}; use"
                " that one, choose another LAB_NAME, or remove them with ./lab down."
            )
        if present and state.read(self._paths) is None:
            return (
                f"Nodes of lab {self._paths.name} exist, but {self._paths.state} with their secrets does not;"
                " remove them with ./lab down, then run ./lab up."
            )
        return ""


def _images(lab: Topology, missing: list[Node], present: dict[str, Container]) -> dict[str, str]:
    """Image of each kind: the one of the present roles where a node is missing, else that of its nodes."""
    wanted = kinds(missing)
    return {
        kind: keys.image(kind) if kind in wanted else present[lab.first(kind).name].labels["warren.image"]
        for kind in lab.kinds
    }


def _state_word(container: Container | None) -> str:
    if container is None:
        return "missing"
    return "running" if container.status == "running" else "stopped"


def _matches(container: Container, node: Node, network_name: str) -> bool:
    """True when memory, address and published ports of the container are those of the node."""
    host = container.attrs["HostConfig"]
    networks = container.attrs["NetworkSettings"]["Networks"]
    ipam = (networks.get(network_name) or {}).get("IPAMConfig") or {}
    wanted = {f"{port.node}/tcp": [("127.0.0.1", str(port.host))] for port in node.publish}
    bound = {
        port: [(binding["HostIp"], binding["HostPort"]) for binding in bindings or []]
        for port, bindings in (host["PortBindings"] or {}).items()
    }
    return (
        host["Memory"] == node.memory_mb * 1024 * 1024
        and ipam.get("IPv4Address") == node.address
        and bound == wanted
    )
