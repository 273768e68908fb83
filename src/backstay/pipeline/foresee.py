"""What recovery would do about a deployment whose worker is dead. Only looks, for `status` and `recover --dry-run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from backstay.domain.deployment import Deployment
from backstay.domain.lease import Claim, claim
from backstay.domain.recovery import decide
from backstay.errors import BackstayError
from backstay.pipeline.left import refuse_unreadable, tries
from backstay.pipeline.record import from_record
from backstay.pipeline.run import Run, World
from backstay.pipeline.status import Ports
from backstay.ports.store import Store


@dataclass(frozen=True, slots=True)
class Foresight:
    """A course (`forward`, `undo`, `needs_human`), or None when recovery would refuse; and why."""

    course: str | None
    why: str


def is_dead(ports: Ports, deployment: Deployment) -> bool:
    """Whether nobody works on it any more, or who does gives no sign of life, as far as can be told from here."""
    held = ports.store.lease(deployment.app, deployment.environment)
    if held is None or held.deployment != deployment.id:
        return True
    return claim(held, ports.host.presence(held.owner), ports.store.now()) is not Claim.REFUSE


def foresee(ports: Ports, dead: Deployment) -> Foresight:
    """The decision as the world is now. A slot that does not answer yet is not waited for, as recovery would."""
    from backstay.pipeline.deploy import STEPS
    from backstay.pipeline.observe import observe, story_of
    from backstay.pipeline.saga import Saga

    try:
        refuse_unreadable(ports.store, dead.id)
        run = _looking(ports, dead)
        story = story_of(run)
        decision = decide(story, observe(Saga(run, STEPS), story), tries(ports.store, dead.id))
    except BackstayError as error:
        return Foresight(None, error.message)
    return Foresight(decision.course.value, decision.why)


def _looking(ports: Ports, dead: Deployment) -> Run:
    """The deployment in a world that can only be looked at; what recovery looks at needs no more."""
    environment = ports.store.environment_of(dead.id)
    plan, nonce = from_record(dead, ports.store)
    assert environment is not None
    world = World(
        store=cast(Store, ports.store),
        engine=ports.engine,
        router=ports.router,
        prober=ports.prober,
        database=cast(Any, None),
        secrets=cast(Any, None),
        clock=ports.clock,
        host=ports.host,
        home="",
        scratches=cast(Any, None),
        linter=cast(Any, None),
        clusters=cast(Any, None),
    )
    return Run(dead, plan, environment, dead.token or 0, nonce, world)
