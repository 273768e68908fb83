"""Stories of a world that no longer is as recorded, and of what dead deployments left in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from backstay.domain.drift import Cure
from backstay.domain.slot import Slot
from backstay.domain.smoke import Answer
from backstay.errors import Locked
from backstay.pipeline.begin import Beginner
from backstay.pipeline.maintain import Order, find, maintain
from backstay.ports.engine import ContainerSpec
from tests.pipeline.conftest import OWNER, Town

BOTH_V2 = {"backend": "v2", "frontend": "v2"}
LABELS = {
    "backstay.app": "shop",
    "backstay.environment": "dev",
    "backstay.deployment": "d1",
    "backstay.token": "1",
}


@pytest.fixture
def warm(town: Town) -> Town:
    """v2 live in green, v1 warm in blue."""
    for version in ("v1", "v2"):
        assert town.deploy(version).exit_status == 0
    return town


def order(town: Town, *, only_if_seen: bool = False) -> Order:
    starting = Beginner(town.store, town.host, town.clock, lambda lease, deployment: None)
    return maintain(starting, "shop", "dev", lambda environment: town.world, only_if_seen=only_if_seen)


def told(town: Town) -> list[str]:
    serving = town.store.slots("shop", "dev").serving
    return [f"{e.kind}: {e.message}" for e in town.store.events(serving.deployment)] if serving else []


def leave(town: Town, name: str, **labels: str) -> None:
    town.engine.run(ContainerSpec(name, "image", "net", {**LABELS, **labels}, restarts=False))


def test_all_is_well_and_nothing_is_written(warm: Town) -> None:
    before = told(warm), warm.store.lease("shop", "dev")
    assert order(warm, only_if_seen=True) == Order()
    assert order(warm) == Order()
    assert (told(warm), warm.store.lease("shop", "dev")) == before


def test_stopped_containers_start_again_and_the_router_with_the_recorded_slot(warm: Town) -> None:
    warm.router.stop()
    for id_ in list(warm.engine.containers):
        warm.engine.change(id_, running=False, exit_code=137)
    healed = order(warm)
    assert {drift.cure for drift in healed.cured} == {Cure.START, Cure.ENSURE_ROUTER} and not healed.left
    assert all(container.running for container in warm.engine.containers.values())
    assert warm.router.live is Slot.GREEN and warm.serving == BOTH_V2
    assert any("drift_healed: router: not running" in line for line in told(warm))
    assert warm.store.lease("shop", "dev") is None


def test_a_container_that_its_engine_starts_again_is_left_to_it(warm: Town) -> None:
    live = warm.store.slots("shop", "dev").mappings[Slot.GREEN].placements["backend"].container
    warm.engine.change(live, running=False, restarting=True)
    assert order(warm) == Order()


def test_traffic_that_was_led_elsewhere_comes_back(warm: Town) -> None:
    warm.router.live = warm.router.filed = Slot.BLUE
    assert [d.cure for d in order(warm).cured] == [Cure.FLIP]
    assert warm.router.live is Slot.GREEN


def test_nobody_is_led_to_a_recorded_slot_that_is_dead(warm: Town) -> None:
    warm.router.live = warm.router.filed = Slot.BLUE
    live = {p.port for p in warm.store.slots("shop", "dev").mappings[Slot.GREEN].placements.values()}
    warm.prober.answer = lambda port, path: Answer(error="refused") if port in live else Answer(200)
    healed = order(warm)
    assert [d.what for d in healed.left] == ["weights"] and warm.router.live is Slot.BLUE
    [why] = healed.failed
    assert "does not answer" in why and f"cure_failed: {why}" in told(warm)


def test_a_container_published_on_another_port_is_read_anew(warm: Town) -> None:
    placement = warm.store.slots("shop", "dev").mappings[Slot.GREEN].placements["backend"]
    warm.engine.change(placement.container, port=31000)
    order(warm)
    assert warm.store.slots("shop", "dev").mappings[Slot.GREEN].placements["backend"].port == 31000
    upstreams = warm.router.loaded[Slot.GREEN].upstreams
    assert upstreams is not None and upstreams["backend"].port == 31000


def test_a_standby_that_is_gone_is_forgotten_and_a_rollback_starts_it_anew(warm: Town) -> None:
    for placement in warm.store.slots("shop", "dev").mappings[Slot.BLUE].placements.values():
        warm.engine.remove(placement.container)
    order(warm)
    assert warm.store.slots("shop", "dev").standby is None
    assert warm.rollback().exit_status == 0
    assert warm.serving == {"backend": "v1", "frontend": "v1"}


def test_a_live_container_that_is_gone_is_told_and_nothing_is_made_up(warm: Town) -> None:
    gone = warm.store.slots("shop", "dev").mappings[Slot.GREEN].placements["backend"].container
    warm.engine.remove(gone)
    healed = order(warm)
    assert [(d.found, d.cure) for d in healed.left] == [("gone", None)]
    assert warm.store.slots("shop", "dev").live is Slot.GREEN


def test_an_engine_that_does_not_answer_keeps_the_router_from_nothing(warm: Town) -> None:
    warm.router.stop()
    warm.engine.down = True
    healed = order(warm)
    assert [d.what for d in healed.left] == ["engine"] and [d.what for d in healed.cured] == ["router"]
    assert warm.router.running and warm.router.live is Slot.GREEN


def test_a_missing_secret_keeps_a_container_down_and_says_so(warm: Town) -> None:
    backend = warm.store.slots("shop", "dev").mappings[Slot.GREEN].placements["backend"]
    warm.engine.change(backend.container, running=False, exit_code=1)
    warm.secrets.values.pop("KEY")
    assert [d.cure for d in order(warm).left] == [Cure.START]
    assert any("secrets missing: KEY" in line for line in told(warm))


def test_what_dead_deployments_left_goes_and_what_is_nobodys_business_stays(warm: Town) -> None:
    mine = set(warm.engine.containers)
    leave(warm, "shop-dev-backend-d1-migrate", **{"backstay.role": "migrate"})
    leave(warm, "shop-dev-check-d1", **{"backstay.role": "check"})
    strangers = {
        "another-app": {"backstay.app": "blog"},
        "another-environment": {"backstay.environment": "uat"},
        "of-a-newer-owner": {"backstay.token": "99"},
    }
    for name, labels in strangers.items():
        leave(warm, name, **labels)
    warm.engine.run(ContainerSpec("no-labels", "image", "net", {}, restarts=False))
    partial = Path(warm.environment.backups) / "shop_dev_1.dump.partial"
    warm.database.files[partial] = warm.database.files[partial.with_name("other")] = 0
    removed = order(warm).removed
    assert removed == (
        "container shop-dev-backend-d1-migrate", "container shop-dev-check-d1",
        "unfinished backup shop_dev_1.dump.partial",
    )  # fmt: skip
    left = {c.name for c in warm.engine.containers.values() if c.id not in mine}
    assert left == {*strangers, "no-labels"}
    assert partial.with_name("other") in warm.database.files
    assert sum("orphan_removed" in line for line in told(warm)) == 3


def test_a_deployment_begins_by_clearing_away_and_a_sweeper_that_fails_stops_nothing(warm: Town) -> None:
    leave(warm, "shop-dev-backend-d1-migrate", **{"backstay.role": "migrate"})
    ended = warm.deploy("v3")
    story = warm.kinds(ended.id)
    assert ended.exit_status == 0 and story.index("orphan_removed") < story.index("image_pulled")

    def broken(folder: Path) -> list[str]:
        raise Locked("not now")

    warm.database.sweep = broken  # type: ignore[method-assign]
    ended = warm.deploy("v4")
    assert ended.exit_status == 0 and "sweep_failed" in warm.kinds(ended.id)


def test_a_deploy_puts_a_stopped_live_slot_up_first_so_that_going_back_leads_to_something(warm: Town) -> None:
    for placement in warm.store.slots("shop", "dev").mappings[Slot.GREEN].placements.values():
        warm.engine.change(placement.container, running=False, exit_code=137)
    known = warm.engine.next_port
    warm.prober.answer = lambda port, path: Answer(503 if port > known else 200)
    ended = warm.deploy("v3")
    assert ended.failed_step == "health" and warm.serving == BOTH_V2
    assert all(container.running for container in warm.engine.containers.values())


def test_a_rollback_to_a_stopped_standby_starts_it_first(warm: Town) -> None:
    blue = {p.container for p in warm.store.slots("shop", "dev").mappings[Slot.BLUE].placements.values()}
    for container in blue:
        warm.engine.change(container, running=False, exit_code=143)
    ports = {warm.engine.containers[id_].port for id_ in blue}

    def answer(port: int, path: str) -> Answer:
        up = {c.port for c in warm.engine.containers.values() if c.running}
        return Answer(error="refused") if port in ports - up else Answer(200)

    warm.prober.answer = answer
    assert warm.rollback().exit_status == 0
    assert warm.serving == {"backend": "v1", "frontend": "v1"}


def test_a_locked_environment_is_left_alone(warm: Town) -> None:
    warm.router.stop()
    warm.store.take_lease("shop", "dev", replace(OWNER, pid=7), "deploy v9", None)
    with pytest.raises(Locked):
        order(warm)
    assert not warm.router.running


def test_an_environment_that_never_was_has_nothing_to_maintain(town: Town) -> None:
    leave(town, "shop-dev-backend-of-lost-records")
    assert order(town) == Order() == find(town.store, "shop", "dev", lambda environment: town.world)
    assert len(town.engine.containers) == 1
