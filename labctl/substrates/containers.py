"""The Docker substrate: every node is a systemd container on this machine."""

from functools import cached_property

import docker
from docker.models.containers import Container

from labctl import console_api
from labctl.ansible import playbooks
from labctl.errors import LabError, UsageError
from labctl.images import bake, keys
from labctl.lab import state
from labctl.machine import checks, engine, network
from labctl.paths import DOCKER_INVENTORY, LabPaths
from labctl.screen import Screen
from labctl.substrates.base import Made
from labctl.topology import declaration
from labctl.topology.model import GROUPS, Node, Topology, kinds

_SILENCE = (
    "table inet lab_off {"
    " chain input { type filter hook input priority -20; policy drop; };"
    " chain output { type filter hook output priority -20; policy drop; }; }"
)


class DockerSubstrate:
    """Containers `<lab>-<node>` made by playbooks/substrate/create.yml from inventories/topology.yml."""

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

    def make(self, screen: Screen) -> Made:
        declared = self._declared(screen)
        self.client = engine.ensure(self._paths, screen)
        checks.inotify(len(declared.nodes), screen)
        present = self.containers()
        self._refuse_unknown(present)
        settled = network.settle(self._paths, declared, self.client)
        lab = declared.moved_to(settled.network, settled.published)
        self._mention_surplus(lab, present, screen)
        asleep = [node for node in lab.nodes if not _runs(present.get(node.name))]
        missing = [node for node in lab.nodes if node.name not in present]
        as_wanted = not asleep and all(
            _matches(present[node.name], node, self._paths.name) for node in lab.nodes
        )
        if not as_wanted:
            self._check_machine(asleep, missing)
        if settled != state.read(self._paths):
            state.write(self._paths, settled)
        if as_wanted:
            return Made(0, len(lab.nodes))
        bake.ensure(self._paths, declared, kinds(missing), self.client, screen)
        with screen.step("make the nodes") as step:
            run = playbooks.run(
                self._paths,
                "substrate/create.yml",
                step,
                variables={"lab_images": self._images(lab, missing, present)},
            )
            step.result = (
                f"{len(lab.nodes)} nodes, {len(missing)} new, {len(asleep) - len(missing)} restarted"
            )
        return Made(run.changed, len(lab.nodes))

    def _declared(self, screen: Screen) -> Topology:
        """The topology to follow: LAB_TOPOLOGY changes it, else it stays that of the lab's first day."""
        chosen = declaration.chosen()
        declared = declaration.load(chosen) if chosen else state.declared_topology(self._paths)
        known = state.read(self._paths)
        before = known.topology if known else ""
        if before and before != declared.source:
            screen.say(f"topology {declared.source} from now on, as LAB_TOPOLOGY says; it was {before}")
        elif declared.source != declaration.DEFAULT:
            screen.say(f"topology {declared.source}")
        return declared

    def is_installed(self) -> bool:
        lab, known, present = self.topology(), state.read(self._paths), self.containers()
        records = known.nodes if known else {}
        for node in lab.nodes:
            container = present.get(node.name)
            if container is None:
                return False
            record = state.NodeRecord(str(container.id), keys.key(node.kind))
            baked = container.labels.get("warren.image") == keys.image(node.kind)
            if not baked and records.get(node.name) != record:
                return False
        return True

    def remember_installed(self) -> None:
        known, present = state.read(self._paths), self.containers()
        if known is None:
            raise LabError(f"{self._paths.lab_file} vanished during this command; run ./lab up again.")
        nodes = {
            node.name: state.NodeRecord(str(present[node.name].id), keys.key(node.kind))
            for node in self.topology().nodes
            if node.name in present
        }
        if nodes != known.nodes:
            known.nodes = nodes
            state.write(self._paths, known)

    def states(self) -> dict[str, str]:
        present = self.containers()
        return {node.name: _state_word(present.get(node.name)) for node in self.topology().nodes}

    def shell(self, node: str, command: list[str], *, terminal: bool = False) -> list[str]:
        name = self.topology().node(node).name
        options = ["-i", "-t"] if terminal else ["-i"]
        return ["docker", "exec", *options, f"{self._paths.name}-{name}", *(command or ["bash", "-l"])]

    def power_off(self, node: str) -> None:
        container = self._container(node)
        # What ends says goodbye on its connections; a host without power does not.
        done = container.exec_run(["nft", _SILENCE])
        if done.exit_code != 0:
            raise LabError(f"{node} cannot be silenced: {done.output!r}")
        container.kill()

    def power_on(self, node: str) -> None:
        self._container(node).start()

    def patience(self) -> float:
        return 1.0

    def _container(self, node: str) -> Container:
        name = self.topology().node(node).name
        found = self.containers().get(name)
        if found is None:
            raise LabError(f"{name} is missing; ./lab up makes it again.")
        return found

    def containers(self) -> dict[str, Container]:
        """The lab's containers by node name, whatever their state."""
        listed = self.client.containers.list(
            all=True, filters={"label": f"warren.lab={self._paths.name}"}, ignore_removed=True
        )
        prefix = f"{self._paths.name}-"
        return {str(item.name).removeprefix(prefix): item for item in listed}

    def _refuse_unknown(self, present: dict[str, Container]) -> None:
        """Nodes keep the secrets that they were made with; with new ones they would lock everybody out."""
        home = str(self._paths.state)
        owner = next((o for c in present.values() if (o := c.labels.get("warren.state", home)) != home), None)
        if owner is not None:
            raise UsageError(
                f"The nodes of lab {self._paths.name} were made by another checkout, whose state is {owner};"
                " use that one, choose another LAB_NAME, or remove them with ./lab down."
            )
        if present and state.read(self._paths) is None:
            raise UsageError(
                f"Nodes of lab {self._paths.name} exist, but {home} is gone, and their secrets with it;"
                " remove them with ./lab down, then run ./lab up."
            )

    def _check_machine(self, asleep: list[Node], missing: list[Node]) -> None:
        cold = any(not bake.exists(self.client, keys.image(kind)) for kind in kinds(missing))
        checks.disk(self._paths, self.client.info()["DockerRootDir"], cold=cold)
        checks.memory(sum(node.memory_mb for node in asleep))
        checks.ports([(n.name, p.host) for n in asleep for p in n.publish], self._paths.name)

    def _images(self, lab: Topology, missing: list[Node], present: dict[str, Container]) -> dict[str, str]:
        """Image of each kind: the wanted one where a node is missing, else that of its nodes."""
        result: dict[str, str] = {}
        for kind in lab.kinds:
            if kind in kinds(missing):
                result[kind] = keys.image(kind)
            else:
                result[kind] = present[lab.first(kind).name].labels["warren.image"]
        return result

    def _mention_surplus(self, lab: Topology, present: dict[str, Container], screen: Screen) -> None:
        for name in sorted(set(present) - {node.name for node in lab.nodes}):
            screen.say(
                f"{name} exists, though {lab.source} does not have it; ./lab down removes it with the lab"
            )


def _runs(container: Container | None) -> bool:
    return container is not None and container.status == "running"


def _state_word(container: Container | None) -> str:
    if container is None:
        return "missing"
    return "running" if container.status == "running" else "stopped"


def _matches(container: Container, node: Node, network_name: str) -> bool:
    """True when the container is as the topology wants the node: memory, address, published ports."""
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
