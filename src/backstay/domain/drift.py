"""Where the world differs from the records, and what would cure it. Pure (law 10)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from backstay.domain.slot import Placement, Slot, SlotMapping, Slots


class Cure(StrEnum):
    """What makes the world as it is recorded, or the records as the world is."""

    ENSURE_ROUTER = "the router is started again"
    LOAD_ROUTER = "the router is told the addresses again"
    LISTEN = "the router listens there again, and nowhere else"
    FLIP = "the traffic is sent there"
    START = "it is started again"
    READDRESS = "its new port is recorded, and the router told"
    FORGET = "the standby slot is emptied; a rollback starts its release anew"


@dataclass(frozen=True, slots=True)
class SeenRouter:
    """The router as it is. `kept`: somebody is there who would start it again; weights in percent. `binds`: where it
    listens, None when nobody tells."""

    running: bool
    kept: bool = True
    weights: Mapping[Slot, int] = field(default_factory=dict)
    recorded: Mapping[Slot, int] = field(default_factory=dict)
    addresses: Mapping[Slot, Mapping[str, str]] = field(default_factory=dict)
    up: Mapping[Slot, frozenset[str]] = field(default_factory=dict)
    held: str | None = None
    binds: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class SeenContainer:
    """A container as the engine sees it."""

    running: bool
    exit_code: int | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference. `expected` and `found` are for people; `cure` None: no command of ours mends it by itself.

    `placement` is the container it is about, if it is about one, and `slot` the slot.
    """

    what: str
    expected: Any
    found: Any
    cure: Cure | None = None
    slot: Slot | None = None
    placement: Placement | None = None


def drifts(
    slots: Slots,
    router: SeenRouter,
    containers: Mapping[str, SeenContainer | None],
    *,
    settled: bool = True,
    binds: frozenset[str] = frozenset(),
) -> list[Drift]:
    """Every difference, the most pressing first. `containers` has those that the engine was asked for and told of,
    None when it has none such; one that is absent is not judged. `binds`: where the router is to listen; not judged
    when empty.

    Not `settled`, a deployment is under way: then only the live slot is compared, for the other one, and where the
    router listens, is being changed.
    """
    if slots.live is None:
        return []
    found = [*_of_router(slots, router, settled=settled)]
    if settled and router.running:
        found += _of_binds(binds, router.binds)
    for slot in (slots.live, slots.live.other) if settled else (slots.live,):
        if mapping := slots.mappings.get(slot):
            found += _of_containers(slot, mapping, containers, is_live=slot is slots.live)
    return found


def _of_router(slots: Slots, seen: SeenRouter, *, settled: bool) -> Iterator[Drift]:
    live = slots.live
    assert live is not None
    if not seen.running:
        yield Drift("router", "running", "not running", Cure.ENSURE_ROUTER)
        return
    if settled and seen.held is not None:
        yield Drift("requests", "go through", f"held ({seen.held})")
    if not seen.kept:
        yield Drift("router", "kept running", "nobody would start it again", Cure.ENSURE_ROUTER)
    if seen.weights.get(live, 0) != 100:
        yield Drift("weights", f"{live} 100", _shares(seen.weights), Cure.FLIP, live)
    elif settled and seen.recorded and seen.recorded.get(live, 0) != 100:
        yield Drift(
            "weights after a restart", f"{live} 100", _shares(seen.recorded), Cure.ENSURE_ROUTER, live
        )
    for slot, mapping in slots.mappings.items():
        if slot is live or settled:
            yield from _of_addresses(slot, mapping, seen.addresses.get(slot, {}))
    down = sorted(set(slots.mappings[live].placements) - seen.up.get(live, frozenset()))
    if live in slots.mappings and down:
        yield Drift("router servers", "all up", f"down: {', '.join(down)}", None, live)


def _of_binds(wanted: frozenset[str], seen: frozenset[str] | None) -> Iterator[Drift]:
    if wanted and seen is not None and wanted != seen:
        yield Drift("router binds", ", ".join(sorted(wanted)), ", ".join(sorted(seen)) or "none", Cure.LISTEN)


def _of_addresses(slot: Slot, mapping: SlotMapping, addresses: Mapping[str, str]) -> Iterator[Drift]:
    wanted = {name: f"{p.host}:{p.port}" for name, p in mapping.placements.items()}
    wrong = {name: addresses.get(name) for name, address in wanted.items() if addresses.get(name) != address}
    if wrong:
        expected = {name: wanted[name] for name in wrong}
        yield Drift(f"router addresses of {slot}", expected, wrong, Cure.LOAD_ROUTER, slot)


def _of_containers(
    slot: Slot, mapping: SlotMapping, containers: Mapping[str, SeenContainer | None], *, is_live: bool
) -> Iterator[Drift]:
    for name, placement in mapping.placements.items():
        if placement.container not in containers:
            continue
        seen = containers[placement.container]
        what = f"container {placement.name}"
        if seen is None:
            cure = None if is_live else Cure.FORGET
            yield Drift(what, "running", "gone", cure, slot, placement)
        elif not seen.running:
            how = "not running" if seen.exit_code is None else f"exited with {seen.exit_code}"
            yield Drift(what, "running", how, Cure.START, slot, placement)
        elif seen.port is not None and seen.port != placement.port:
            yield Drift(f"port of {name}", placement.port, seen.port, Cure.READDRESS, slot, placement)


def _shares(weights: Mapping[Slot, int]) -> dict[str, int]:
    return {slot.value: weights.get(slot, 0) for slot in Slot}
