"""Copies of backups elsewhere: those without one are copied, newest first. A failure loses nothing and is tried
again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from backstay.domain.backup import WHOLE, Backup
from backstay.domain.environment import CopyCommand
from backstay.domain.secret import Secret
from backstay.errors import DatabaseError
from backstay.pipeline.prune import Teller
from backstay.pipeline.times import rfc3339
from backstay.ports.clock import Clock
from backstay.ports.database import CopyOrder, Database, NameTaken
from backstay.ports.store import Store

WAITS_S = (5.0, 30.0)
"""Before the second and the third attempt."""


class Ports(Protocol):
    """What a copy needs of the world."""

    @property
    def store(self) -> Store: ...
    @property
    def database(self) -> Database: ...
    @property
    def clock(self) -> Clock: ...


@dataclass(frozen=True, slots=True)
class Copying:
    """Whose backups to copy, and how. `secrets` are all of the environment's."""

    app: str
    environment: str
    command: CopyCommand
    secrets: Mapping[str, Secret]


def copy_all(
    ports: Ports, copying: Copying, tell: Teller, *, stopped: Callable[[], bool] = lambda: False
) -> list[Backup]:
    """Copy every whole backup that has no copy yet; those that have none in the end. Each outcome is in the catalog."""
    rows = ports.store.backups(copying.app, copying.environment)
    waiting = [row for row in rows if row.state in WHOLE and row.copied_at is None]
    return [row for row in waiting if not _copy(ports, copying, row, tell, stopped)]


def _copy(ports: Ports, copying: Copying, backup: Backup, tell: Teller, stopped: Callable[[], bool]) -> bool:
    order = CopyOrder(
        Path(backup.path),
        copying.command.command,
        {name: copying.secrets[name] for name in copying.command.secrets if name in copying.secrets},
        copying.command.deadline_s,
        stopped,
    )
    fault = ""
    for wait_s in (*WAITS_S, None):
        try:
            ports.database.copy(order)
        except NameTaken:
            return True  # somebody else does it just now
        except DatabaseError as error:
            fault = error.message
            if stopped() or wait_s is None:
                break
            ports.clock.sleep(wait_s)
            continue
        ports.store.change_backup(backup.id, copied_at=rfc3339(ports.clock.now()), copy_error=None)
        tell("backup_copied", f"{backup.id} copied elsewhere", backup=backup.id)
        return True
    ports.store.change_backup(backup.id, copy_error=fault)
    tell("backup_not_copied", f"{backup.id} was not copied elsewhere: {fault}", backup=backup.id)
    return False
