"""The detached worker: does one deployment to its end, whoever started it may be gone by then.

Started as `python -m backstay.worker HOME STORE DEPLOYMENT PARENT`. The command that starts it (pid PARENT) may
still be planning: the worker imports what it will need, and waits until the deployment is recorded and the lease
taken in its name.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

from backstay import wiring
from backstay.domain.deployment import Deployment, DeploymentKind, Wish
from backstay.domain.lease import HEARTBEAT_S, Lease
from backstay.domain.secret import Secret
from backstay.errors import BackstayError, LeaseLost, StoreError
from backstay.pipeline.notify import Sender
from backstay.pipeline.outcome import fail
from backstay.pipeline.record import from_record
from backstay.pipeline.run import Run
from backstay.ports.store import Store

ORDER_POLL_S = 0.005


def main(argv: list[str]) -> int:
    gc.disable()  # collecting while modules are imported only delays the first effect
    home, store_path, deployment_id, parent = argv
    os.chdir("/")
    letter = _take_letter()
    where = wiring.Place(Path(home), Path(store_path))
    store = wiring.open_store(where)
    deployment = _await_order(store, deployment_id, int(parent))
    if deployment is None:
        store.close()
        return 0
    held = store.lease(deployment.app, deployment.environment)
    if held is None or held.deployment != deployment_id:
        raise LeaseLost(f"the lease of {deployment_id} was taken over before its worker started")
    lease = store.adopt(held, wiring.host().owner())
    _heed_signals(store, deployment_id)
    run = _run(where, store, deployment, lease)
    gc.enable()
    heart = threading.Thread(target=_beat, args=(store, lease, run.lost), daemon=True)
    heart.start()
    sender = Sender(store, deployment.app, lambda: wiring.receivers(where, _urls_in(letter)))
    sender.start()
    try:
        _work(run, lease)
    except LeaseLost as lost:
        print(lost.message, file=sys.stderr)
        return lost.exit_status
    finally:
        run.lost.set()
        heart.join()
        store.release_lease(lease)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        sender.finish()
        store.close()
    return 0


def _take_letter() -> int:
    """Our standard input, taken away from it: no tool that we run may read from there."""
    letter = os.dup(0)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    return letter


def _urls_in(letter: int) -> list[Secret]:
    """The URLs of receivers, which the command that started us hands over in memory; none when it died first."""
    try:
        with os.fdopen(letter, encoding="utf-8") as text:
            return [Secret(url) for url in json.loads(text.read())]
    except ValueError:
        return []


def _await_order(store: Store, deployment: str, parent: int) -> Deployment | None:
    """The deployment as soon as it is recorded; None when the command that started us ended without recording it."""
    wiring.preload()
    while (found := store.deployment(deployment)) is None:
        if os.getppid() != parent:
            return store.deployment(deployment)
        time.sleep(ORDER_POLL_S)
    return found


def _work(run: Run, lease: Lease) -> None:
    """Do what the deployment needs: its runbook, or its recovery when an earlier worker left it."""
    try:
        if run.deployment.token != lease.token:
            from backstay.pipeline.recover import recover

            recover(run)
        elif run.deployment.kind is DeploymentKind.DEPLOY:
            from backstay.pipeline.deploy import deploy

            deploy(_running(run))
        else:
            from backstay.pipeline.rollback import rollback

            rollback(_running(run))
    except LeaseLost:
        raise
    except BackstayError as error:
        _reverse(run, error)
    except Exception as error:  # noqa: BLE001 - the last net: whatever broke, the environment must not stay half-way
        report = run.redact("".join(traceback.format_exception(error)))
        print(report, file=sys.stderr, flush=True)
        _reverse(
            run,
            BackstayError(
                f"internal error ({type(error).__name__}) in deployment {run.id}",
                hint="the worker's log in the state folder (logs/) has the report",
            ),
        )


def _running(run: Run) -> Run:
    from backstay.domain.deployment import DeploymentState

    run.move(DeploymentState.RUNNING)
    return run


def _reverse(run: Run, error: BackstayError) -> None:
    from backstay.pipeline.deploy import STEPS
    from backstay.pipeline.saga import Saga

    fail(Saga(run, STEPS), error)


def _run(where: wiring.Place, store: Store, deployment: Deployment, lease: Lease) -> Run:
    environment = store.environment_of(deployment.id)
    if environment is None:
        raise StoreError(f"the record of deployment {deployment.id} is incomplete")
    plan, nonce = from_record(deployment, store)
    return Run(deployment, plan, environment, lease.token, nonce, wiring.world(where, environment, store))


def _beat(store: Store, lease: Lease, lost: threading.Event) -> None:
    """Keep the lease alive; say so when it is lost. A store that cannot be reached is tried again."""
    while not lost.wait(HEARTBEAT_S):
        try:
            store.heartbeat(lease)
        except LeaseLost:
            lost.set()
        except StoreError as error:
            print(f"heartbeat: {error.message}", file=sys.stderr, flush=True)


def _heed_signals(store: Store, deployment: str) -> None:
    """Outlive terminals and their Ctrl-C; take a polite kill as the wish to abort safely."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def abort(signum: int, frame: object) -> None:
        threading.Thread(target=store.ask, args=(deployment, Wish.ABORT), daemon=True).start()

    signal.signal(signal.SIGTERM, abort)


def _report(error: BaseException) -> None:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    print(f"{stamp} {type(error).__name__}: {error}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        status = main(sys.argv[1:])
    except BackstayError as failed:
        _report(failed)
        status = failed.exit_status
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(status)
