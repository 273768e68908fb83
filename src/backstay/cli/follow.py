"""Following a deployment: printing its events until it ends. Whoever follows may be killed; the worker goes on."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from backstay import wiring
from backstay.cli.annotate import annotate_deployment
from backstay.cli.options import Settings
from backstay.cli.progress import Progress
from backstay.domain.deployment import Deployment, Wish
from backstay.domain.lease import Presence
from backstay.domain.step import Event
from backstay.errors import NeedsAttention
from backstay.pipeline.document import deployment_document, event_document
from backstay.ports.store import Reader, Store

POLL_S = 0.04
INTERNAL_STATUS = 1


def follow(
    settings: Settings, store: Store, deployment: str, *, until_switched: bool = False, after: int = 0
) -> int:
    """Print what happens until the end, or until traffic has moved; returns the exit status of the deployment."""
    progress = Progress(settings)
    with asking_to_abort(store, deployment, progress.say), progress:
        for event in watch(store, deployment, after):
            if settings.json:
                click.echo(json.dumps(event_document(event)))
            else:
                progress.show(event)
            if until_switched and event.kind == "traffic_switched":
                return _left_baking(settings, store, deployment, progress)
    return finish(settings, store, deployment)


def watch(store: Reader, deployment: str, after: int = 0) -> Iterator[Event]:
    """Events as they come, until the deployment has ended and its lease is free.

    Raises NeedsAttention when its worker died before that; the next command that changes the environment recovers.
    """
    host, seen = wiring.host(), after
    while True:
        now = _must(store.deployment(deployment))
        held = store.lease(now.app, now.environment)
        for event in store.events(deployment, seen):
            seen = event.seq
            yield event
        mine = held is not None and held.deployment == deployment
        if now.state.is_final and not mine:
            return
        if held is not None and mine and host.presence(held.owner) is Presence.GONE:
            raise _left(now, f"the worker of deployment {deployment} died (pid {held.owner.pid})")
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


def finish(settings: Settings, store: Store, deployment: str) -> int:
    """Print the last line; returns the exit status of the deployment."""
    ended = _must(store.deployment(deployment))
    annotate_deployment(settings, ended)
    if settings.json:
        click.echo(json.dumps(deployment_document(ended, store.steps(deployment))))
    else:
        Progress(settings).end(ended, store.slots(ended.app, ended.environment))
    return INTERNAL_STATUS if ended.exit_status is None else ended.exit_status


@contextmanager
def asking_to_abort(store: Store, deployment: str, say: Callable[[str], None]) -> Iterator[None]:
    """The first Ctrl-C asks for a safe abort; the second only leaves, and the worker goes on."""
    asked = threading.Event()

    def on_interrupt(signum: int, frame: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        store.ask(deployment, Wish.ABORT)
        say("aborting safely: undoing what was started … (Ctrl-C again leaves without waiting)")

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _left_baking(settings: Settings, store: Store, deployment: str, progress: Progress) -> int:
    now = _must(store.deployment(deployment))
    if settings.json:
        click.echo(json.dumps(deployment_document(now, store.steps(deployment))))
    else:
        progress.say(f"traffic moved; the bake goes on: backstay attach {now.environment}")
    return 0


def _must(deployment: Deployment | None) -> Deployment:
    if deployment is None:
        raise NeedsAttention("the deployment is gone from the store", hint="backstay history")
    return deployment
