"""Opening and sweeping scratch servers of all kinds."""

from __future__ import annotations

from pathlib import Path

from backstay.adapters.scratch.claim import Claim, Claimed, abandoned, let_be, take
from backstay.adapters.scratch.local import LocalServer
from backstay.adapters.scratch.processes import end_all_in
from backstay.errors import DatabaseError
from backstay.ports.engine import Engine
from backstay.ports.scratch import ScratchOrder, ScratchServer

AUTO = "auto"


class OpenScratches:
    """Implements ports.scratch.Scratches. `root` is the folder of all scratch servers of this state folder."""

    def __init__(self, root: Path, engine: Engine) -> None:
        self._root = root
        self._engine = engine
        self._claims: dict[str, Claim] = {}

    def folder(self, order: ScratchOrder) -> Path:
        return self._claim(order).folder / "data"

    def give_up(self, order: ScratchOrder) -> None:
        claim = self._claims.pop(order.name, None)
        if claim is not None:
            end_all_in(claim.folder)
            claim.give_back()

    def open(self, order: ScratchOrder) -> ScratchServer:
        if order.where != AUTO:
            raise DatabaseError(
                f"scratch {order.where!r} is not supported yet", hint="database.scratch: auto"
            )
        self._claim(order)
        try:
            server = LocalServer(order, self._claims[order.name], self._gateway(order))
            server.start(order.data)
        except BaseException:
            self.give_up(order)
            raise
        del self._claims[order.name]
        return server

    def sweep(self, app: str, environment: str) -> list[str]:
        if not self._root.is_dir():
            return []
        told = []
        for claim in abandoned(self._root):
            if (claim.what.app, claim.what.environment) != (app, environment):
                let_be(claim)
                continue
            end_all_in(claim.folder)
            claim.give_back()
            told.append(f"scratch server {claim.what.name}, whose owner died")
        return told

    def _claim(self, order: ScratchOrder) -> Claim:
        if order.name not in self._claims:
            what = Claimed(order.app, order.environment, order.name, order.where)
            self._claims[order.name] = take(self._root, what)
        return self._claims[order.name]

    def _gateway(self, order: ScratchOrder) -> str | None:
        return self._engine.network(order.network, False, {}).gateway if order.network else None
