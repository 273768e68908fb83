"""Databases that a restore or a migration replaced: those that stand beside the live one, and whose time is over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from backstay.domain.deployment import DeploymentState
from backstay.domain.environment import Environment
from backstay.domain.restore import is_expired
from backstay.domain.secret import Secret
from backstay.errors import DatabaseError
from backstay.pipeline.redirect import database_of
from backstay.pipeline.times import parse_rfc3339
from backstay.ports.clock import Clock
from backstay.ports.cluster import Beside, Clusters
from backstay.ports.store import Reader

PRUNER: Final = "prune"
"""What our sessions on the server are called that belong to no deployment."""


class Ports(Protocol):
    """What it needs."""

    @property
    def store(self) -> Reader: ...
    @property
    def clusters(self) -> Clusters: ...
    @property
    def clock(self) -> Clock: ...


@dataclass(frozen=True, slots=True)
class Replaced:
    """A database beside the live one. `expired`: its time is over."""

    beside: Beside
    age_s: float
    expired: bool

    def as_document(self) -> dict[str, Any]:
        mark = self.beside.mark
        return {
            "name": self.beside.name,
            "role": mark.role.value,
            "deployment": mark.deployment,
            "since": mark.at,
            "bytes": self.beside.bytes,
            "age_s": round(self.age_s, 3),
            "expired": self.expired,
        }


def replaced(ports: Ports, environment: Environment, admin: Secret) -> list[Replaced]:
    """All of them, oldest first. Only looks. DatabaseError when the server does not answer."""
    found = ports.clusters.at(admin, PRUNER).beside(database_of(admin))
    keep_s = environment.policy.keep_replaced_s
    now = ports.clock.now()
    needed = _needed(ports.store, environment)
    rows = []
    for each in found:
        if (each.mark.app, each.mark.environment) != (environment.app, environment.name):
            continue
        age_s = (now - parse_rfc3339(each.mark.at)).total_seconds()
        under_way = each.mark.deployment in needed
        rows.append(Replaced(each, age_s, is_expired(each.mark, age_s, keep_s, is_under_way=under_way)))
    return rows


def _needed(store: Reader, environment: Environment) -> frozenset[str]:
    """Deployments that have not ended, and the last one if it needs a person: its copy may be all there is."""
    history = store.history(environment.app, environment.name)
    found = {row.id for row in history if not row.state.is_final}
    if history and history[-1].state is DeploymentState.NEEDS_ATTENTION:
        found.add(history[-1].id)
    return frozenset(found)


def prune_replaced(
    ports: Ports, environment: Environment, admin: Secret, tell: Callable[[str, str], None]
) -> list[Replaced]:
    """Drop those whose time is over; what was dropped. One that cannot be is told, and tried again next time."""
    cluster = ports.clusters.at(admin, PRUNER)
    gone = []
    for row in replaced(ports, environment, admin):
        if not row.expired:
            continue
        try:
            cluster.drop(row.beside.mark)
        except DatabaseError as error:
            tell("database_not_dropped", f"{row.beside.name} stays: {error.message}")
        else:
            tell(
                "database_dropped", f"{row.beside.name} dropped: it was replaced on {row.beside.mark.at[:10]}"
            )
            gone.append(row)
    return gone
