"""Stories of a worker that dies: another process brings its deployment to an end from the journal."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backstay import __version__
from backstay.domain.deployment import Deployment, DeploymentKind, DeploymentState, Wish
from backstay.domain.lease import Lease, Presence
from backstay.domain.plan import Plan
from backstay.domain.policy import Trial
from backstay.domain.recovery import FORMAT, MOST_TRIES
from backstay.domain.slot import Slot
from backstay.domain.smoke import Answer
from backstay.domain.step import StepState
from backstay.errors import BackstayError, LeaseLost, Locked, NeedsAttention, UsageError
from backstay.pipeline.begin import Beginner
from backstay.pipeline.deploy import STEPS, deploy
from backstay.pipeline.giveup import give_up
from backstay.pipeline.recover import recover
from backstay.pipeline.resolve import plan_deploy, plan_rollback
from backstay.pipeline.rollback import rollback
from backstay.pipeline.run import Run
from backstay.worker import perform
from tests.pipeline.conftest import OWNER, Town

ELSEWHERE = frozenset({"retire", "restore", "hold", "quiesce", "copy", "swap", "open"})
"""Steps that a plain deployment does not have, and the one after its proof."""


class Killed(BaseException):
    """Stands for kill -9: nothing of ours may catch it."""


def die_in(
    town: Town, step: str, after: bool, monkeypatch: pytest.MonkeyPatch, plan: Plan | None = None
) -> Run:
    """Deploy v2, or do what `plan` says, and die in `step`, before its effect or right after it."""
    plan = plan or deploying(town, "v2")
    if step == "rehearse":
        town.policy = replace(town.policy, rehearsal=Trial.ALWAYS)
    run, _ = town.begin(plan)
    cls = type(next(s for s in STEPS if s.name == step))
    do = cls.do

    def dying(self: object, run: Run) -> object:
        if after:
            do(self, run)  # type: ignore[arg-type]
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(cls, "do", dying)
        with pytest.raises(Killed):
            (deploy if plan.kind is DeploymentKind.DEPLOY else rollback)(run)
    return run


def deploying(town: Town, version: str) -> Plan:
    return plan_deploy(
        town.application, version, (), False, town.store, lambda i, v: town.engine.digest(i, v, None)
    )


def taken_over(town: Town, dead: Run) -> tuple[Run, Lease]:
    """The dead deployment as its recovery finds it, under a new lease."""
    held = town.store.lease("shop", "dev")
    lease = town.store.take_lease("shop", "dev", replace(OWNER, pid=2), "recover", dead.id, replaces=held)
    now = town.store.deployment(dead.id)
    assert now is not None
    return Run(now, dead.plan, dead.environment, lease.token, dead.nonce, town.world), lease


def recovered(town: Town, dead: Run) -> Deployment:
    """What `recover` makes of it."""
    again, lease = taken_over(town, dead)
    recover(again)
    town.store.release_lease(lease)
    ended = town.store.deployment(dead.id)
    assert ended is not None
    return ended


@pytest.mark.parametrize("after", [False, True], ids=["before its effect", "after its effect"])
@pytest.mark.parametrize("step", [s.name for s in STEPS if s.name not in ELSEWHERE])
def test_death_in_any_step_ends_with_the_old_version_and_nothing_left(
    town: Town, step: str, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    town.deploy("v1")
    containers = dict(town.engine.containers)
    dead = die_in(town, step, after, monkeypatch)
    ended = recovered(town, dead)
    assert ended.state in (DeploymentState.FAILED, DeploymentState.ROLLED_BACK)
    assert not ended.automatic
    assert town.router.live is Slot.BLUE
    assert town.serving == {"backend": "v1", "frontend": "v1"}
    assert town.engine.containers == containers
    assert town.deploy("v2").exit_status == 0


def test_death_after_the_proof_goes_forward(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    town.deploy("v1")
    dead = die_in(town, "retire", False, monkeypatch)
    assert recovered(town, dead).state is DeploymentState.SUCCEEDED
    assert town.serving == {"backend": "v2", "frontend": "v2"}


def test_a_recovery_that_dies_when_the_hold_has_ended_does_not_take_that_for_the_opening(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker died before it let people through to the new release; its recovery lets them through to the old one,
    and dies."""
    town.deploy("v1")
    dead = die_in(town, "open", False, monkeypatch, replace(deploying(town, "v2"), maintenance=True))
    release = town.router.release

    def dying(token: int) -> None:
        release(token)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(town.router, "release", dying)
        again, _ = taken_over(town, dead)
        with pytest.raises(Killed):
            recover(again)
    ended = recovered(town, dead)
    assert (ended.state, ended.exit_status) == (DeploymentState.ROLLED_BACK, 20)
    assert town.serving == {"backend": "v1", "frontend": "v1"} and town.router.held is None


def test_the_old_worker_can_do_nothing_more_once_it_was_taken_over(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    town.deploy("v1")
    dead = die_in(town, "health", True, monkeypatch)
    recovered(town, dead)
    with pytest.raises(LeaseLost):
        dead.tell("still_here", "I go on")
    with pytest.raises(LeaseLost):
        dead.save_slots(dead.slots.switched(Slot.GREEN))


def test_a_first_deploy_that_dies_leaves_nothing(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = die_in(town, "switch", True, monkeypatch)
    assert dead.plan.kind is DeploymentKind.DEPLOY
    recovered(town, dead)
    assert not town.engine.containers and town.serving == {}


def going_back(town: Town, to: str | None = None) -> Plan:
    """The plan of a rollback from v2 (or to an older one)."""
    for version in ("v1", "v2", "v3")[: 3 if to else 2]:
        assert town.deploy(version).exit_status == 0
    return plan_rollback("shop", "dev", "all", to, False, town.store)


def refuse(town: Town, *slots: Slot) -> None:
    """Whatever stands in these slots now is dead from now on."""
    mappings = town.store.slots("shop", "dev").mappings
    dead = {p.port for slot in slots for p in mappings[slot].placements.values()}
    town.prober.answer = lambda port, path: Answer(error="refused") if port in dead else Answer(200)


@pytest.mark.parametrize("to", [None, "v1"], ids=["warm", "cold"])
@pytest.mark.parametrize("step", ["switch", "public-smoke", "retire"])
def test_a_rollback_that_died_after_its_flip_is_finished(
    town: Town, step: str, to: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = die_in(town, step, True, monkeypatch, going_back(town, to))
    ended = recovered(town, dead)
    assert (ended.state, ended.exit_status) == (DeploymentState.SUCCEEDED, 0)
    assert town.serving == {"backend": "v1", "frontend": "v1"}
    assert len(town.engine.containers) == 4


def test_a_rollback_whose_target_died_meanwhile_goes_back_and_calls_a_person(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = die_in(town, "switch", True, monkeypatch, going_back(town))
    refuse(town, Slot.BLUE)
    ended = recovered(town, dead)
    assert (ended.state, ended.exit_status) == (DeploymentState.NEEDS_ATTENTION, 21)
    assert ended.reason and "does not answer" in ended.reason
    assert town.router.live is Slot.GREEN and town.serving["backend"] == "v2"


def test_a_rollback_that_somebody_stopped_is_not_finished(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = die_in(town, "switch", True, monkeypatch, going_back(town))
    town.store.ask(dead.id, Wish.ABORT)
    assert recovered(town, dead).state is DeploymentState.ABORTED
    assert town.serving["backend"] == "v2"


def test_a_deploy_whose_old_slot_is_dead_stays_and_the_records_say_so(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    town.deploy("v1")
    dead = die_in(town, "bake", False, monkeypatch)
    refuse(town, Slot.BLUE)
    ended = recovered(town, dead)
    assert (ended.state, ended.exit_status) == (DeploymentState.NEEDS_ATTENTION, 21)
    assert ended.hint and "backstay status dev" in ended.hint
    assert town.router.live is Slot.GREEN is town.store.slots("shop", "dev").live
    assert town.serving == {"backend": "v2", "frontend": "v2"}


def test_an_old_slot_that_only_stopped_is_started_and_gone_back_to(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a reboot of the host in the middle of a bake."""
    town.deploy("v1")
    dead = die_in(town, "bake", False, monkeypatch)
    town.router.stop()
    for id_ in list(town.engine.containers):
        town.engine.change(id_, running=False, exit_code=137)

    def answer(port: int, path: str) -> Answer:
        up = any(c.port == port and c.running for c in town.engine.containers.values())
        return Answer(200) if up else Answer(error="refused")

    town.prober.answer = answer
    assert recovered(town, dead).state is DeploymentState.ROLLED_BACK
    assert town.router.running and town.router.live is Slot.BLUE
    assert town.serving == {"backend": "v1", "frontend": "v1"}


def test_a_failed_release_stays_condemned_although_its_worker_died_while_it_went_back(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    town.deploy("v1")
    dead = die_in(town, "bake", False, monkeypatch)
    dead.world.store.step(dead.token, dead.id, "bake", StepState.FAILED, error="too many errors")
    ended = recovered(town, dead)
    assert (ended.state, ended.automatic) == (DeploymentState.ROLLED_BACK, True)
    assert ended.reason == "too many errors"


@pytest.mark.parametrize("step", ["retire", "snapshot"])
def test_a_tidying_that_failed_does_not_turn_a_finished_rollback_back(
    town: Town, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = die_in(town, "retire", False, monkeypatch, going_back(town))
    dead.world.store.step(dead.token, dead.id, step, StepState.FAILED, error="the engine does not answer")
    assert recovered(town, dead).state is DeploymentState.SUCCEEDED
    assert town.serving["backend"] == "v1"


def test_a_wish_that_comes_after_the_bake_costs_no_tidying(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("v1", "v2"):
        town.deploy(version)
    dead = die_in(town, "retire", False, monkeypatch, deploying(town, "v3"))
    town.store.ask(dead.id, Wish.ABORT)
    assert recovered(town, dead).state is DeploymentState.SUCCEEDED
    assert len(town.engine.containers) == 4


def test_a_recovery_that_dies_over_and_over_calls_a_person_and_moves_nothing(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    town.deploy("v1")
    dead = die_in(town, "bake", False, monkeypatch)
    flips = list(town.router.flips)
    with monkeypatch.context() as patched:
        patched.setattr("backstay.pipeline.recover.observe", _killing)
        for _ in range(MOST_TRIES):
            with pytest.raises(Killed):
                recover(taken_over(town, dead)[0])
    ended = recovered(town, dead)
    assert (ended.state, ended.exit_status) == (DeploymentState.NEEDS_ATTENTION, 21)
    assert ended.reason and f"tried {MOST_TRIES} times" in ended.reason
    assert town.router.flips == flips and town.serving["backend"] == "v2"
    assert town.deploy("v3").exit_status == 0


def _killing(*_: object) -> None:
    raise Killed


def test_a_router_that_cannot_be_had_moves_nobody(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    town.deploy("v1")
    dead = die_in(town, "bake", False, monkeypatch)
    town.router.stop()
    town.router.unusable = "haproxy is not installed"
    ended = recovered(town, dead)
    assert ended.exit_status == 21 and ended.reason and "router" in ended.reason
    assert len(town.engine.containers) == 4


@pytest.mark.parametrize(
    ("record", "step"),
    [({"format": FORMAT + 1, "backstay": "9.1"}, "check"), ({"backstay": "9.1"}, "teleport")],
)
def test_what_a_newer_backstay_left_is_refused_by_name_and_stays_as_it_is(
    town: Town, record: dict[str, object], step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    town.deploy("v1")
    dead = die_in(town, "health", False, monkeypatch)
    dead.world.store.step(dead.token, dead.id, step, StepState.DONE)
    known = town.store.snapshot(dead.id) or {}
    monkeypatch.setattr(town.store, "snapshot", lambda deployment: {**known, **record})
    journal, events = town.store.steps(dead.id), len(town.store.events(dead.id))
    town.host.presences[OWNER.pid] = Presence.GONE
    with pytest.raises(NeedsAttention, match=r"Backstay 9\.1") as refused:
        lonely(town).recover("shop", "dev", lambda deployment: None)
    assert refused.value.exit_status == 21 and refused.value.hint
    with pytest.raises(NeedsAttention):
        recover(taken_over(town, dead)[0])
    assert (town.store.steps(dead.id), len(town.store.events(dead.id))) == (journal, events)


def lonely(town: Town) -> Beginner:
    """One that must not start any worker."""
    return Beginner(
        town.store, town.host, town.clock, lambda lease, deployment: pytest.fail("a worker began")
    )


def test_a_journal_from_before_formats_is_recovered(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    town.deploy("v1")
    dead = die_in(town, "bake", False, monkeypatch)
    recorded = town.store.snapshot(dead.id) or {}
    assert recorded["format"] == FORMAT and recorded["backstay"] == __version__
    old = {key: value for key, value in recorded.items() if key not in ("format", "backstay")}
    monkeypatch.setattr(town.store, "snapshot", lambda deployment: old)
    assert recovered(town, dead).state is DeploymentState.ROLLED_BACK


def test_a_migration_that_still_runs_is_waited_for_and_not_killed(town: Town) -> None:
    town.deploy("v1")
    town.engine.lasting.add("migrate")
    waits: list[str] = []

    def wait(container: str, seconds: float) -> None:
        waits.append(container)
        if len(waits) == 1:
            raise Killed
        if len(waits) == 4:
            town.engine.change(container, running=False, exit_code=0)

    town.engine.on_wait = wait
    dead, _ = town.begin(deploying(town, "v2"))
    with pytest.raises(Killed):
        deploy(dead)
    assert recovered(town, dead).state is DeploymentState.FAILED
    told = [e.message for e in town.store.events(dead.id) if e.kind.startswith("migration_")]
    assert told == ["backend: its migration still runs", "backend: exit 0"]
    assert len(town.engine.containers) == 2
    assert town.engine.ran.count(f"shop-dev-backend-{dead.id}-migrate") == 1


def test_what_a_dead_worker_kept_after_its_end_is_freed(town: Town) -> None:
    """It had done everything but to release its lease."""
    town.deploy("v1")
    town.store.take_lease("shop", "dev", replace(OWNER, pid=7), "deploy v1", "d1")
    town.host.presences[7] = Presence.GONE
    assert lonely(town).recover("shop", "dev", lambda deployment: None) is None
    assert town.store.lease("shop", "dev") is None


def test_a_recovery_that_fails_leaves_the_deployment_to_the_next_one(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a recovery weighs where going back leads; a plain reversal in its place would not."""
    town.deploy("v1")
    dead = die_in(town, "bake", False, monkeypatch)
    again, lease = taken_over(town, dead)
    with monkeypatch.context() as patched:
        patched.setattr("backstay.pipeline.recover.decide", _broken)
        with pytest.raises(BackstayError, match="internal error"):
            perform(again, lease)
    now = town.store.deployment(dead.id)
    assert now is not None and not now.state.is_final
    assert town.router.live is Slot.GREEN
    assert recovered(town, dead).state is DeploymentState.ROLLED_BACK


def _broken(*_: object) -> None:
    raise ZeroDivisionError


def test_what_cannot_be_recovered_can_be_given_up_and_what_has_the_traffic_keeps_it(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    town.deploy("v1")
    dead = die_in(town, "switch", True, monkeypatch)
    town.store.save_slots(dead.token, "shop", "dev", town.store.slots("shop", "dev").switched(Slot.BLUE))
    with pytest.raises(Locked):
        give_up(lonely(town), "shop", "dev", lambda: town.router)
    town.host.presences[OWNER.pid] = Presence.GONE
    ended = give_up(lonely(town), "shop", "dev", lambda: town.router)
    assert (ended.state, ended.exit_status) == (DeploymentState.NEEDS_ATTENTION, 21)
    assert town.router.live is Slot.GREEN is town.store.slots("shop", "dev").live
    assert town.store.lease("shop", "dev") is None and len(town.engine.containers) == 4
    with pytest.raises(UsageError, match="nothing was left"):
        give_up(lonely(town), "shop", "dev", lambda: town.router)
    assert town.deploy("v3").exit_status == 0
