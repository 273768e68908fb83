"""The test world as tests and the demonstration see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.world import engine, lifecycle, postgres, processes
from tests.world.commands import clean_environment, run, tool
from tests.world.errors import WorldError, WorldMissing
from tests.world.layout import Layout
from tests.world.postgres import DatabaseUrls
from tests.world.state import NetworkPlan, PostgresPlan, RegistryPlan, State


def _silent(_: str) -> None:
    return


@dataclass(frozen=True)
class World:
    """A running world: container engine, image registry with a password, PostgreSQL, and a base image."""

    layout: Layout
    state: State

    @classmethod
    def up(cls, say: Callable[[str], None] = _silent) -> World:
        """The world, started when it is not running; WorldError when it cannot be."""
        layout = Layout.chosen()
        return cls(layout, lifecycle.up(layout, say))

    @classmethod
    def current(cls) -> World:
        """The world that runs; WorldMissing, saying what is wrong, when none does."""
        layout = Layout.chosen()
        state = State.load(layout.state_file)
        if state is None:
            raise WorldMissing(f"no test world in {layout.folder}: start one with './dev world up'")
        found = lifecycle.problems(layout, state)
        if found:
            raise WorldMissing(f"the test world in {layout.folder} is broken: {'; '.join(found)}")
        return cls(layout, state)

    @staticmethod
    def down(say: Callable[[str], None] = _silent) -> bool:
        """Remove the world; False when there was none, WorldError when something of it is left."""
        return lifecycle.down(Layout.chosen(), say)

    @property
    def docker_host(self) -> str:
        """The engine's address in the form of DOCKER_HOST."""
        return f"unix://{self.state.engine_socket}"

    @property
    def registry(self) -> RegistryPlan:
        return self.state.registry

    @property
    def postgres(self) -> PostgresPlan:
        return self.state.postgres

    @property
    def network(self) -> NetworkPlan:
        """The engine's bridge; ``gateway`` is the host as containers see it."""
        return self.state.network

    @property
    def base_image(self) -> str:
        """An image with python3, venv, pip, CA certificates and nginx, present in the engine."""
        return self.state.base_image

    def env(self) -> dict[str, str]:
        """A whole environment for child processes in which docker leads to this engine and no other."""
        return clean_environment(engine.client_env(self.layout))

    def docker(self, *words: str, seconds: float = 120) -> str:
        """Run the docker client, signed in to the registry; stdout. WorldError when it fails."""
        return run([tool("docker"), *words], env=engine.client_env(self.layout), seconds=seconds)

    def create_database(self, name: str) -> DatabaseUrls:
        """A fresh database with a role of its own; one of that name that is there is dropped."""
        return postgres.create_database(self.state.postgres, name)

    def drop_database(self, name: str) -> None:
        """Drop it with its role, and the sessions that are open."""
        postgres.drop_database(self.state.postgres, name)

    def query(self, sql: str, database: str = "postgres") -> str:
        """Run SQL as the superuser; rows with columns parted by ``|``."""
        return postgres.query(self.state.postgres, sql, database)

    def restart_dockerd(self) -> None:
        """Kill the engine's daemon and start it again; running containers go on (live restore)."""
        processes.end({self.state.processes["dockerd"]}, grace=0)
        engine.forget_runtime_files(self.layout)
        mark = engine.start_dockerd(self.layout, self.state)
        self.state.processes["dockerd"] = mark
        self.state.save(self.layout.state_file)
        engine.await_dockerd(self.layout, mark)


__all__ = ["World", "WorldError", "WorldMissing"]
