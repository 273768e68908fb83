"""Worker processes: started, asked after, ended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from backstay import wiring
from backstay.adapters.store.location import is_open
from backstay.adapters.store.server.address import Server

if TYPE_CHECKING:
    from backstay.domain.secret import Secret


def start_worker(where: wiring.Place, deployment: str, work: Callable[[], int], log: Path) -> int:
    """Do `work` in a worker process of its own, detached from us; returns its pid.

    The store must be closed here: RuntimeError when it is not, for the copy would not see its locks, or would share
    its connections. The copy knows where the store is; its environment, which others inherit, does not. StoreError
    when the state folder cannot be written.
    """
    from backstay.adapters.detach import fork_detached
    from backstay.errors import StoreError

    if is_open(where.store):
        raise RuntimeError(f"the state store {where.store} is open while a worker is started")
    hidden: tuple[Secret, ...] = ()
    if isinstance(where.store, Server):
        import backstay.adapters.store.server.writing  # noqa: F401 - before the copy is made, as `preload`

        hidden = where.store.passwords
    try:
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return fork_detached(f"backstay worker {deployment} of {where.home}", work, log, hidden)
    except OSError as error:
        raise StoreError(
            f"no worker was started, as its log {log} cannot be written: {error.strerror}",
            hint=f"is the disk of {where.home} full, or mounted read-only?",
        ) from error


def preload() -> None:
    """Import what every runbook needs before its first effect, so that a worker need not do it."""
    import backstay.adapters.haproxy
    import backstay.adapters.http
    import backstay.adapters.leftovers
    import backstay.adapters.postgres
    import backstay.adapters.store.opening
    import backstay.pipeline.recover
    import backstay.pipeline.rollback  # noqa: F401


def dismiss(pid: int) -> None:
    """End a worker of ours that was started and is not needed."""
    from backstay.adapters.detach import dismiss as end

    end(pid)


def exit_status(pid: int) -> int | None:
    """Exit status of a worker that we started; None while it runs."""
    from backstay.adapters.detach import exit_status as status_of

    return status_of(pid)
