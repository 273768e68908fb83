"""Make the world as the records say: containers that stopped, a router that is gone or leads elsewhere (law 10).

What to do is decided from what is seen alone, and doing it twice does no harm. So nothing of it is journaled: who dies
here leaves a world in which the next one sees what is still to be done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from backstay.domain.drift import Cure, Drift, SeenContainer, drifts
from backstay.domain.environment import Environment
from backstay.domain.slot import Placement, Slot, SlotMapping, Slots
from backstay.errors import BackstayError, EngineError, LeaseLost, StepFailed
from backstay.pipeline.binds import Binds, expected_binds, known_gateways, listen, recorded_binds
from backstay.pipeline.probe import first_sick
from backstay.pipeline.routes import routes_of
from backstay.pipeline.run import Run
from backstay.pipeline.seen import seen_container, seen_router
from backstay.pipeline.steps.start import spec_of
from backstay.ports.engine import Container, Engine

CURE_FAILED = "cure_failed"
POLL_S = 0.2
SHORT_S = 2.0
"""How long a slot that does not answer is asked again, when nothing in it was just started."""


@dataclass(frozen=True, slots=True)
class Healed:
    """What was cured, and what still differs."""

    cured: tuple[Drift, ...] = ()
    left: tuple[Drift, ...] = ()


def heal(run: Run, *, whole: bool = True) -> Healed:
    """Cure every drift that has a cure; tell each. Not `whole`, only what serves: the other slot is about to change.

    A cure that fails is told, and the drift stays. Raises LeaseLost.
    """
    before = look(run, whole=whole)
    if not any(drift.cure for drift in before):
        return Healed(left=tuple(before))
    started = _mend_containers(run, before)
    if any(drift.cure in _ROUTER_CURES for drift in before):
        _attempt(run, "the router", lambda: _mend_router(run))
    _await_live(run, started)
    left = look(run, whole=whole)
    cured = tuple(drift for drift in before if not _is_in(drift, left))
    for drift in cured:
        run.tell("drift_healed", f"{drift.what}: {drift.found}; {drift.cure or 'it came by itself'}")
    return Healed(cured, tuple(left))


def look(run: Run, *, whole: bool = True) -> list[Drift]:
    """Every difference between records and world; an engine that does not answer is one of them. Only looks."""
    slots = run.slots
    mappings = [m for slot, m in slots.mappings.items() if whole or slot is slots.live]
    containers, trouble = _see_containers(run.world.engine, mappings)
    environment, engine = run.environment, None if trouble else run.world.engine
    binds = expected_binds(run.world.store, engine, environment.app, environment.name)
    seen = seen_router(run.world.router.state())
    return trouble + drifts(slots, seen, containers, settled=whole, binds=binds)


def _see_containers(
    engine: Engine, mappings: Iterable[SlotMapping]
) -> tuple[dict[str, SeenContainer | None], list[Drift]]:
    """What the engine says of the containers of these slots; none of them, and a drift, when it does not answer."""
    ids = {p.container for m in mappings for p in m.placements.values()}
    try:
        found = {id_: engine.inspect(id_) for id_ in ids}
    except EngineError as error:
        return {}, [Drift("engine", "answers", error.message)]
    return {id_: seen_container(container) if container else None for id_, container in found.items()}, []


def revive(run: Run, mapping: SlotMapping) -> bool:
    """Start the containers of a slot that do not run, where the engine has them; whether any was started."""
    try:
        found = {p.component: run.world.engine.inspect(p.container) for p in mapping.placements.values()}
    except EngineError as error:
        run.tell("engine_silent", error.message)
        return False
    resting = [(name, c) for name, c in found.items() if c is not None and not c.running and not c.restarting]
    started = [_attempt(run, c.name, partial(_start, run, mapping, name, c)) for name, c in resting]
    return any(started)


def answers(run: Run, mapping: SlotMapping, within_s: float = 0.0) -> bool:
    """Whether every component of a slot answers its health path, asked again for `within_s` seconds."""
    release = run.world.store.release(mapping.release)
    if release is None:
        return False
    until = run.world.clock.monotonic() + within_s
    while first_sick(run.world.prober, mapping.placements, release.components) is not None:
        if run.world.clock.monotonic() >= until:
            return False
        run.world.clock.sleep(POLL_S)
    return True


def patience_s(run: Run, mapping: SlotMapping, *, started: bool) -> float:
    """How long a slot may take to answer: what its release allows a new container, if one has just been started."""
    release = run.world.store.release(mapping.release)
    if not started or release is None:
        return SHORT_S
    return max((c.health.deadline_s for c in release.components.values()), default=SHORT_S)


# ---- inside

_ROUTER_CURES = frozenset(
    {Cure.ENSURE_ROUTER, Cure.LISTEN, Cure.LOAD_ROUTER, Cure.FLIP, Cure.READDRESS, Cure.FORGET}
)


def _mend_containers(run: Run, found: Sequence[Drift]) -> bool:
    """Whether a container was started."""
    started = False
    for drift in found:
        mapping = run.slots.mappings.get(drift.slot) if drift.slot else None
        placement = drift.placement
        if mapping is None or placement is None:
            continue
        if drift.cure is Cure.START:
            started |= _attempt(run, drift.what, partial(_start_placed, run, mapping, placement))
        elif drift.cure is Cure.READDRESS:
            _attempt(run, drift.what, partial(_readdress, run, drift))
        elif drift.cure is Cure.FORGET and drift.slot is not run.slots.live:
            run.save_slots(run.slots.emptied(drift.slot))  # type: ignore[arg-type]
    return started


def _start_placed(run: Run, mapping: SlotMapping, placement: Placement) -> None:
    container = run.world.engine.inspect(placement.container)
    if container is not None and not container.running:
        _start(run, mapping, placement.component, container)


def _start(run: Run, mapping: SlotMapping, component: str, container: Container) -> None:
    """Start a container again that the engine has, as it was made."""
    release = run.world.store.release(mapping.release)
    known = release.components.get(component) if release else None
    if known is None:
        raise StepFailed(f"the release of {container.name} is not on record")
    again = run.world.engine.run(spec_of(run, known, container.name, container.image, container.labels))
    run.tell("container_started", f"{again.name} was not running; it was started again")


def _readdress(run: Run, drift: Drift) -> None:
    """Record the port on which a container answers now."""
    assert drift.placement is not None
    port = int(drift.found)
    mappings: dict[Slot, SlotMapping] = {}
    for slot, mapping in run.slots.mappings.items():
        placements: Mapping[str, Placement] = {
            name: replace(p, port=port) if p.container == drift.placement.container else p
            for name, p in mapping.placements.items()
        }
        mappings[slot] = replace(mapping, placements=placements)
    run.save_slots(Slots(run.slots.live, mappings))


def _mend_router(run: Run) -> None:
    """Start it where it is missing, tell it what stands where, and send the traffic where the records say."""
    world, slots = run.world, run.slots
    state = world.router.state()
    listen(run, _binds(run))
    world.router.load(routes_of(run, slots), run.token)
    state = world.router.state()
    live, serving = slots.live, slots.serving
    if live is None or serving is None or state.weights.get(live, 0) == 100:
        return
    other = slots.standby
    if not answers(run, serving, SHORT_S) and other is not None and answers(run, other):
        raise StepFailed(f"{live} is recorded as live but does not answer; the traffic stays where it is")
    world.router.switch(live, run.token)


def _binds(run: Run) -> Binds:
    """Where the router is to listen: the one that set it up last says so, which need not be the one that serves. A
    network's gateway is as last known when the engine does not answer."""
    store, app, name = run.world.store, run.environment.app, run.environment.name
    known = known_gateways(store, app, name)

    def gateway_of(settings: Environment) -> str | None:
        try:
            network = run.world.engine.network(
                settings.network, create=settings.owns_network, labels=run.labels()
            )
        except EngineError:
            return known(settings)
        return network.gateway

    found = recorded_binds(store, app, name, gateway_of)
    return found or Binds(run.environment.binds(gateway_of(run.environment)))


def _await_live(run: Run, started: bool) -> None:
    """After a start, wait until what serves answers and the router has found it up."""
    live, serving = run.slots.live, run.slots.serving
    if live is None or serving is None:
        return
    within = patience_s(run, serving, started=started)
    if answers(run, serving, within):
        _attempt(run, "the router's own check", lambda: run.world.router.wait_up(live, SHORT_S + within))


def _attempt(run: Run, what: str, cure: Callable[[], object]) -> bool:
    """Try a cure; a failure is told. Whether it worked."""
    try:
        cure()
    except LeaseLost:
        raise
    except BackstayError as error:
        run.tell(CURE_FAILED, f"{what}: {error.message}")
        return False
    return True


def _is_in(drift: Drift, others: Sequence[Drift]) -> bool:
    return any((drift.what, drift.slot) == (other.what, other.slot) for other in others)
