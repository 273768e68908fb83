"""Every runbook, well and badly ended, as a story to die in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from backstay.domain.deployment import Wish
from backstay.domain.environment import Bind
from backstay.domain.policy import Trial
from backstay.domain.smoke import Answer
from backstay.domain.verdict import Traffic
from backstay.ports.engine import ContainerSpec
from tests.crash.town import URL, Mortal
from tests.pipeline.conftest import PUBLIC_PORT

Act = Callable[[Mortal], object]


def nothing(mortal: Mortal) -> None:
    """All is well."""


@dataclass(frozen=True)
class Scene:
    """What was before, what goes wrong meanwhile (also for whoever recovers), and the command in which it dies.

    `since` is the step in which the trouble begins: what comes before it is died in by other scenes already.
    `stuck` allows an end that needs a person: neither slot is good then. `broken`: what serves does not, at first.
    `forgets`: what stands by is not there, and the records may learn it.
    """

    name: str
    before: tuple[str, ...]
    act: Act
    trouble: Callable[[Mortal], None] = nothing
    since: str | None = None
    stuck: bool = False
    broken: bool = False
    forgets: bool = False


def _sick_newcomer(mortal: Mortal) -> None:
    """Whatever starts from now on is never healthy."""
    known = mortal.town.engine.next_port
    mortal.town.prober.answer = lambda port, path: Answer(503 if port > known and path != "/" else 200)


def _bad_newcomer(mortal: Mortal) -> None:
    """Whatever starts from now on is healthy, and answers everything else wrongly."""
    known = mortal.town.engine.next_port

    def answer(port: int, path: str) -> Answer:
        return Answer(500 if port > known and "health" not in path and path != "/" else 200)

    mortal.town.prober.answer = answer


def _bad_under_traffic(mortal: Mortal) -> None:
    target = mortal.slots.target
    mortal.town.router.traffic_of[target] = Traffic(requests=100, errors=20)


def _wrong_in_public(mortal: Mortal) -> None:
    """The public route always answers from the slot that serves now."""
    live = mortal.slots.live
    mortal.town.prober.slot = lambda: live.value if live else ""


def _router_finds_it_down(mortal: Mortal) -> None:
    mortal.town.router.sick.add(mortal.slots.target)


def _migration_fails(mortal: Mortal) -> None:
    mortal.town.engine.exit_codes["migrate"] = 3


def _migration_lasts(mortal: Mortal) -> None:
    """It ends by itself, three seconds after somebody began to wait for it."""
    engine, clock = mortal.town.engine, mortal.clock
    engine.lasting.add("migrate")

    def waited(container: str, seconds: float) -> None:
        clock.sleep(seconds)
        if clock.monotonic() % 3 < 1:
            engine.change(container, running=False, exit_code=0)

    engine.on_wait = waited


def _backup_fails(mortal: Mortal) -> None:
    mortal.town.database.fault = "pg_dump failed"


def _rehearsing(mortal: Mortal) -> None:
    """From now on every release is tried on a copy first."""
    mortal.town.policy = replace(mortal.town.policy, rehearsal=Trial.ALWAYS)


def _rehearsal_refuses(mortal: Mortal) -> None:
    _rehearsing(mortal)
    mortal.town.engine.exit_codes["-again-backend"] = 1


def _old_slot_dies(mortal: Mortal) -> None:
    """The slot that served is dead by the time anybody would go back to it."""
    serving = mortal.slots.serving
    old = {p.port for p in serving.placements.values()} if serving else set()
    mortal.town.prober.answer = lambda port, path: Answer(error="refused") if port in old else Answer(200)


def _old_slot_dies_and_new_is_bad(mortal: Mortal) -> None:
    _old_slot_dies(mortal)
    _bad_under_traffic(mortal)


def _after_a_reboot(mortal: Mortal) -> None:
    """Nothing runs, and nothing answers before it was started."""
    town = mortal.town
    town.router.stop()
    for id_ in list(town.engine.containers):
        town.engine.change(id_, running=False, exit_code=137)

    def answer(port: int, path: str) -> Answer:
        up = {c.port for c in town.engine.containers.values() if c.running}
        return Answer(200) if port in up or port == PUBLIC_PORT else Answer(error="refused")

    town.prober.answer = answer


def _led_elsewhere(mortal: Mortal) -> None:
    """Somebody moved the traffic by hand, the holder is gone, and a container was published anew."""
    town = mortal.town
    town.router.live = town.router.filed = mortal.slots.target
    town.router.kept = False
    standby = mortal.slots.standby
    assert standby is not None
    for placement in standby.placements.values():
        town.engine.change(placement.container, port=placement.port + 500)


def _left_over(mortal: Mortal) -> None:
    """What dead deployments left, beside what is nobody's business."""
    town = mortal.town
    labels = {
        "backstay.app": "shop",
        "backstay.environment": "dev",
        "backstay.deployment": "d1",
        "backstay.token": "1",
    }
    for name in ("shop-dev-backend-dead-migrate", "shop-dev-frontend-dead"):
        town.engine.run(ContainerSpec(name, "image", "net", labels, restarts=False))
    town.database.files[town.folder / "shop_dev_20261123_090000000.dump.partial"] = 0


def _writes_in_its_migration(mortal: Mortal) -> None:
    """v2's migration writes five rows that v1 cannot live with."""
    database, was = mortal.town.database, mortal.rows

    def began(name: str) -> None:
        if name.endswith("-migrate"):
            database.write(URL, 5)

    mortal.town.engine.began = began
    mortal.rows_of = {"v1": was, "v2": was + 5}


def _migrates_and(trouble: Callable[[Mortal], None]) -> Callable[[Mortal], None]:
    def both(mortal: Mortal) -> None:
        _writes_in_its_migration(mortal)
        trouble(mortal)

    return both


def _written_since(rows: int) -> Callable[[Mortal], None]:
    def write(mortal: Mortal) -> None:
        mortal.town.database.write(URL, rows)

    return write


def _written_since_and_sick(mortal: Mortal) -> None:
    _written_since(7)(mortal)
    _sick_newcomer(mortal)


def _restore(accept_loss: int) -> Act:
    """The backup that the first deployment made."""

    def act(mortal: Mortal) -> object:
        backup = mortal.store.history("shop", "dev")[0].backup
        assert backup is not None
        return mortal.restore(backup, accept_loss)

    return act


def _held(version: str) -> Act:
    return lambda mortal: mortal.deploy(version, maintenance=True)


def _moved_and(trouble: Callable[[Mortal], None] = nothing) -> Callable[[Mortal], None]:
    """From now on the router is to listen elsewhere."""

    def both(mortal: Mortal) -> None:
        mortal.town.bind = Bind("127.0.0.1", 9090)
        trouble(mortal)

    return both


def _wished(mortal: Mortal, wish: Wish, second: float) -> None:
    """Somebody asks for it that many seconds after the beginning."""
    at = mortal.clock.elapsed_s + second

    def tick(elapsed_s: float) -> None:
        last = mortal.last()
        if elapsed_s >= at and last is not None and not last.state.is_final:
            mortal.store.ask(last.id, wish)

    mortal.clock.on_tick = tick


def _deploy(version: str, *only: str) -> Act:
    return lambda mortal: mortal.deploy(version, *only)


def _standby_removed(mortal: Mortal) -> None:
    """Somebody removed a container of the standby slot, by hand."""
    standby = mortal.slots.standby
    assert standby is not None
    removed = standby.placements["backend"]
    del mortal.town.engine.containers[removed.container]
    refused = Answer(error="nothing listens there")
    mortal.town.prober.answer = lambda port, path: refused if port == removed.port else Answer(200)


SCENES = [
    Scene("the first deploy", (), _deploy("v1")),
    Scene("a first deploy that is never healthy", (), _deploy("v1"), _sick_newcomer, since="health"),
    Scene("the first deploy, bad under traffic", (), _deploy("v1"), _bad_under_traffic, since="bake"),
    Scene("the second deploy", ("v1",), _deploy("v2")),
    Scene("a deploy over two warm slots", ("v1", "v2"), _deploy("v3")),
    Scene("a deploy of one component", ("v1", "v2"), _deploy("v3", "backend")),
    Scene("a failed backup", ("v1",), _deploy("v2"), _backup_fails, since="backup"),
    Scene("a rehearsed deploy", ("v1",), _deploy("v2"), _rehearsing, since="rehearse"),
    Scene("a deploy that its rehearsal refuses", ("v1",), _deploy("v2"), _rehearsal_refuses, since="rehearse"),
    Scene("a failed migration", ("v1",), _deploy("v2"), _migration_fails, since="migrate"),
    Scene("a migration that takes its time", ("v1",), _deploy("v2"), _migration_lasts, since="migrate"),
    Scene("a deploy that is never healthy", ("v1", "v2"), _deploy("v3"), _sick_newcomer, since="health"),
    Scene("a deploy that fails its smoke test", ("v1", "v2"), _deploy("v3"), _bad_newcomer, since="smoke"),
    Scene("a deploy that the router finds down", ("v1", "v2"), _deploy("v3"), _router_finds_it_down, since="switch"),
    Scene("a deploy that is wrong in public", ("v1", "v2"), _deploy("v3"), _wrong_in_public, since="public-smoke"),
    Scene("a deploy that turns bad in its bake", ("v1", "v2"), _deploy("v3"), _bad_under_traffic, since="bake"),
    Scene("a deploy reversed by hand in its bake", ("v1", "v2"), _deploy("v3"),
          lambda mortal: _wished(mortal, Wish.ROLLBACK, 4), since="bake"),
    Scene("a deploy aborted in its bake", ("v1", "v2"), _deploy("v3"),
          lambda mortal: _wished(mortal, Wish.ABORT, 4), since="bake"),
    Scene("a deploy whose old slot dies", ("v1", "v2"), _deploy("v3"), _old_slot_dies, since="switch", stuck=True),
    Scene("a deploy with no good slot", ("v1", "v2"), _deploy("v3"), _old_slot_dies_and_new_is_bad, since="switch",
          stuck=True),
    Scene("a warm rollback", ("v1", "v2"), lambda mortal: mortal.rollback()),
    Scene("a warm rollback that is wrong in public", ("v1", "v2"), lambda mortal: mortal.rollback(),
          _wrong_in_public, since="public-smoke", stuck=True),
    Scene("a warm rollback from a slot that is dead", ("v1", "v2"), lambda mortal: mortal.rollback(), _old_slot_dies),
    Scene("a rollback whose standby somebody removed", ("v1", "v2"), lambda mortal: mortal.rollback(),
          _standby_removed, forgets=True),
    Scene("a cold rollback", ("v1", "v2", "v3"), lambda mortal: mortal.rollback(to="v1")),
    Scene("a cold rollback that is never healthy", ("v1", "v2", "v3"), lambda mortal: mortal.rollback(to="v1"),
          _sick_newcomer, since="health", stuck=True),
    Scene("recovery after a reboot", ("v1", "v2"), lambda mortal: mortal.recover(), _after_a_reboot, broken=True),
    Scene("recovery of a router led elsewhere", ("v1", "v2"), lambda mortal: mortal.recover(), _led_elsewhere,
          broken=True),
    Scene("recovery of what was left over", ("v1", "v2"), lambda mortal: mortal.recover(), _left_over),
    Scene("a deploy after a reboot", ("v1", "v2"), _deploy("v3"), _after_a_reboot, broken=True),
    Scene("a rollback after a reboot", ("v1", "v2"), lambda mortal: mortal.rollback(), _after_a_reboot, broken=True),
    Scene("a migration behind held requests", ("v1",), _held("v2"), _writes_in_its_migration, since="hold"),
    Scene("a migration behind held requests that fails", ("v1",), _held("v2"), _migrates_and(_migration_fails),
          since="copy"),
    Scene("a migration behind held requests, wrong in public", ("v1",), _held("v2"), _migrates_and(_wrong_in_public),
          since="public-smoke"),
    Scene("a migration behind held requests, bad in its bake", ("v1",), _held("v2"), _migrates_and(_bad_under_traffic),
          since="open", stuck=True),
    Scene("a restore", ("v1",), _restore(7), _written_since(7)),
    Scene("a restore that would lose too much", ("v1",), _restore(6), _written_since(7), since="restore"),
    Scene("a restore that is never healthy", ("v1", "v2"), _restore(7), _written_since_and_sick,
          since="health"),
    Scene("a deploy to another address", ("v1",), _deploy("v2"), _moved_and(), since="router"),
    Scene("a deploy to another address that is never healthy", ("v1",), _deploy("v2"), _moved_and(_sick_newcomer),
          since="router"),
    Scene("a deploy to another address that turns bad in its bake", ("v1", "v2"), _deploy("v3"),
          _moved_and(_bad_under_traffic), since="bake"),
    Scene("a deploy to another address with no good slot", ("v1",), _deploy("v2"),
          _moved_and(_old_slot_dies_and_new_is_bad), since="switch", stuck=True),
    Scene("a warm rollback to another address", ("v1", "v2"), lambda mortal: mortal.rollback(), _moved_and()),
    Scene("a rollback of one component", ("v1", "v2"), lambda mortal: mortal.rollback("backend", force=True)),
]  # fmt: skip


def mend(mortal: Mortal) -> None:
    """End all trouble, so that the next deployment can succeed."""
    town = mortal.town
    town.prober.answer = lambda port, path: Answer(200, took_s=0.01)
    town.prober.slot = lambda: town.router.live.value if town.router.live else ""
    town.router.traffic_of.clear()
    town.router.sick.clear()
    town.engine.exit_codes.clear()
    town.engine.lasting.clear()
    town.database.fault = None
    town.engine.began = lambda name: None
    mortal.rows_of = {}
    mortal.clock.on_tick = lambda elapsed_s: None
