"""Opening and sweeping scratch servers of all kinds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from backstay.adapters.scratch import binaries, container, given
from backstay.adapters.scratch.claim import Claim, Claimed, abandoned, held, let_be, take
from backstay.adapters.scratch.container import ContainerServer
from backstay.adapters.scratch.given import GivenServer
from backstay.adapters.scratch.local import LocalServer
from backstay.adapters.scratch.processes import end_all_in
from backstay.domain.scratch import Source, Where
from backstay.domain.secret import Secret
from backstay.errors import DatabaseError, EngineError
from backstay.ports.engine import Engine, Login
from backstay.ports.scratch import ScratchOrder, ScratchServer


def _nothing(name: str) -> Secret | None:
    return None


def _nobody() -> Login | None:
    return None


class OpenScratches:
    """Implements ports.scratch.Scratches. `root` is the folder of all scratch servers of this state folder.

    `secret` gives a secret by its name (for `url:`), `login` the one to the registry (for `container:`).
    """

    def __init__(
        self,
        root: Path,
        engine: Engine,
        secret: Callable[[str], Secret | None] = _nothing,
        login: Callable[[], Login | None] = _nobody,
    ) -> None:
        self._root = root
        self._engine = engine
        self._secret = secret
        self._login = login
        self._claims: dict[str, Claim] = {}

    def available(self, where: str, major: int) -> str:
        place = Where.parse(where)
        if place.source is Source.CONTAINER:
            return f"a container of {place.name}"
        if place.source is Source.URL:
            self._url(place.name)
            return f"the server of the secret {place.name}"
        binaries.identity()
        return str(binaries.find(major))

    def folder(self, order: ScratchOrder) -> Path:
        return self._claim(order).folder / "data"

    def give_up(self, order: ScratchOrder) -> None:
        claim = self._claims.pop(order.name, None)
        if claim is not None:
            self._clear(claim)

    def open(self, order: ScratchOrder) -> ScratchServer:
        claim = self._claim(order)
        try:
            server = self._started(order, claim)
        except EngineError as error:
            self.give_up(order)
            raise DatabaseError(f"no scratch server: {error.message}", hint=error.hint) from error
        except BaseException:
            self.give_up(order)
            raise
        del self._claims[order.name]
        return server

    def living(self, app: str, environment: str) -> frozenset[str]:
        mine = (app, environment)
        return frozenset(what.name for what in held(self._root) if (what.app, what.environment) == mine)

    def sweep(self, app: str, environment: str) -> list[str]:
        told = []
        for claim in abandoned(self._root):
            if (claim.what.app, claim.what.environment) != (app, environment):
                let_be(claim)
                continue
            try:
                self._clear(claim)
            except BaseException:
                let_be(claim)
                raise
            told.append(f"scratch server {claim.what.name}, whose owner died")
        return told

    def _started(self, order: ScratchOrder, claim: Claim) -> ScratchServer:
        where = Where.parse(order.where)
        if where.source is Source.CONTAINER:
            in_container = ContainerServer(order, claim, self._engine, self._image(where.name))
            in_container.start()
            return in_container
        if where.source is Source.URL:
            if order.data is not None:
                raise DatabaseError(
                    "a physical backup needs a server of its own, and database.scratch gives one that runs already",
                    hint="database.scratch: auto",
                )
            on_theirs = GivenServer(order, claim, self._url(where.name), self._gateway(order))
            on_theirs.start()
            return on_theirs
        local = LocalServer(order, claim, self._gateway(order))
        local.start(order.data)
        return local

    def _clear(self, claim: Claim) -> None:
        """Remove every trace of a claimed server, whether it ever came to be or not."""
        where = Where.parse(claim.what.where)
        if where.source is Source.URL:
            given.drop_all(self._url(where.name), given.prefix_of(claim.what.name))
        elif where.source is Source.CONTAINER:
            container.remove(self._engine, claim)
            return
        end_all_in(claim.folder)
        claim.give_back()

    def _claim(self, order: ScratchOrder) -> Claim:
        if order.name not in self._claims:
            what = Claimed(order.app, order.environment, order.name, order.where)
            self._claims[order.name] = take(self._root, what)
        return self._claims[order.name]

    def _gateway(self, order: ScratchOrder) -> str | None:
        return self._engine.network(order.network, False, {}).gateway if order.network else None

    def _url(self, name: str) -> Secret:
        found = self._secret(name)
        if found is None:
            raise DatabaseError(
                f"secret {name}, which database.scratch names, is not set", hint="set it in the secrets file"
            )
        return found

    def _image(self, image: str) -> str:
        """The image as the engine runs it: one of that name that is here already, else fetched."""
        try:
            self._engine.finds(image, "postgres")
            return image
        except EngineError:
            pass
        name, at, digest = image.partition("@")
        if not at:
            name, colon, version = image.rpartition(":")
            if not colon or "/" in version:
                name, version = image, "latest"
            digest = self._engine.digest(name, version, self._login())
        else:
            version = digest
        return self._engine.pull(name, version, digest, self._login())
