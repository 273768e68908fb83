"""Following a deployment: printing its events until it ends. Whoever follows may be killed; the worker goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

from backstay import wiring
from backstay.cli.annotate import annotate_deployment
from backstay.cli.interrupt import Interrupts
from backstay.cli.options import Settings
from backstay.cli.output import put
from backstay.cli.progress import Progress
from backstay.domain.deployment import Deployment, DeploymentState, Wish
from backstay.domain.lease import WATCH_S, Lease, Presence
from backstay.domain.step import Event
from backstay.errors import NeedsAttention
from backstay.pipeline.document import deployment_document, event_document
from backstay.ports.store import Reader, Store

POLL_S = 0.04
TAKEOVER_S = 5.0
INTERNAL_STATUS = 1


def follow(
    settings: Settings,
    store: Store,
    deployment: str,
    interrupts: Interrupts,
    *,
    until_switched: bool = False,
    after: int = 0,
) -> int:
    """Print what happens until the end, or until traffic has moved; returns the exit status of the deployment.

    The wish that a Ctrl-C expresses is passed on. That nobody reads what is printed changes nothing.
    """
    progress = Progress(settings)

    def pass_on() -> None:
        if interrupts.wanted and not interrupts.asked:
            interrupts.asked = True
            if store.ask(deployment, Wish.ABORT):
                progress.say(
                    "aborting safely: undoing what was started … (Ctrl-C again leaves without waiting)"
                )

    with progress:
        for event in watch(store, deployment, after, pass_on):
            if settings.json:
                put(json.dumps(event_document(event)))
            else:
                progress.show(event)
            if until_switched and event.kind == "traffic_switched":
                return _left_baking(settings, store, event, progress)
    return finish(settings, store, deployment)


def watch(
    store: Reader, deployment: str, after: int = 0, each_look: Callable[[], None] = lambda: None
) -> Iterator[Event]:
    """Events as they come, until the deployment has ended and its lease is free.

    Raises NeedsAttention when its worker died before that, or gives no sign of life any more; the next command that
    changes the environment recovers.
    """
    seen = after
    while True:
        each_look()
        now = _must(store.deployment(deployment))
        held = store.lease(now.app, now.environment)
        for event in store.events(deployment, seen):
            seen = event.seq
            yield event
        mine = held is not None and held.deployment == deployment
        if now.state.is_final and not mine:
            return
        if held is not None and mine and (fault := _fault(store, held)):
            if _is_taken_over(store, now, held):
                continue
            raise _left(now, f"the worker of deployment {deployment} {fault}")
        if not mine and not _must(store.deployment(deployment)).state.is_final:
            raise _left(now, f"nobody works on deployment {deployment} any more")
        time.sleep(POLL_S)


def _left(now: Deployment, what: str) -> NeedsAttention:
    """What to say of a deployment that lost its worker before its end."""
    return NeedsAttention(
        what,
        hint=f"backstay recover {now.environment} brings it to an end",
        state=f"{now.environment} is {now.state}; what served goes on serving",
    )


def _fault(store: Reader, held: Lease) -> str | None:
    """What is wrong with the worker that holds the lease; one that slept with its machine gets a moment to wake."""
    if wiring.host().presence(held.owner) is Presence.GONE:
        # One that has ended well gave its lease back before it went, maybe after we looked at it.
        now = store.lease(held.app, held.environment)
        return f"died (pid {held.owner.pid})" if now == held else None
    if held.left_s(store.now()) < -WATCH_S:
        return f"on {held.owner.host} (pid {held.owner.pid}) has given no sign of life for over {held.lasts_s:g} s"
    return None


def _is_taken_over(store: Reader, now: Deployment, held: Lease) -> bool:
    """Whether somebody takes the place of the worker that is gone: who expressed a wish ends one that does not hear
    it, and gets a moment to take the lease."""
    until = time.monotonic() + TAKEOVER_S
    while store.wish(now.id) is not None and time.monotonic() < until:
        if store.lease(now.app, now.environment) != held:
            return True
        time.sleep(POLL_S)
    return False


def finish(settings: Settings, store: Store, deployment: str) -> int:
    """Print the last line; returns the exit status of the deployment."""
    ended = _must(store.deployment(deployment))
    annotate_deployment(settings, ended)
    if settings.json:
        put(json.dumps(deployment_document(ended, store.steps(deployment))))
    else:
        Progress(settings).end(ended, store.slots(ended.app, ended.environment))
    return INTERNAL_STATUS if ended.exit_status is None else ended.exit_status


def _left_baking(settings: Settings, store: Store, switched: Event, progress: Progress) -> int:
    """The last word of who waits for the switch alone: the worker may not have recorded yet what its event says."""
    now = _must(store.deployment(switched.deployment))
    if now.state.is_final:
        return finish(settings, store, now.id)
    if settings.json:
        document = deployment_document(now, store.steps(now.id))
        known = {"state": DeploymentState.BAKING.value, "switch_s": switched.data.get("switch_s")}
        put(json.dumps({**document, **known, "exit_status": 0}))
    else:
        progress.say(f"traffic moved; the bake goes on: backstay attach {now.environment}")
    return 0


def _must(deployment: Deployment | None) -> Deployment:
    if deployment is None:
        raise NeedsAttention("the deployment is gone from the store", hint="backstay history")
    return deployment
