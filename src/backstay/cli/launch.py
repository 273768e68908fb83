"""Starting a detached worker and waiting until it holds the lease."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from backstay import wiring
from backstay.cli.interrupt import Left
from backstay.cli.output import put
from backstay.domain.lease import Lease
from backstay.domain.secret import Secret
from backstay.errors import BackstayError
from backstay.pipeline.begin import Beginner
from backstay.ports.store import Store
from backstay.worker import work

ADOPT_DEADLINE_S = 20.0
KEPT_LOGS = 100
"""How many logs of workers are kept; one is left only by a worker that had something to say, or was killed."""


@dataclass
class Prepared:
    """A worker that starts up while its command still plans, and waits for the order to begin.

    `notify` are the URLs of receivers: the worker has them in memory and nowhere else.
    """

    where: wiring.Place
    deployment: str
    notify: Sequence[Secret] = ()

    def __enter__(self) -> Prepared:
        self.pid, self.log = _fork(self.where, self.deployment, self.notify)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Without an order there is no work: end it, and leave no empty log. Who left may have given the order just
        before; if not, the worker sees that we are gone."""
        if error is not None and not (isinstance(error, Left) and error.begun):
            wiring.worker.dismiss(self.pid)
            with contextlib.suppress(OSError):
                if not self.log.stat().st_size:
                    self.log.unlink()

    def beginner(self, store: Store) -> Beginner:
        """A Beginner whose deployment of our id goes to the prepared worker; any other one gets a worker of its own."""

        def spawn(lease: Lease, deployment: str) -> None:
            if deployment == self.deployment:
                _await_adoption(store, lease, self.pid, self.log)
            else:
                start_worker(self.where, store, lease, deployment, self.notify)

        return Beginner(store, wiring.host(), wiring.clock(), spawn, _say)


def beginner(where: wiring.Place, store: Store, notify: Sequence[Secret] = ()) -> Beginner:
    """A Beginner whose workers are processes of this host."""

    def spawn(lease: Lease, deployment: str) -> None:
        start_worker(where, store, lease, deployment, notify)

    return Beginner(store, wiring.host(), wiring.clock(), spawn, _say)


def start_worker(
    where: wiring.Place, store: Store, lease: Lease, deployment: str, notify: Sequence[Secret]
) -> None:
    """Start a worker in its own session, with no terminal and no tie to us; return once it adopted the lease."""
    store.close()
    pid, log = _fork(where, deployment, notify)
    _await_adoption(store, lease, pid, log)


def _fork(where: wiring.Place, deployment: str, notify: Sequence[Secret]) -> tuple[int, Path]:
    """A worker's pid and log. The store must be closed."""
    wiring.make_home(where)
    wiring.worker.preload()
    parent, log = os.getpid(), _log(where, deployment)
    return wiring.worker.start_worker(
        where, deployment, lambda: work(where, deployment, parent, notify), log
    ), log


def _await_adoption(store: Store, lease: Lease, pid: int, log: Path) -> None:
    deadline = time.monotonic() + ADOPT_DEADLINE_S
    while time.monotonic() < deadline:
        held = store.lease(lease.app, lease.environment)
        if held is None or held.token != lease.token or held.owner.pid == pid:
            return
        if wiring.worker.exit_status(pid) is not None:
            break
        time.sleep(0.005)
    store.release_lease(lease)
    raise BackstayError("the worker did not start", hint=f"look at {log}")


def _say(text: str) -> None:
    put(text, err=True)


def _log(where: wiring.Place, deployment: str) -> Path:
    logs = where.home / "logs"
    for old in sorted(logs.glob("worker-*.log"))[:-KEPT_LOGS]:  # their names begin with the time
        with contextlib.suppress(OSError):
            old.unlink()
    return logs / f"worker-{deployment}.log"


def wait_quietly(store: Store, deployment: str) -> None:
    """Wait until a recovery has ended, saying only that it takes place and how it ended."""
    from backstay.cli.follow import watch

    put(f"the worker of {deployment} died; recovering it first …", err=True)
    for _ in watch(store, deployment):
        pass
    ended = store.deployment(deployment)
    put(f"recovered: {deployment} ended {ended.state if ended else 'unknown'}", err=True)
