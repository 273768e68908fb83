"""The detached worker: does one deployment to its end, whoever started it may be gone by then.

A detached copy of the command that starts it, which may still be planning: the worker waits until the deployment
is recorded and the lease taken in its name.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence

from backstay import wiring
from backstay.domain.deployment import Deployment, DeploymentKind, Wish
from backstay.domain.lease import HEARTBEAT_S, Lease
from backstay.domain.secret import Secret
from backstay.errors import BackstayError, LeaseLost, StoreError
from backstay.pipeline.fence import Fence, fenced
from backstay.pipeline.notify import Sender
from backstay.pipeline.outcome import fail
from backstay.pipeline.record import from_record
from backstay.pipeline.run import Run
from backstay.ports.store import Store

ORDER_POLL_S = 0.005


def work(where: wiring.Place, deployment: str, parent: int, notify: Sequence[Secret]) -> int:
    """Do the deployment that the process `parent` records; returns an exit status. Never raises a BackstayError.

    `notify` are the URLs of receivers to tell of it.
    """
    try:
        return _work_for(where, deployment, parent, notify)
    except BackstayError as failed:
        _log(f"{type(failed).__name__}: {failed}")
        return failed.exit_status


def _work_for(where: wiring.Place, deployment_id: str, parent: int, notify: Sequence[Secret]) -> int:
    os.chdir("/")
    store = wiring.open_store(where)
    deployment = _await_order(store, deployment_id, parent)
    if deployment is None:
        store.close()
        return 0
    held = store.lease(deployment.app, deployment.environment)
    if held is None or held.deployment != deployment_id:
        raise LeaseLost(f"the lease of {deployment_id} was taken over before its worker started")
    lease = store.adopt(held, wiring.host().owner())
    _heed_signals(store, deployment_id)
    fence = Fence(store, lease)
    run = _run(where, store, deployment, fence)
    heart = threading.Thread(target=_beat, args=(store, lease, fence.lost), daemon=True)
    heart.start()
    sender = Sender(store, deployment.app, lambda: wiring.receivers(where, notify))
    sender.start()
    try:
        perform(run, lease)
    except LeaseLost as lost:
        _log(f"{lost.message}; this worker does nothing more and ends")
        return lost.exit_status
    finally:
        run.lost.set()
        heart.join()
        store.release_lease(lease)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        sender.finish()
        _copy_backups(run, where)
        store.close()
    return 0


def _copy_backups(run: Run, where: wiring.Place) -> None:
    """Copy elsewhere what was backed up, where that is configured. Nobody waits for it: the environment is free
    already, and what is not copied when we die is copied with the next."""
    source = run.environment.database
    if source is None or source.copy is None:
        return
    from backstay.pipeline.copy import Copying, copy_all

    copying = Copying(run.environment.app, run.environment.name, source.copy, run.secrets)
    try:
        copy_all(run.world, copying, lambda kind, message, **data: _log(message))
    except BackstayError as error:
        _log(f"backups were not copied: {error.message}")


def _await_order(store: Store, deployment: str, parent: int) -> Deployment | None:
    """The deployment as soon as it is recorded; None when the command that started us ended without recording it."""
    while (found := store.deployment(deployment)) is None:
        if os.getppid() != parent:
            return store.deployment(deployment)
        time.sleep(ORDER_POLL_S)
    return found


def perform(run: Run, lease: Lease) -> None:
    """Do what the deployment needs: its runbook, or its recovery when an earlier worker left it.

    A recovery that fails leaves the deployment as it is, for the next one: it alone weighs where going back leads.
    """
    recovering = run.deployment.token != lease.token
    try:
        if recovering:
            from backstay.pipeline.recover import recover

            recover(run)
        elif run.deployment.kind is DeploymentKind.DEPLOY:
            from backstay.pipeline.deploy import deploy

            deploy(_running(run))
        elif run.deployment.kind is DeploymentKind.RESTORE:
            from backstay.pipeline.restore import restore

            restore(_running(run))
        else:
            from backstay.pipeline.rollback import rollback

            rollback(_running(run))
    except LeaseLost:
        raise
    except BackstayError as error:
        if recovering:
            raise
        _reverse(run, error)
    except Exception as error:  # the last net: whatever broke, the environment must not stay half-way
        report = run.redact("".join(traceback.format_exception(error)))
        print(report, file=sys.stderr, flush=True)
        broken = BackstayError(
            f"internal error ({type(error).__name__}) in deployment {run.id}",
            hint="the worker's log in the state folder (logs/) has the report",
        )
        if recovering:
            raise broken from error
        _reverse(run, broken)


def _running(run: Run) -> Run:
    from backstay.domain.deployment import DeploymentState

    run.move(DeploymentState.RUNNING)
    return run


def _reverse(run: Run, error: BackstayError) -> None:
    from backstay.pipeline.deploy import STEPS
    from backstay.pipeline.saga import Saga

    fail(Saga(run, STEPS), error)


def _run(where: wiring.Place, store: Store, deployment: Deployment, fence: Fence) -> Run:
    environment = store.environment_of(deployment.id)
    if environment is None:
        raise StoreError(f"the record of deployment {deployment.id} is incomplete")
    plan, nonce = from_record(deployment, store)
    world = fenced(wiring.world(where, environment, store), fence)
    return Run(deployment, plan, environment, fence.lease.token, nonce, world, fence.lost)


def _beat(store: Store, lease: Lease, lost: threading.Event) -> None:
    """Keep the lease alive; say so when it is lost. A store that cannot be reached is tried again."""
    while not lost.wait(HEARTBEAT_S):
        try:
            store.heartbeat(lease)
        except LeaseLost as error:
            lost.set()
            _log(f"heartbeat: {error.message}")
        except StoreError as error:
            _log(f"heartbeat: {error.message}")


def _heed_signals(store: Store, deployment: str) -> None:
    """Outlive terminals and their Ctrl-C; take a polite kill as the wish to abort safely."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def ask() -> None:
        try:
            store.ask(deployment, Wish.ABORT)
        except StoreError as error:
            _log(f"asked by SIGTERM to abort, but: {error.message}")

    def abort(signum: int, frame: object) -> None:
        threading.Thread(target=ask, daemon=True).start()  # a handler must not wait for the store

    signal.signal(signal.SIGTERM, abort)


def _log(text: str) -> None:
    """A line of the worker's log, which is its standard error."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    print(f"{stamp} {text}", file=sys.stderr, flush=True)
