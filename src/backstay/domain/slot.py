"""Slots: blue and green, each a full mapping from component to running container."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Slot(StrEnum):
    BLUE = "blue"
    GREEN = "green"

    @property
    def other(self) -> Slot:
        return Slot.GREEN if self is Slot.BLUE else Slot.BLUE


@dataclass(frozen=True, slots=True)
class Placement:
    """A container that runs a component: engine id, name and the fixed loopback port it is published on."""

    component: str
    container: str
    name: str
    port: int
    version: str
    host: str = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class SlotMapping:
    """What stands in a slot. Two slots may share a container. `release` is a release id, `since` RFC 3339 UTC."""

    release: str
    version: str
    placements: Mapping[str, Placement]
    deployment: str
    since: str

    @property
    def containers(self) -> frozenset[str]:
        return frozenset(p.container for p in self.placements.values())


@dataclass(frozen=True, slots=True)
class Slots:
    """The slots of one environment as the store records them: which is live, and what each holds."""

    live: Slot | None = None
    mappings: Mapping[Slot, SlotMapping] = field(default_factory=dict)

    @property
    def serving(self) -> SlotMapping | None:
        return self.mappings.get(self.live) if self.live else None

    @property
    def standby(self) -> SlotMapping | None:
        return self.mappings.get(self.live.other) if self.live else None

    @property
    def target(self) -> Slot:
        """Where the next release goes: the slot that does not serve; blue in a new environment."""
        return self.live.other if self.live else Slot.BLUE

    def entered(self, slot: Slot, mapping: SlotMapping) -> Slots:
        """With `mapping` standing in `slot`; nothing goes live by it."""
        return Slots(self.live, {**self.mappings, slot: mapping})

    def emptied(self, slot: Slot) -> Slots:
        """With nothing in `slot`; an emptied live slot serves no more."""
        rest = {s: m for s, m in self.mappings.items() if s is not slot}
        return Slots(None if slot is self.live else self.live, rest)

    def switched(self, to: Slot | None) -> Slots:
        """With `to` live."""
        return Slots(to, self.mappings)


def unreferenced(candidates: Iterable[str], slots: Slots) -> frozenset[str]:
    """Those of `candidates` (container ids) that neither slot refers to, and only those may be removed."""
    kept: frozenset[str] = frozenset().union(*(m.containers for m in slots.mappings.values()))
    return frozenset(candidates) - kept
