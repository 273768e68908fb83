"""What several processes do to one store at the same moment. Runs in processes of its own."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path

from backstay.adapters.store import open_store, outbox
from backstay.adapters.store.location import Location
from backstay.domain.deployment import DeploymentState
from backstay.domain.lease import Lease
from backstay.domain.notification import Delivery
from backstay.errors import Locked
from tests.store import samples
from tests.store.samples import APP, ENV

Racer = Callable[[Location, int], str]

CONTEXT = multiprocessing.get_context("forkserver")
"""Processes that share nothing with us, and need not import everything anew."""
CONTEXT.set_forkserver_preload(["tests.store.racing", "backstay.adapters.store.server.writing"])

_PATIENCE_S = 60.0


def race(racer: Racer, place: Location, count: int) -> list[str]:
    """Let `count` processes run `racer` at the same moment; what each of them said, in their order."""
    barrier = CONTEXT.Barrier(count)
    answers = CONTEXT.Queue()
    runners = [
        CONTEXT.Process(target=_run, args=(racer, place, number, barrier, answers)) for number in range(count)
    ]
    for runner in runners:
        runner.start()
    try:
        said = dict(answers.get(timeout=_PATIENCE_S) for _ in runners)
        return [said[number] for number in range(count)]
    finally:
        for runner in runners:
            runner.join(timeout=_PATIENCE_S)
            if runner.is_alive():
                runner.kill()
                runner.join()


def _run(
    racer: Racer,
    place: Location,
    number: int,
    barrier: Barrier,
    answers: multiprocessing.Queue[tuple[int, str]],
) -> None:
    barrier.wait(timeout=_PATIENCE_S)
    try:
        answers.put((number, racer(place, number)))
    except Exception as error:  # noqa: BLE001 - the test must see whatever went wrong in the other process
        answers.put((number, f"{type(error).__name__}: {error}"))


def begin(place: Location, number: int) -> str:
    """Try to begin a deployment; `won TOKEN` or `locked`."""
    with open_store(place) as store:
        try:
            lease = samples.begun(store, f"d{number}")
        except Locked:
            return "locked"
        return f"won {lease.token}"


def take_over(place: Location, number: int) -> str:
    """Try to take over the lease everybody sees."""
    with open_store(place) as store:
        seen = Lease(
            APP, ENV, 1, samples.owner(), "deploy v1", "d1", samples.StillClock().at.timestamp(), 0.0
        )
        try:
            me = samples.owner("racer", os.getpid())
            return f"won {store.take_lease(APP, ENV, me, 'recover', 'd1', replaces=seen).token}"
        except Locked:
            return "locked"


def tell_often(place: Location, number: int) -> str:
    """Append a hundred events under token 1."""
    with open_store(place) as store:
        for count in range(100):
            store.tell(1, "d1", "told", f"{number}:{count}")
    return "done"


def send_all(place: Location, number: int) -> str:
    """Claim and settle until nothing is due; the ids claimed, with a moment between claim and answer."""
    claimed = []
    with open_store(place) as store:
        while (row := store.claim_notification(APP, ("", "f1"), f"sender {number}")) is not None:
            time.sleep(0.002)
            store.settle_notification(row.id, f"sender {number}", Delivery())
            claimed.append(str(row.id))
    return " ".join(claimed)


def move_and_die(place: Location, number: int) -> str:
    """End a deployment, and die before the transaction is through, as under SIGKILL."""
    store = open_store(place)

    def write() -> str:
        with store.transaction() as connection:
            connection.exec_driver_sql("UPDATE deployments SET state = 'failed'")
            ended = replace(samples.deployment(), state=DeploymentState.FAILED)
            outbox.tell_of_recorded(connection, ended, "2026-03-01T12:00:00.000Z", 0.0)
            os.kill(os.getpid(), 9)
        return "never"

    return store.database.until_done(write)


def open_only(migrations: Path, place: Location, number: int) -> str:
    """Open the store with `migrations`, and read once."""
    with open_store(place, migrations=migrations) as store:
        return f"{len(store.history(APP, ENV))} deployments"


def begin_and_die(place: Location) -> None:
    """Begin a deployment and die without closing anything, as under SIGKILL."""
    samples.begun(open_store(place))
    os._exit(9)
