"""A plan as it is recorded beside its deployment, so that another process can go on with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from backstay import __version__
from backstay.domain.deployment import Deployment
from backstay.domain.plan import Origin, Plan, Restoration
from backstay.domain.recovery import FORMAT
from backstay.domain.slot import Placement, Slot, SlotMapping, Slots
from backstay.errors import StoreError
from backstay.ports.store import Reader

BEGUN = "begun"
"""Key of the uptime at which a deployment began: how long it took must not depend on a wall clock that is set."""


def as_record(plan: Plan, nonce: str, config: str, fingerprints: Mapping[str, str]) -> dict[str, Any]:
    """JSON of everything but the releases, which the store keeps by id. Secrets only as fingerprints.

    With the format of the journal and who writes it: a program that knows neither must not guess what to take back.
    """
    return {
        "origins": {name: origin.value for name, origin in plan.origins.items()},
        "before": _slots_as_json(plan.before),
        "nonce": nonce,
        "config": config,
        "secrets": dict(fingerprints),
        "maintenance": plan.maintenance,
        "unused": list(plan.unused),
        "restoration": asdict(plan.restoration) if plan.restoration else None,
        "format": FORMAT,
        "backstay": __version__,
    }


def from_record(deployment: Deployment, store: Reader) -> tuple[Plan, str]:
    """The plan and the nonce of a recorded deployment. StoreError when the record is incomplete."""
    record = store.snapshot(deployment.id)
    release = store.release(deployment.release) if deployment.release else None
    if record is None or release is None:
        raise StoreError(f"the record of deployment {deployment.id} is incomplete")
    restoration = record.get("restoration")
    try:
        plan = Plan(
            kind=deployment.kind,
            release=release,
            previous=store.release(deployment.previous) if deployment.previous else None,
            origins={name: Origin(value) for name, value in record["origins"].items()},
            before=_slots_from_json(record["before"]),
            maintenance=bool(record.get("maintenance")),
            unused=tuple(record.get("unused", ())),
            restoration=Restoration(**restoration) if restoration else None,
        )
        return plan, str(record["nonce"])
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise StoreError(
            f"the record of deployment {deployment.id} cannot be read: {error!r}",
            hint="use the Backstay that wrote it, or a newer one",
        ) from error


def _slots_as_json(slots: Slots) -> dict[str, Any]:
    return {
        "live": slots.live.value if slots.live else None,
        "mappings": {slot.value: asdict(mapping) for slot, mapping in slots.mappings.items()},
    }


def _slots_from_json(data: Mapping[str, Any]) -> Slots:
    mappings = {}
    for slot, value in data["mappings"].items():
        placements = {name: Placement(**p) for name, p in value["placements"].items()}
        mappings[Slot(slot)] = SlotMapping(**{**value, "placements": placements})
    return Slots(Slot(data["live"]) if data["live"] else None, mappings)
