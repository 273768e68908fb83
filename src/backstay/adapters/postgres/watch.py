"""Whether a tool still gets on: tells how far it is, and ends it when nothing comes, when time is up, or on request."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from backstay.domain.backup import BackupLimits, BackupProgress
from backstay.errors import DatabaseError

TICK_S: Final = 0.2


@dataclass(slots=True)
class Watch:
    """`job` and `tool` are for messages. `expected`: how many bytes will be read in all, None where nobody knows."""

    job: str
    tool: str
    database_bytes: int
    limits: BackupLimits
    stopped: Callable[[], bool]
    tell: Callable[[BackupProgress], None]
    expected: int | None = None
    began: float = field(default_factory=time.monotonic)
    _seen: object = None
    _since: float = field(default_factory=time.monotonic)

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.began

    @property
    def left_s(self) -> float:
        """Until the deadline; DatabaseError when it is over."""
        left_s = self.limits.deadline_s - self.elapsed_s
        if left_s <= 0:
            raise DatabaseError(
                f"the {self.job} was not done after {self.limits.deadline_s:g} s",
                hint="policy.backup_deadline gives it more time",
            )
        return left_s

    def look(self, written: int, read: int | None, *, moved: object = None) -> None:
        """To be called every TICK_S. `moved` is anything else that changes while it gets on. Raises DatabaseError."""
        if self.stopped():
            raise DatabaseError(f"the {self.job} was stopped on request")
        now = time.monotonic()
        if (seen := (written, read, moved)) != self._seen:
            self._seen, self._since = seen, now
        self.tell(BackupProgress(written, read, self.database_bytes, now - self.began, self.expected))
        if now - self._since > self.limits.stall_s:
            raise DatabaseError(
                f"{self.tool} made no progress for {self.limits.stall_s:g} s",
                hint="does the database hang? policy.backup_stall gives it more time",
            )
        _ = self.left_s

    def heed(self) -> None:
        """As `look`, where nothing shows how far it is: only wishes and the deadline count. Raises DatabaseError."""
        self.look(0, None, moved=time.monotonic())
