"""A container engine in memory, with a registry behind it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace

from backstay.errors import EngineError, RegistryError
from backstay.ports.engine import Container, ContainerSpec, EngineInfo, Login, Manifest, Network


class FakeEngine:
    """`exit_codes` maps a part of a container name to the code its one-off run ends with (0 otherwise);
    `missing` holds `image:version` the registry does not have; `down` makes every call fail.

    For checks: `time` is the engine's clock (None tells none), `root` its folder, `refuses` a reason to refuse the
    login, `platforms` what every image is built for, `layers` the bytes a pull fetches (None: unknown), `present`
    whether images are held, `commands` what the images have (None: their entry point decides), `ports` how many
    are free, `networks_missing` whether no network was made yet, `output` the lines every container wrote,
    `isolates` whether it makes internal networks; `made_networks` are those that were made, with their labels;
    `gateways` are those of networks by name, where it matters which.

    `lasting` holds parts of names of one-offs that do not end by themselves; `ran` the names of all that were started,
    in order. `began` is told who starts, `on_wait` who is waited for, and how long. `half_way` is called in the middle
    of every act, where the real one has done one thing and not yet the next.
    """

    def __init__(self) -> None:
        self.containers: dict[str, Container] = {}
        self.specs: dict[str, ContainerSpec] = {}
        self.exit_codes: dict[str, int] = {}
        self.missing: set[str] = set()
        self.down = False
        self.removed: list[str] = []
        self.next_port = 20000
        self.time: float | None = None
        self.root = ""
        self.refuses: str | None = None
        self.platforms: tuple[str, ...] = ("linux/amd64",)
        self.layers: int | None = 0
        self.present = False
        self.commands: set[str] | None = None
        self.ports = 1000
        self.networks_missing = False
        self.output = ["last words"]
        self.made_networks: dict[str, dict[str, str]] = {}
        self.gateways: dict[str, str] = {}
        self.isolates = True
        self.lasting: set[str] = set()
        self.ran: list[str] = []
        self.began: Callable[[str], None] = lambda name: None
        self.on_wait: Callable[[str, float], None] = lambda container, deadline_s: None
        self.half_way: Callable[[str], None] = lambda what: None

    def info(self) -> EngineInfo:
        self._answer()
        return EngineInfo("20.10", "1.41", "linux/amd64", self.time, self.root)

    def digest(self, image: str, version: str, login: Login | None) -> str:
        self._answer()
        if f"{image}:{version}" in self.missing:
            raise RegistryError(f"the registry has no {image}:{version}")
        return "sha256:" + hashlib.sha256(f"{image}:{version}".encode()).hexdigest()

    def manifest(self, image: str, version: str, login: Login | None) -> Manifest:
        if version.startswith("sha256:"):
            self._answer()
            if f"{image}@{version}" in self.missing:
                raise RegistryError(f"the registry has no {image}@{version}")
            return Manifest(version, self.platforms)
        return Manifest(self.digest(image, version, login), self.platforms)

    def sign_in(self, image: str, login: Login) -> None:
        self._answer()
        if self.refuses is not None:
            raise RegistryError(self.refuses)

    def missing_bytes(self, image: str, digest: str, login: Login | None) -> int | None:
        self._answer()
        return 0 if self.present else self.layers

    def held(self, image: str, digest: str) -> str | None:
        self._answer()
        return self.pull(image, "", digest, None) if self.present else None

    def finds(self, reference: str, command: str) -> bool | None:
        self._answer()
        return None if self.commands is None else command in self.commands

    def free_ports(self, port_range: tuple[int, int], wanted: int) -> int:
        self._answer()
        return min(self.ports, wanted)

    def pull(self, image: str, version: str, digest: str, login: Login | None) -> str:
        self._answer()
        return f"backstay/{image.rpartition('/')[2]}:{digest[7:31]}"

    def network(
        self, name: str, create: bool, labels: Mapping[str, str], *, internal: bool = False
    ) -> Network:
        self._answer()
        if self.networks_missing and not create:
            raise EngineError(f"the engine has no network {name!r}")
        if create:
            self.made_networks.setdefault(name, dict(labels))
        return Network(name, self.gateways.get(name, "172.30.0.1"), internal and self.isolates)

    def networks(self, labels: Mapping[str, str]) -> list[str]:
        self._answer()
        return [name for name, found in self.made_networks.items() if labels.items() <= found.items()]

    def run(self, spec: ContainerSpec) -> Container:
        self._answer()
        existing = next((c for c in self.containers.values() if c.name == spec.name), None)
        if existing is not None and existing.labels != dict(spec.labels):
            raise EngineError(f"a container named {spec.name!r} exists and was not made for this deployment")
        if existing is None:
            self.next_port += 1
            id_ = hashlib.sha256(spec.name.encode()).hexdigest()
            existing = Container(
                id=id_,
                name=spec.name,
                labels=dict(spec.labels),
                image=spec.image,
                running=False,
                restarting=False,
                exit_code=None,
                restarts=0,
                port=self.next_port if spec.published else None,
                address="172.30.0.9",
            )
            self.containers[id_], self.specs[id_] = existing, spec
            self.half_way("engine.run, created")
        if not existing.running and (spec.restarts or existing.exit_code is None):
            self._begin(existing.id, spec)
        return self.containers[existing.id]

    def _begin(self, id_: str, spec: ContainerSpec) -> None:
        """Start it; a one-off has ended by then, unless it is to last."""
        self.ran.append(spec.name)
        self.began(spec.name)
        runs = spec.restarts or any(part in spec.name for part in self.lasting)
        code = next((c for part, c in self.exit_codes.items() if part in spec.name), 0)
        self.change(id_, running=runs, exit_code=None if runs else code)

    def inspect(self, container: str) -> Container | None:
        self._answer()
        return next((c for c in self.containers.values() if container in (c.id, c.name)), None)

    def find(self, labels: Mapping[str, str]) -> list[Container]:
        self._answer()
        return [c for c in self.containers.values() if labels.items() <= c.labels.items()]

    def wait(self, container: str, deadline_s: float) -> int | None:
        self._answer()
        self.on_wait(container, deadline_s)
        found = self.inspect(container)
        return found.exit_code if found else None

    def stop(self, container: str, grace_s: float) -> None:
        self._answer()
        if container in self.containers and self.containers[container].running:
            self.change(container, running=False, exit_code=0)

    def remove(self, container: str) -> None:
        self._answer()
        if self.containers.pop(container, None) is not None:
            self.removed.append(container)

    def logs(self, container: str, lines: int) -> list[str]:
        return self.output[-lines:]

    def remove_network(self, name: str, labels: Mapping[str, str]) -> None:
        self._answer()
        if labels.items() <= self.made_networks.get(name, {}).items():
            self.made_networks.pop(name, None)

    def change(self, container: str, **fields: object) -> None:
        """Make a container look different from now on."""
        self._answer()
        if container in self.containers:
            self.containers[container] = replace(self.containers[container], **fields)  # type: ignore[arg-type]

    def _answer(self) -> None:
        if self.down:
            raise EngineError("the engine does not answer")
