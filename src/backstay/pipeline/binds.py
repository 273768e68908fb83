"""Where the router listens: where the deployment said that set it up last, and, until that one is proven and tidied up,
also where it listened before. So no failure leaves an address unserved at which people were served.

All of it follows from what was journaled before anything was done, so it is the same after a crash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backstay.domain.environment import Bind, Environment
from backstay.domain.recovery import has_settled
from backstay.domain.step import StepState
from backstay.errors import EngineError, RouterError
from backstay.ports.engine import Engine
from backstay.ports.store import Reader

if TYPE_CHECKING:  # `status`, which must be quick, has no run
    from backstay.pipeline.run import Run

ROUTER = "router"
"""The step that sets the router up, and finds the gateway."""

STANDS = frozenset({StepState.STARTED, StepState.DONE})
"""States of it in which the router may listen where that deployment said."""

GatewayOf = Callable[[Environment], str | None]
"""The gateway of the network of these settings; None when nobody knows it."""


@dataclass(frozen=True, slots=True)
class Binds:
    """`own` are where the router must listen; `earlier`, none of which is in `own`, where it listens besides, for as
    long as it may have to go back there."""

    own: tuple[Bind, ...]
    earlier: tuple[Bind, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        return names((*self.own, *self.earlier))

    def beside(self, others: Iterable[Bind]) -> Binds:
        """The same, and these besides."""
        known = self.names
        return Binds(self.own, (*self.earlier, *(bind for bind in others if bind.address not in known)))


def names(binds: Iterable[Bind]) -> frozenset[str]:
    """The addresses as text, by which they are compared."""
    return frozenset(bind.address for bind in binds)


def recorded_binds(
    store: Reader, app: str, environment: str, gateway_of: GatewayOf, *, but: str | None = None
) -> Binds | None:
    """Where the router is to listen by the records, those of the deployment `but` left out; None when no deployment
    has set it up."""
    found: Binds | None = None
    for settings, settled in _set_ups(store, app, environment, but):
        binds = settings.binds(gateway_of(settings))
        found = found.beside(binds) if found else Binds(binds)
        if settled:
            break
    return found


def _set_ups(
    store: Reader, app: str, environment: str, but: str | None
) -> Iterator[tuple[Environment, bool]]:
    """The settings of each deployment whose router step was not taken back, newest first, and whether it settled."""
    for deployment in reversed(store.history(app, environment)):
        settings = store.environment_of(deployment.id) if deployment.id != but else None
        journal = store.steps(deployment.id) if settings else []
        if settings and any(record.name == ROUTER and record.state in STANDS for record in journal):
            yield settings, has_settled(deployment.kind, journal)


def known_gateways(store: Reader, app: str, environment: str) -> GatewayOf:
    """Gateways as the last deployment on the same network found them; nobody is asked."""

    def known(settings: Environment) -> str | None:
        for deployment in reversed(store.history(app, environment)):
            recorded = store.environment_of(deployment.id)
            if recorded is None or recorded.network != settings.network:
                continue
            for record in store.steps(deployment.id):
                if record.name == ROUTER and (gateway := record.result.get("gateway")):
                    return str(gateway)
        return None

    return known


def expected_binds(store: Reader, engine: Engine | None, app: str, environment: str) -> frozenset[str]:
    """Where the router is to listen, with gateways as the engine has them now, or as they were found last; empty when
    nobody knows. Only looks."""
    known = known_gateways(store, app, environment)

    def asked(settings: Environment) -> str | None:
        if engine is None:
            return known(settings)
        try:
            return engine.network(settings.network, create=False, labels={}).gateway
        except EngineError:
            return known(settings)

    binds = recorded_binds(store, app, environment, asked)
    return binds.names if binds else frozenset()


def binds_before(run: Run) -> Binds | None:
    """Where the router listened before this deployment; None when there was none."""
    store, environment = run.world.store, run.environment
    known = known_gateways(store, environment.app, environment.name)
    return recorded_binds(store, environment.app, environment.name, known, but=run.id)


def listen(run: Run, binds: Binds) -> tuple[Bind, ...]:
    """Have the router run and listen there; returns where. An earlier address that nobody can have any more is told and
    left out: it must not keep the others from being served. Raises RouterError."""
    wanted = (*binds.own, *(bind for bind in binds.earlier if _can_be_had(run, bind)))
    run.world.router.ensure(wanted, run.nonce, run.token)
    return wanted


def _can_be_had(run: Run, bind: Bind) -> bool:
    try:
        run.world.router.refuse_taken((bind,))
    except RouterError as error:
        run.tell("bind_lost", f"{bind}, where the router listened before: {error.message}", step=ROUTER)
        return False
    return True
