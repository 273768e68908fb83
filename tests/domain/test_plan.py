"""A plan: where each component's container comes from, and what is done because of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backstay.domain.deployment import DeploymentKind
from backstay.domain.environment import Bind, DatabaseSource, Environment
from backstay.domain.plan import Origin, Plan, deploy_origins, rollback_origins, wants_backup
from backstay.domain.policy import BUILT_IN, BackupRule, Level
from backstay.domain.release import Component, Release, Route
from backstay.domain.slot import Placement, Slot, SlotMapping, Slots

NAMES = ("backend", "frontend")
MIGRATE = ("manage", "migrate")


def release(backend: str = "v1", frontend: str = "v1") -> Release:
    """A release with these versions; the backend migrates."""
    parts = {
        name: Component(name, f"reg/{name}", version, f"sha256:{version}", 80)
        for name, version in zip(NAMES, (backend, frontend), strict=True)
    }
    parts["backend"] = replace(parts["backend"], migrate=MIGRATE)
    return Release("shop", backend, {}, ()).with_components(parts)


def standing(what: Release, *names: str) -> SlotMapping:
    placements = {
        name: Placement(name, f"{name}-{what.components[name].version}", name, 20000, "v")
        for name in names or NAMES
    }
    return SlotMapping(what.id, what.version, placements, "d1", "2026-03-01T12:00:00.000Z")


def slots(live: SlotMapping | None, standby: SlotMapping | None = None) -> Slots:
    """Blue is live; what is given stands in the slots."""
    have = {Slot.BLUE: live, Slot.GREEN: standby}
    return Slots(Slot.BLUE if live else None, {s: m for s, m in have.items() if m is not None})


def plan(
    origins: dict[str, Origin], kind: DeploymentKind = DeploymentKind.DEPLOY, what: Release | None = None
) -> Plan:
    return Plan(kind, what or release(), None, origins, Slots())


NEW, LIVE, STANDBY = Origin.NEW, Origin.LIVE, Origin.STANDBY


def test_a_deploy_makes_everything_new() -> None:
    assert deploy_origins(release("v2", "v2"), (), slots(standing(release()))) == dict.fromkeys(NAMES, NEW)


def test_a_deploy_of_the_live_version_makes_everything_new_too() -> None:
    assert deploy_origins(release(), (), slots(standing(release()))) == dict.fromkeys(NAMES, NEW)


def test_a_deploy_of_one_component_shares_the_rest() -> None:
    mixed = release("v2", "v1")
    assert deploy_origins(mixed, ("backend",), slots(standing(release()))) == {
        "backend": NEW,
        "frontend": LIVE,
    }


def test_a_component_that_does_not_stand_live_is_made_whatever_was_asked_for() -> None:
    lacking = slots(standing(release(), "backend"))
    assert deploy_origins(release("v2", "v1"), ("backend",), lacking)["frontend"] is NEW
    assert deploy_origins(release(), ("backend",), slots(None)) == dict.fromkeys(NAMES, NEW)


V1, V2, MIXED = release("v1", "v1"), release("v2", "v2"), release("v1", "v2")


@pytest.mark.parametrize(
    ("to", "live", "standby", "origins"),
    [
        pytest.param(V1, V2, V1, (STANDBY, STANDBY), id="all of it stands by"),
        pytest.param(V1, V2, None, (NEW, NEW), id="nothing stands by"),
        pytest.param(V1, V2, release("v0", "v0"), (NEW, NEW), id="another release stands by"),
        pytest.param(MIXED, V2, V1, (STANDBY, LIVE), id="one component back"),
        pytest.param(MIXED, V2, None, (NEW, LIVE), id="one component back, cold"),
        pytest.param(V1, MIXED, V2, (LIVE, NEW), id="from a mix, the backend stays"),
        pytest.param(V1, MIXED, V1, (STANDBY, STANDBY), id="from a mix to the standby release"),
    ],
)
def test_origins_of_a_rollback(
    to: Release, live: Release, standby: Release | None, origins: tuple[Origin, Origin]
) -> None:
    stand = slots(standing(live), standing(standby) if standby else None)
    assert rollback_origins(to, live, standby, stand) == dict(zip(NAMES, origins, strict=True))


def test_a_standby_slot_without_the_container_gives_none() -> None:
    stand = slots(standing(V2), standing(V1, "frontend"))
    assert rollback_origins(MIXED, V2, V1, stand) == {"backend": NEW, "frontend": LIVE}


def test_a_container_that_is_gone_is_made_anew_and_the_others_are_taken() -> None:
    stand = slots(standing(V2), standing(V1))
    origins = rollback_origins(V1, V2, V1, stand, frozenset({"backend-v1"}))
    assert origins == {"backend": NEW, "frontend": STANDBY}
    assert not Plan(DeploymentKind.ROLLBACK, V1, V2, origins, stand).is_warm


def test_a_container_that_both_slots_shared_and_is_gone_is_in_neither() -> None:
    stand = slots(standing(MIXED), standing(V1))
    assert rollback_origins(V1, MIXED, V1, stand, frozenset({"backend-v1"}))["backend"] is NEW


def test_a_live_slot_without_the_container_gives_none() -> None:
    stand = slots(standing(V2, "backend"))
    assert rollback_origins(MIXED, V2, None, stand) == {"backend": NEW, "frontend": NEW}


@pytest.mark.parametrize(
    ("backend", "frontend", "warm", "new"),
    [
        (STANDBY, STANDBY, True, ()),
        (STANDBY, LIVE, False, ()),
        (NEW, STANDBY, False, ("backend",)),
        (NEW, NEW, False, NAMES),
    ],
)
def test_a_warm_plan_is_all_standby(
    backend: Origin, frontend: Origin, warm: bool, new: tuple[str, ...]
) -> None:
    stand = slots(standing(V2), standing(V1))
    made = replace(plan({"backend": backend, "frontend": frontend}, what=V1), before=stand)
    assert made.is_warm == warm
    assert made.new_components == new


def test_another_release_of_the_standby_containers_is_not_warm() -> None:
    """It has other routes, which the router learns by a new slot."""
    rerouted = replace(V1, routes=(Route("/shop/", "frontend"),))
    all_of_it = dict.fromkeys(NAMES, STANDBY)
    for stand in (slots(standing(V2), standing(V1)), slots(standing(V2))):
        assert not replace(plan(all_of_it, what=rerouted), before=stand).is_warm


@pytest.mark.parametrize("kind", DeploymentKind)
@pytest.mark.parametrize("origin", Origin)
def test_only_new_components_of_a_deploy_migrate(kind: DeploymentKind, origin: Origin) -> None:
    made = plan({"backend": origin, "frontend": NEW}, kind)
    migrates = kind is DeploymentKind.DEPLOY and origin is NEW
    assert made.migrating == (("backend",) if migrates else ())


@pytest.mark.parametrize("kind", DeploymentKind)
@pytest.mark.parametrize("rule", BackupRule)
@pytest.mark.parametrize("migrates", [True, False])
@pytest.mark.parametrize("has_database", [True, False])
def test_when_a_backup_is_made(
    kind: DeploymentKind, rule: BackupRule, migrates: bool, has_database: bool
) -> None:
    environment = Environment(
        "shop", "prod", "shop-prod", True, Bind("", 443), replace(BUILT_IN[Level.STRICT], backup=rule),
        (20000, 20999), "/backups", database=DatabaseSource("URL", "URL") if has_database else None,
    )  # fmt: skip
    made = plan({"backend": NEW if migrates else LIVE, "frontend": NEW}, kind)
    deploys = kind is DeploymentKind.DEPLOY
    expected = has_database and deploys and (rule is BackupRule.ALWAYS or migrates)
    assert wants_backup(made, environment) == expected


def test_the_target_is_the_slot_that_does_not_serve() -> None:
    assert replace(plan({}), before=slots(standing(V1))).target is Slot.GREEN
    assert plan({}).target is Slot.BLUE


@pytest.mark.parametrize(
    ("host", "shown", "loopback"),
    [
        ("", "*:80", False),
        ("127.0.0.1", "127.0.0.1:80", True),
        ("127.1.2.3", "127.1.2.3:80", True),
        ("localhost", "localhost:80", True),
        ("0.0.0.0", "0.0.0.0:80", False),
        ("10.0.0.1", "10.0.0.1:80", False),
    ],
)
def test_where_a_router_listens(host: str, shown: str, loopback: bool) -> None:
    assert str(Bind(host, 80)) == shown
    assert Bind(host, 80).is_loopback == loopback
