"""`backstay drill rollback`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from backstay import wiring
from backstay.cli.context import Project, project
from backstay.cli.options import Settings, with_common_options
from backstay.domain.deployment import Deployment, DeploymentState
from backstay.domain.policy import Level
from backstay.errors import CheckFailed, UsageError

if TYPE_CHECKING:
    from backstay.domain.drill import Drill, Proof
    from backstay.domain.environment import Application
    from backstay.domain.slot import SlotMapping
    from backstay.ports.store import Store

FAILED, NEEDS_ATTENTION = 20, 21


@click.command(
    name="rollback",
    epilog="\b\nExamples:\n  backstay drill rollback uat\n  backstay drill rollback prod --yes\n",
)
@click.argument("environment", metavar="ENV")
@click.option("--yes", is_flag=True, help="Move traffic there and back also where the policy is strict.")
@with_common_options
def rollback(settings: Settings, environment: str, yes: bool) -> int:
    """Roll ENV back to its warm standby and forth again, two flips that visitors do not notice, and measure.

    Where the policy is strict, only the standby's health is measured, which says that a rollback could begin, unless
    --yes is given. Exit status 10 when the standby is not healthy, 20 when the rollback failed, 21 when the way forth
    did.
    """
    from backstay.cli.drill import finish

    found = project(settings, environment)
    application = found.application(environment)
    store = found.store()
    slots = store.slots(found.app, environment)
    if slots.serving is None or slots.standby is None:
        raise UsageError(
            f"{environment} has no warm standby to roll back to",
            hint="the release before the live one stays warm after every deploy",
            state="nothing was changed",
        )
    began = wiring.clock().now()
    proofs = _standby(found, application, store, slots.standby)
    drill = _Drill(settings, found, application, store, began, slots.serving, slots.standby)
    if any(proof.ok is False for proof in proofs):
        return finish(settings, found, store, drill.ended(proofs, None), CheckFailed.exit_status)
    if application.environment.policy.level is Level.STRICT and not yes:
        proofs.append(drill.skipped())
        return finish(settings, found, store, drill.ended(proofs, None), FAILED)
    status, rollback_s = drill.there_and_back(proofs)
    return finish(settings, found, store, drill.ended(proofs, rollback_s), status or FAILED)


def _standby(found: Project, application: Application, store: Store, standby: SlotMapping) -> list[Proof]:
    """Ask every component of the standby for its health, on its private port."""
    from backstay.domain.drill import Proof
    from backstay.pipeline.probe import ask_health

    release = store.release(standby.release)
    clock, proofs = wiring.clock(), []
    for name, placement in standby.placements.items():
        if release is None:
            continue
        before = clock.monotonic()
        answer = ask_health(wiring.prober(), placement, release.components[name].health)
        said = answer.error or f"answered {answer.status}"
        proofs.append(
            Proof(
                f"{name} healthy", answer.is_healthy, f"{standby.version} {said}", clock.monotonic() - before
            )
        )
    return proofs


class _Drill:
    """One rollback drill: the two rollbacks, and the evidence of them."""

    def __init__(
        self,
        settings: Settings,
        found: Project,
        application: Application,
        store: Store,
        began: datetime,
        live: SlotMapping,
        standby: SlotMapping,
    ) -> None:
        self._settings = settings
        self._found = found
        self._application = application
        self._store = store
        self._began = began
        self._live = live
        self._standby = standby

    def there_and_back(self, proofs: list[Proof]) -> tuple[int, float | None]:
        """Both rollbacks; the exit status, and the seconds of the first."""
        there = self._roll(self._standby.version)
        proofs.append(_proof("rolled back", there))
        if there.state is not DeploymentState.SUCCEEDED:
            return there.exit_status or FAILED, there.rollback_s
        back = self._roll(self._live.version)
        proofs.append(_proof("rolled forth", back))
        took_s = there.total_s
        return (0 if back.state is DeploymentState.SUCCEEDED else NEEDS_ATTENTION), took_s

    def skipped(self) -> Proof:
        from backstay.domain.drill import Proof

        name = self._application.environment.name
        return Proof(
            "rolled back", None, f"traffic was not moved: {name} is strict (--yes moves it there and back)"
        )

    def ended(self, proofs: list[Proof], rollback_s: float | None) -> Drill:
        from backstay.domain.drill import Drill, DrillKind
        from backstay.pipeline.times import rfc3339

        bad = [f"{proof.part}: {proof.detail}" for proof in proofs if proof.ok is False]
        me, environment = wiring.host().owner(), self._application.environment
        return Drill(
            id=0,
            app=environment.app,
            environment=environment.name,
            kind=DrillKind.ROLLBACK,
            began_at=rfc3339(self._began),
            ended_at=rfc3339(wiring.clock().now()),
            ok=not bad,
            summary="; ".join(bad) or proofs[-1].detail,
            subject=self._standby.version,
            release=self._live.version,
            rto_s=rollback_s,
            rto_target_s=environment.policy.rto_s,
            proofs=tuple(proofs),
            requested_by=f"{me.name}@{me.host}",
        )

    def _roll(self, version: str) -> Deployment:
        """A rollback like any other, to its end."""
        from backstay.cli.deploy import begin, new_id
        from backstay.cli.follow import follow
        from backstay.cli.interrupt import Interrupts
        from backstay.cli.launch import Prepared, wait_quietly
        from backstay.pipeline.resolve import plan_rollback

        id_, store, app, name = new_id(), self._store, self._found.app, self._application.environment.name
        store.close()
        with Interrupts(name) as interrupts:
            with Prepared(self._found.where, id_, self._application.notify) as worker:
                starting = worker.beginner(store)
                starting.recover(app, name, lambda dead: wait_quietly(store, dead))
                plan = plan_rollback(app, name, "all", version, False, store)
                interrupts.begin()
                begin(self._settings, starting, id_, self._found, self._application, plan)
            follow(self._settings, store, id_, interrupts)
        ended = store.deployment(id_)
        assert ended is not None
        return ended


def _proof(part: str, deployment: Deployment) -> Proof:
    from backstay.domain.drill import Proof

    ok = deployment.state is DeploymentState.SUCCEEDED
    detail = deployment.reason or f"{deployment.version} serves [{deployment.id}]"
    return Proof(part, ok, detail, deployment.total_s)
