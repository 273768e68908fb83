"""Stories of a worker that dies: another process brings its deployment to an end from the journal."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backstay.domain.deployment import Deployment, DeploymentKind, DeploymentState
from backstay.domain.slot import Slot
from backstay.errors import LeaseLost
from backstay.pipeline.deploy import STEPS, deploy
from backstay.pipeline.recover import recover
from backstay.pipeline.resolve import plan_deploy
from backstay.pipeline.run import Run
from tests.pipeline.conftest import OWNER, Town

ELSEWHERE = frozenset({"retire", "restore", "hold", "quiesce", "copy", "swap", "open"})
"""Steps that a plain deployment does not have, and the one after its proof."""


class Killed(BaseException):
    """Stands for kill -9: nothing of ours may catch it."""


def die_in(town: Town, step: str, after: bool, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Deploy v2 and die in `step`, before its effect or right after it."""
    plan = plan_deploy(
        town.application, "v2", (), False, town.store, lambda i, v: town.engine.digest(i, v, None)
    )
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
            deploy(run)
    return run


def recovered(town: Town, dead: Run) -> Deployment:
    """What `recover` makes of it under a new lease."""
    held = town.store.lease("shop", "dev")
    lease = town.store.take_lease("shop", "dev", replace(OWNER, pid=2), "recover", dead.id, replaces=held)
    again = Run(dead.deployment, dead.plan, dead.environment, lease.token, dead.nonce, town.world)
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
