"""The content of a database taken beside its dump, in the same snapshot."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from backstay.adapters.postgres.content import begin, sequences, take
from backstay.adapters.postgres.session import Session, session
from backstay.adapters.postgres.tools import ANSWER_S
from backstay.domain.backup import BackupKind, BackupLimits
from backstay.domain.content import Content
from backstay.errors import DatabaseError

NEXT: Final = (
    "SELECT txid_snapshot_xmin(txid_current_snapshot()), txid_snapshot_xmax(txid_current_snapshot())"
)


class Snapshot:
    """A transaction on a connection of its own, whose snapshot a dump imports by `id`. As a context manager it ends
    with the block. It must stay open until the dump has begun, and then costs what the dump's own transaction does.

    A physical backup imports none: it holds what is there at its end. So rows are only counted for it (its every byte
    is compared with the server's own list), and count only if nobody wrote from here to there.
    """

    def __init__(self, env: Mapping[str, str], limits: BackupLimits, kind: BackupKind) -> None:
        self._env = env
        self._is_physical = kind is BackupKind.PHYSICAL
        self._session = Session(env)
        try:
            begin(self._session, limits.deadline_s, limits.lock_wait_s)
            self._transactions = self._session.rows(NEXT)[0]
            self.id: str = self._session.value("SELECT pg_export_snapshot()")
            # A question that fails ends the savepoint, not the transaction, which the dump may not have met yet.
            self._session.rows("SAVEPOINT content")
        except BaseException:
            self._session.close()
            raise
        self._content: Content | None = None
        self._fault: DatabaseError | None = None
        self.done, self.of = 0, 0
        self._thread = threading.Thread(target=self._take, daemon=True)

    def __enter__(self) -> Snapshot:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread.is_alive():
            self._session.break_off()
            self._thread.join()
        self._session.close()

    @property
    def is_taken(self) -> bool:
        return not self._thread.is_alive()

    def content(self) -> Content:
        """The content, once it is taken; call it after the dump ended. DatabaseError when it could not be taken."""
        self._thread.join()
        if self._fault is not None or self._content is None:
            raise self._fault or DatabaseError("the content was not taken")
        if self._is_physical:
            # Recovery sets sequences forward, by what was fetched in advance.
            unknown = dict.fromkeys(self._content.sequences)
            return replace(self._content, sequences=unknown, exact=self._nobody_wrote())
        # What moved meanwhile, the dump may have seen at any of its values.
        now = sequences(self._session)
        seen = {
            name: value if now.get(name) == value else None for name, value in self._content.sequences.items()
        }
        return replace(self._content, sequences=seen)

    def _nobody_wrote(self) -> bool:
        """Whether no transaction on the whole server that writes was open then or began since."""
        with session(self._env, ANSWER_S) as asked:
            now = asked.rows(NEXT)[0]
        oldest, next_ = self._transactions
        return bool(oldest == next_ == now[1])

    def _take(self) -> None:
        try:
            self._content = take(
                self._session,
                checksums=not self._is_physical,
                unlogged=not self._is_physical,
                told=self._note,
            )
        except DatabaseError as error:
            self._fault = error
            with contextlib.suppress(DatabaseError):
                self._session.rows("ROLLBACK TO SAVEPOINT content")
        except BaseException as error:  # a thread's own end would be seen by nobody
            self._fault = DatabaseError(f"the content could not be taken: {type(error).__name__}")
            raise

    def _note(self, done: int, of: int) -> None:
        self.done, self.of = done, of
