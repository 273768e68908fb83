"""The Engine port over plain processes. Every call ends within its deadline, in a result or in an EngineError."""

from __future__ import annotations

import os
import platform
import secrets
import shutil
import time
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Final

import backstay
from backstay.adapters import loopback
from backstay.adapters.process.ending import end, kill
from backstay.adapters.process.launch import launch, order
from backstay.adapters.process.networks import Networks
from backstay.adapters.process.output import last_lines
from backstay.adapters.process.records import LOG, Record, Records, is_name
from backstay.adapters.process.release import Release, look_up, with_digest
from backstay.adapters.process.turn import own_turn
from backstay.errors import EngineError, RegistryError
from backstay.ports.engine import Container, ContainerSpec, EngineInfo, Login, Manifest, Network

START_S: Final = 20.0
_POLL_S: Final = 0.02
_KILLED: Final = 137
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


class ProcessEngine:
    """Plain processes of this host; what it knows of them lies in `folder`, which is made when first needed.

    An image is the folder of a release: `image` is its path with {version} in it. Nothing is ever restarted: a
    process that dies stays dead, and its health check fails.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._records = Records(folder / "processes")
        self._networks = Networks(folder / "networks")

    def info(self) -> EngineInfo:
        """Who we are; EngineError where this system cannot do what is needed."""
        if not Path("/proc/self/stat").exists():
            raise EngineError("the process engine needs /proc", hint="mount -t proc proc /proc")
        place = next(each for each in (self._folder, *self._folder.parents) if each.exists())
        if not os.access(place, os.W_OK | os.X_OK):
            raise EngineError(f"{place} cannot be written", hint="set BACKSTAY_HOME to a folder of yours")
        machine = platform.machine()
        shown = f"linux/{_ARCHITECTURES.get(machine, machine)}"
        return EngineInfo(backstay.__version__, "process", shown, time.time(), str(place))

    def digest(self, image: str, version: str, login: Login | None) -> str:
        """The hash of the folder that holds the release now."""
        return look_up(image, version).digest

    def manifest(self, image: str, version: str, login: Login | None) -> Manifest:
        """The hash of the folder; it runs where this host's programs run. A digest is looked for in all versions."""
        found = with_digest(image, version) if version.startswith("sha256:") else look_up(image, version)
        if found is None:
            raise RegistryError(f"no release folder {image} has the digest {version}")
        return Manifest(found.digest, (self.info().platform,))

    def sign_in(self, image: str, login: Login) -> None:
        """There is no registry, so there is nobody to refuse the login."""

    def missing_bytes(self, image: str, digest: str, login: Login | None) -> int | None:
        """Nothing is ever fetched."""
        return 0

    def held(self, image: str, digest: str) -> str | None:
        """The reference of the folder that has `digest` now; None when none has."""
        found = with_digest(image, digest)
        return None if found is None else found.reference

    def finds(self, reference: str, command: str) -> bool | None:
        """Whether the first word of a command is a program, on PATH or in the release's folder."""
        folder = Release.parse(reference).folder
        return shutil.which(folder / command if "/" in command else command) is not None

    def free_ports(self, port_range: tuple[int, int], wanted: int) -> int:
        """How many ports of the range are free for new processes; stops at `wanted`."""
        reserved = {record.port for record in self._records.all() if record.port is not None}
        return len(list(islice(loopback.free_ports(port_range, reserved), wanted)))

    def pull(self, image: str, version: str, digest: str, login: Login | None) -> str:
        """Make sure that the folder still is what was pinned; nothing is copied."""
        found = look_up(image, version)
        if found.digest != digest:
            raise RegistryError(
                f"the release folder {found.folder} has changed: it is {found.digest} now, but {digest} was pinned",
                hint="a release must not change once it was deployed; put its files back, or make a new version",
            )
        return found.reference

    def network(
        self, name: str, create: bool, labels: Mapping[str, str], *, internal: bool = False
    ) -> Network:
        """The host's own network under a name: there is no other, but who asks for one that is missing must hear it.
        So there is no internal one either, and the answer says so."""
        return self._networks.join(name, create, labels)

    def networks(self, labels: Mapping[str, str]) -> list[str]:
        """The names that were written down with all of `labels`; at least one label must be given."""
        if not labels:
            raise ValueError("networks() without labels would give every name")
        return self._networks.labelled(labels)

    def remove_network(self, name: str, labels: Mapping[str, str]) -> None:
        """Forget the name if it carries `labels`."""
        self._networks.remove(name, labels)

    def run(self, spec: ContainerSpec) -> Container:
        """Start the process. One with the same name and labels is adopted instead of started twice.

        A one-off (`restarts` False) that was ever started is returned as it is.
        """
        _refuse(spec)
        with own_turn(self._folder, START_S) as lock:
            known = self._records.find(spec.name)
            if known is not None and (adopted := self._adopt(spec, known)) is not None:
                return adopted
            record = known or self._reserve(spec)
            self._records.begin_again(record.name)
            try:
                launch(order(spec, record, self._records.of(record.name), lock), START_S)
            except EngineError:
                if known is None:
                    self.remove(record.name)
                raise
        return self._view(record)

    def inspect(self, container: str) -> Container | None:
        """The process by name or id (at least its first 12 digits), or None when there is none."""
        record = self._records.find(container)
        return None if record is None else self._view(record)

    def find(self, labels: Mapping[str, str]) -> list[Container]:
        """All processes, running or not, that carry all of `labels`; at least one label must be given."""
        if not labels:
            raise ValueError("find() without labels would give every process of the state folder")
        return [self._view(each) for each in self._records.all() if labels.items() <= each.labels.items()]

    def wait(self, container: str, deadline_s: float) -> int | None:
        """The exit code once the process ended, or None when `deadline_s` seconds went by."""
        until = time.monotonic() + deadline_s
        while True:
            found = self.inspect(container)
            if found is None:
                raise EngineError(f"process {container!r} is gone, so its exit code cannot be known")
            if found.exit_code is not None:
                return found.exit_code
            left = until - time.monotonic()
            if left <= 0:
                return None
            time.sleep(min(_POLL_S, left))

    def stop(self, container: str, grace_s: float) -> None:
        """Ask it to end, kill it after `grace_s`. Nothing happens when it is gone."""
        record = self._records.find(container)
        if record is not None:
            end(self._records, record, grace_s)

    def remove(self, container: str) -> None:
        """Remove it, running or not. Nothing happens when it is gone."""
        record = self._records.find(container)
        if record is None:
            return
        kill(self._records, record)
        self._records.remove(record.name)

    def logs(self, container: str, lines: int) -> list[str]:
        """Its last lines of output, unredacted: the caller must redact before showing them."""
        record = self._records.find(container)
        if record is None:
            raise EngineError(f"process {container!r} is gone, and its output with it")
        return last_lines(self._records.of(record.name) / LOG, lines)

    # ---- inside

    def _adopt(self, spec: ContainerSpec, known: Record) -> Container | None:
        """The process that an earlier attempt started; None when it is to be started (again)."""
        if dict(known.labels) != dict(spec.labels):
            raise EngineError(
                f"a process named {spec.name!r} exists and was not made for this deployment; it was left alone",
                hint=f"its files are in {self._records.of(spec.name)}",
            )
        found = self._view(known)
        was_started = self._records.state(known.name) is not None
        return found if found.running or (was_started and known.one_off) else None

    def _reserve(self, spec: ContainerSpec) -> Record:
        """Write down a new process, with a port that no other one of ours has. The lock must be held."""
        port = self._free_port(spec.port_range) if spec.published is not None else None
        record = Record(
            id=secrets.token_hex(32),
            name=spec.name,
            labels=dict(spec.labels),
            image=spec.image,
            port=port,
            one_off=not spec.restarts,
        )
        self._records.write(record)
        return record

    def _free_port(self, port_range: tuple[int, int]) -> int:
        taken = {record.port for record in self._records.all() if record.port is not None}
        found = next(loopback.free_ports(port_range, taken), None)
        if found is None:
            first, last = port_range
            raise EngineError(
                f"no free loopback port between {first} and {last}",
                hint="give the environment a wider range (ports), or end what listens there: ss -ltnp",
            )
        return found

    def _view(self, record: Record) -> Container:
        state, code = self._records.state(record.name), self._records.exit_code(record.name)
        running = state is not None and code is None and state.supervisor.is_alive
        if state is not None and code is None and not running:
            # It may have ended between our two looks; else its supervisor was killed, and the program with it.
            code = self._records.exit_code(record.name)
            code = _KILLED if code is None else code
        return Container(
            id=record.id,
            name=record.name,
            labels=record.labels,
            image=record.image,
            running=running,
            restarting=False,
            exit_code=code,
            restarts=0,
            port=record.port,
            started_at=state.started_at if state else "",
            can_restart=False,
        )


def _refuse(spec: ContainerSpec) -> None:
    """What plain processes cannot have is an error, never silently left out."""
    if not is_name(spec.name):
        raise EngineError(f"{spec.name!r} cannot be the name of a process")
    if not (*spec.entrypoint, *spec.command):
        raise EngineError(f"process {spec.name!r} has no command")
    if spec.volumes or spec.memory is not None:
        raise EngineError("the process engine has neither volumes nor memory limits")
    if not Release.parse(spec.image).folder.is_dir():
        raise EngineError(f"the release folder of {spec.name!r} is gone: {Release.parse(spec.image).folder}")
