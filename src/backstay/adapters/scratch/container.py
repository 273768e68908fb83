"""A scratch server in a container of its own, from an image that has PostgreSQL: the official one, or one's own."""

from __future__ import annotations

import os
import secrets
import time
from importlib import resources
from pathlib import Path
from typing import Final

from backstay.adapters.scratch import sql
from backstay.adapters.scratch.claim import Claim
from backstay.adapters.scratch.locales import cure_in_image, missing_locale
from backstay.adapters.scratch.server import OwnServer
from backstay.adapters.scratch.settings import ACCESS, settings
from backstay.domain.secret import Secret
from backstay.errors import DatabaseError, EngineError
from backstay.ports.engine import Container, ContainerSpec, Engine
from backstay.ports.scratch import ScratchOrder

READY_S: Final = 120.0
RECOVERY_S: Final = 3600.0
PORT: Final = 5432
LABEL: Final = "backstay.scratch"
_BRIDGE: Final = "bridge"
_INSIDE: Final = "/scratch"
_LOG_LINES: Final = 20


class ContainerServer(OwnServer):
    """Implements ports.scratch.ScratchServer. On its order's network it is reached at its own address, by containers
    and by this host; without a network at a loopback port."""

    def __init__(self, order: ScratchOrder, claim: Claim, engine: Engine, image: str) -> None:
        super().__init__(order.major, Secret(secrets.token_hex(16)))
        self._order = order
        self._claim = claim
        self._engine = engine
        self._image = image
        self._container: Container | None = None

    def start(self) -> None:
        """Run it and return once it answers. DatabaseError with its last words when it does not."""
        folder = self._claim.folder
        data = self._order.data
        if data is not None and data != folder / "data":
            raise DatabaseError(f"{data} is not the folder that was given for this scratch server")
        if data is not None:
            _clean(data, recovers=bool(self._order.recovery))
        (folder / "settings.conf").write_text(
            settings(self.major, ["*"], f"{_INSIDE}/log", self._order.recovery)
        )
        (folder / "access.conf").write_text(ACCESS)
        try:
            self._container = self._engine.run(self._spec(folder))
            self._await(RECOVERY_S if data is not None else READY_S)
        except EngineError as error:
            raise DatabaseError(f"the scratch server: {error.message}", hint=error.hint) from error
        [(major,)] = sql.rows(self.url(), "SELECT current_setting('server_version_num')::int / 10000")
        if major != self.major:
            raise DatabaseError(
                f"image {self._image} has PostgreSQL {major}, but {self.major} is needed",
                hint=f"name an image of version {self.major} by database.scratch",
            )

    def address(self) -> tuple[str, int]:
        assert self._container is not None
        return (
            ("127.0.0.1", self._container.port) if self._container.port else (self._container.address, PORT)
        )

    def address_for_containers(self) -> tuple[str, int]:
        assert self._container is not None
        return self._container.address, PORT

    def cure(self, locale: str) -> str:
        return cure_in_image(locale)

    def cut_off(self, database: str, role: str | None = None) -> tuple[str, ...]:
        """On a network of the order it is that network which lets nothing out, or says that it does."""
        left = super().cut_off(database, role)
        return () if self._order.network else left

    def close(self) -> None:
        remove(self._engine, self._claim)

    def _spec(self, folder: Path) -> ContainerSpec:
        return ContainerSpec(
            name=f"backstay-scratch-{self._order.name}",
            image=self._image,
            network=self._order.network or _BRIDGE,
            labels={
                "backstay.app": self._order.app,
                "backstay.environment": self._order.environment,
                "backstay.role": "scratch",
                LABEL: self._order.name,
            },
            env={"MAJOR": str(self.major)},
            secrets={"PASSWORD": self._password},
            entrypoint=("sh", "-c"),
            command=(resources.files(__package__).joinpath("container.sh").read_text(),),
            volumes=(f"{folder}:{_INSIDE}",),
            published=None if self._order.network else PORT,
            restarts=False,
        )

    def _await(self, deadline_s: float) -> None:
        until = time.monotonic() + deadline_s
        while True:
            self._look()
            try:
                sql.rows(self.url(), "SELECT 1")
                return
            except DatabaseError as error:
                if time.monotonic() > until:
                    raise DatabaseError(
                        f"the scratch server did not answer within {deadline_s:g} s: {error.message}"
                    ) from error
            time.sleep(0.05)

    def _look(self) -> None:
        assert self._container is not None
        found = self._engine.inspect(self._container.id)
        if found is None:
            raise DatabaseError("the container of the scratch server is gone")
        self._container = found
        if not found.running:
            said = [line for line in self._engine.logs(found.id, _LOG_LINES) if line.strip()]
            locale = missing_locale("\n".join(said))
            needed = "database.scratch needs an image with PostgreSQL, such as container:postgres:15"
            raise DatabaseError(
                f"the scratch server in {self._image} ended: {' '.join(said[-2:]) or 'it said nothing'}",
                hint=self.cure(locale) if locale else needed,
            )


def _clean(data: Path, *, recovers: bool) -> None:
    """Nothing of the old server's settings counts on the new one."""
    for left in ("postmaster.pid", "standby.signal", "recovery.signal", "postgresql.auto.conf"):
        (data / left).unlink(missing_ok=True)
    if recovers:
        (data / "recovery.signal").touch(mode=0o600)


def remove(engine: Engine, claim: Claim) -> None:
    """Remove the container of a claim, with its folder. Files of the container's user are removed by a last one."""
    try:
        found = engine.find({LABEL: claim.what.name})
        for container in found:
            engine.remove(container.id)
        if found and os.geteuid() != 0:
            _empty(engine, claim, found[0].image)
    except EngineError as error:
        raise DatabaseError(f"the scratch server is left: {error.message}", hint=error.hint) from error
    claim.give_back()


def _empty(engine: Engine, claim: Claim, image: str) -> None:
    words = ContainerSpec(
        name=f"backstay-scratch-{claim.what.name}-empty",
        image=image,
        network=_BRIDGE,
        labels={LABEL: claim.what.name, "backstay.role": "scratch", "backstay.app": claim.what.app},
        entrypoint=("sh", "-c"),
        command=(f"rm -rf {_INSIDE}/*",),
        volumes=(f"{claim.folder}:{_INSIDE}",),
        restarts=False,
    )
    container = engine.run(words)
    engine.wait(container.id, READY_S)
    engine.remove(container.id)
