"""Implements the port: databases beside the live one, and the swap by two renames in one transaction.

Why a kill at any instant leaves the live database whole: a rename takes a lock under which nobody can sign in, and the
two renames with everything that goes along are one transaction. Until its commit the live database is the old one,
from it on the new one. Nothing is ever switched off that somebody would have to switch on again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from backstay.adapters.postgres import beside, carry, rights
from backstay.adapters.postgres.connection import environment, password
from backstay.adapters.postgres.loss import count
from backstay.adapters.postgres.session import Session, session
from backstay.domain.restore import Loss, Mark, mark_in, renamed
from backstay.domain.secret import Secret, redact
from backstay.errors import DatabaseError
from backstay.ports.cluster import Beside, Visitor

ANSWER_S: Final = 30.0
END_S: Final = 10.0
POLL_S: Final = 0.05
MAINTENANCE: Final = "postgres"
"""The database to work from: one cannot be renamed by who is signed in to it."""

_VISITORS: Final = """
SELECT pid, usename, application_name, coalesce(host(client_addr), '') FROM pg_stat_activity
WHERE datname = %s AND pid <> pg_backend_pid() AND backend_type <> 'autovacuum worker'"""


class PostgresClusters:
    """Implements ports.cluster.Clusters."""

    def at(self, admin: Secret, deployment: str) -> PostgresCluster:
        return PostgresCluster(admin, deployment)


class PostgresCluster:
    """The server of `admin`, a URL whose role may make databases. Our sessions carry the deployment's name."""

    def __init__(self, admin: Secret, deployment: str) -> None:
        self._admin = admin
        self._name = f"backstay {deployment}"

    def refuse_unfit(self, live: str) -> tuple[str, ...]:
        with self._session() as asked:
            return rights.refuse_unfit(asked, live)

    def settle(self, deployment: str) -> None:
        query = "SELECT pid FROM pg_stat_activity WHERE application_name = %s AND pid <> pg_backend_pid()"
        until = time.monotonic() + END_S
        with self._session() as asked:
            while pids := [row[0] for row in asked.rows(query, (f"backstay {deployment}",))]:
                for pid in pids:
                    asked.rows("SELECT pg_terminate_backend(%s)", (pid,))
                if time.monotonic() > until:
                    raise DatabaseError(
                        f"what an earlier process began for {deployment} still runs (backends {pids})",
                        hint="end them on the database server, then try again",
                    )
                time.sleep(POLL_S)

    def exists(self, database: str) -> bool:
        with self._session() as asked:
            return beside.exists(asked, database)

    def beside(self, live: str) -> list[Beside]:
        with self._session() as asked:
            found = beside.ours(asked)
        return sorted(
            (each for each in found if each.mark.live == live), key=lambda each: (each.mark.at, each.name)
        )

    def create(self, mark: Mark) -> None:
        with self._session() as asked:
            asked.rows(beside.creation(asked, mark.live, mark.name))
            _dress(asked, mark)

    def copy(self, mark: Mark, deadline_s: float) -> tuple[Visitor, ...]:
        with self._session(deadline_s) as working, self._session(deadline_s) as asked:
            statement = beside.copying(asked, mark.live, mark.name)
            ended = _alone_with((mark.live,), asked, lambda: working.rows(statement))
            _dress(asked, mark)
        return ended

    def swap(
        self, incoming: str, outgoing: Mark, writes: int | None, deadline_s: float
    ) -> tuple[Visitor, ...]:
        with self._session(deadline_s) as working, self._session(deadline_s) as asked:
            return _alone_with(
                (outgoing.live, incoming), asked, lambda: carry.swap(working, incoming, outgoing, writes)
            )

    def end(self, database: str) -> tuple[Visitor, ...]:
        ended: dict[int, Visitor] = {}
        until = time.monotonic() + END_S
        with self._session() as asked:
            while found := _end(asked, (database,)):
                ended |= found
                if time.monotonic() > until:
                    raise DatabaseError(
                        f"{database} is still used by {_named(found.values())}",
                        hint="end these sessions, or use a role that may (pg_signal_backend, or a superuser)",
                    )
                time.sleep(POLL_S)
        return tuple(ended.values())

    def writes(self, database: str) -> int | None:
        with self._session() as asked:
            return beside.writes(asked, database)

    def drop(self, mark: Mark) -> bool:
        with self._session() as working, self._session() as asked:
            if not beside.exists(asked, mark.name):
                return False
            comment = beside.comment(asked, mark.name)
            known = mark_in(comment)
            # Without any comment its maker was killed before it wrote one: the name is that of a deployment.
            if comment and (known is None or known.deployment != mark.deployment):
                raise DatabaseError(
                    f"the database {mark.name} does not carry our mark; it was left alone",
                    hint="look whose it is, and drop it by hand",
                )
            self._unsubscribe(asked, mark.name)
            statement = f"DROP DATABASE {beside.quoted(mark.name)}"
            _alone_with((mark.name,), asked, lambda: working.rows(statement))
        return True

    def loss(
        self,
        live: Secret,
        restored: Secret,
        tables: Sequence[str],
        deadline_s: float,
        stopped: Callable[[], bool],
    ) -> Loss:
        with _hiding(live), _hiding(restored):
            return count(live, restored, tables, deadline_s, stopped)

    def _unsubscribe(self, asked: Session, database: str) -> None:
        """Take the subscriptions out of a database of ours that nobody is to come back to."""
        if not (names := beside.subscriptions(asked, database)):
            return
        asked.rows(f"ALTER DATABASE {beside.quoted(database)} WITH ALLOW_CONNECTIONS true")
        with self._session(database=database) as inside:
            for name in names:
                beside.unsubscribe(inside, name)

    @contextmanager
    def _session(self, deadline_s: float = ANSWER_S, *, database: str | None = None) -> Iterator[Session]:
        """A session in our name; usually with a database that is neither the live one nor one beside it."""
        with (
            _hiding(self._admin),
            environment(renamed(self._admin, database or MAINTENANCE)) as env,
            session({**env, "PGAPPNAME": self._name}, deadline_s) as asked,
        ):
            yield asked


def _dress(asked: Session, mark: Mark) -> None:
    """Mark a new database as ours, and give it what the live one has beside its content: now, so that a right that is
    missing for it shows before anybody waits."""
    asked.rows(f"COMMENT ON DATABASE {beside.quoted(mark.name)} IS {beside.text(mark.as_comment())}")
    carry.over(asked, mark.live, mark.name)


def _alone_with(databases: Sequence[str], asked: Session, act: Callable[[], object]) -> tuple[Visitor, ...]:
    """Do `act`, a statement that wants these databases without sessions and lets nobody in while it works, and end
    meanwhile the sessions that are there; who they were.

    The statement waits five seconds for them (PostgreSQL, `CountOtherDBBackends`), then fails.
    """
    ended: dict[int, Visitor] = {}
    failed: list[BaseException] = []

    def work() -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001 - handed to who waits
            failed.append(error)

    job = threading.Thread(target=work, daemon=True)
    job.start()
    while job.is_alive():
        with suppress(DatabaseError):
            ended |= _end(asked, databases)
        job.join(POLL_S)
    if failed:
        raise failed[0]
    return tuple(ended.values())


def _end(asked: Session, databases: Iterable[str]) -> dict[int, Visitor]:
    """Ask everybody on these databases to leave; who they are, by pid."""
    found: dict[int, Visitor] = {}
    for database in databases:
        for pid, role, application, address in asked.rows(_VISITORS, (database,)):
            found[pid] = Visitor(role or "", application or "", address)
    for pid in found:
        with suppress(DatabaseError):  # one that may not be ended keeps the others from nothing
            asked.rows("SELECT pg_terminate_backend(%s)", (pid,))
    return found


def _named(visitors: Iterable[Visitor]) -> str:
    return ", ".join(sorted({str(visitor) for visitor in visitors}))


@contextmanager
def _hiding(url: Secret) -> Iterator[None]:
    """Keep the URL and its password out of whatever error leaves the block."""
    try:
        yield
    except DatabaseError as error:
        error.message = redact(error.message, [url, password(url)])
        error.args = (error.message,)
        raise
