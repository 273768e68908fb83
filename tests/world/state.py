"""What is recorded about a world, so that another process can use, ask or remove it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.world.errors import WorldError

FORMAT = 1


@dataclass(frozen=True)
class Mark:
    """A process known by its id and start time, so that a reused id is never taken for ours."""

    pid: int
    started: int


@dataclass(frozen=True)
class NetworkPlan:
    """The bridge of the engine and the addresses that its containers may get."""

    bridge: str
    gateway: str
    subnet: str
    pool: str
    chain: str
    forwarding_was_on: bool


@dataclass(frozen=True)
class RegistryPlan:
    address: str
    user: str
    password: str


@dataclass(frozen=True)
class PostgresPlan:
    """How the database server is reached; containers use ``container_host``."""

    host: str
    gateway: str
    container_host: str
    port: int
    superuser: str
    password: str
    bin_dir: str
    os_user: str


@dataclass
class State:
    """One world. ``ready`` is set last; everything that was begun is recorded before it is begun."""

    world_id: str
    boot_id: str
    folder: str
    engine_socket: str
    base_image: str
    network: NetworkPlan
    registry: RegistryPlan
    postgres: PostgresPlan
    processes: dict[str, Mark] = field(default_factory=dict)
    ready: bool = False
    format: int = FORMAT

    @property
    def marker(self) -> str:
        """The name by which everything the engine starts can be found (environment and control group)."""
        return f"backstay-world-{self.world_id}"

    def save(self, path: Path) -> None:
        """Write whole or not at all, readable by the owner only."""
        fresh = path.with_suffix(".new")
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(asdict(self), stream, indent=2)
            stream.write("\n")
        fresh.replace(path)

    @classmethod
    def load(cls, path: Path) -> State | None:
        """The recorded world, or None when there is none; WorldError when the record cannot be read."""
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as broken:
            raise WorldError(f"{path} is damaged: {broken}") from broken
        if not isinstance(raw, dict) or raw.get("format") != FORMAT:
            raise WorldError(
                f"{path} was written by another version; remove that world with the version that made it"
            )
        raw["network"] = NetworkPlan(**raw["network"])
        raw["registry"] = RegistryPlan(**raw["registry"])
        raw["postgres"] = PostgresPlan(**raw["postgres"])
        raw["processes"] = {name: Mark(**mark) for name, mark in raw["processes"].items()}
        return cls(**raw)
