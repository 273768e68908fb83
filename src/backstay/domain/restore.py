"""Restoring a backup in place of the live database: may we, what would be lost, and what the databases are called.

Law 7: what was written since the backup is counted, in rows, and goes only when somebody has named that number.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from backstay.domain.backup import Backup, BackupState
from backstay.domain.content import Content, TableContent
from backstay.domain.secret import Secret
from backstay.domain.server import ServerFacts
from backstay.domain.wal import CANARY_TABLE

LONGEST_NAME: Final = 63
"""Bytes of a database's name in PostgreSQL; a longer one is silently cut."""

SHOWN: Final = 10
"""So many tables are named in a refusal, the rest as a number."""

_PLAIN: Final = frozenset(string.ascii_letters + string.digits + "_-.~")
"""What stands for itself in a URL."""

_NOTHING: Final = TableContent(0, "")


class Role(StrEnum):
    """Why a database stands beside the live one. `RESTORED`: a backup, on its way to become the live one. `BEFORE`:
    what was live, or a copy of it, before a restore or a migration. `FAILED`: what was live and was taken back."""

    RESTORED = "restored"
    BEFORE = "before"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Mark:
    """Whose a database beside the live one is; written as a comment on it. Nothing without one is ever dropped.

    `live` is the name of the database that it stands beside, `at` RFC 3339 UTC: when it got this role.
    """

    app: str
    environment: str
    deployment: str
    role: Role
    live: str
    at: str

    @property
    def name(self) -> str:
        """The database's name: `LIVE_ROLE_DEPLOYMENT`, never longer than PostgreSQL allows."""
        end = f"_{self.role}_{self.deployment.replace('-', '_')}"
        room = LONGEST_NAME - len(end.encode())
        return self.live.encode()[:room].decode(errors="ignore") + end

    def as_comment(self) -> str:
        given = {"app": self.app, "environment": self.environment, "deployment": self.deployment}
        return json.dumps({"backstay": {**given, "role": self.role.value, "live": self.live, "at": self.at}})


def mark_in(comment: str | None) -> Mark | None:
    """What `as_comment` wrote; None for any other comment."""
    try:
        given = json.loads(comment or "")["backstay"]
        return Mark(**{**given, "role": Role(given["role"])})
    except (KeyError, TypeError, ValueError):
        return None


def renamed(url: Secret, database: str) -> Secret:
    """The URL of another database of the same server."""
    server, slashes, rest = url.reveal().partition("://")
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    options = rest[rest.index("?") :] if "?" in rest else ""
    name = "".join(chr(byte) if chr(byte) in _PLAIN else f"%{byte:02X}" for byte in database.encode())
    return Secret(f"{server}{slashes}{host}/{name}{options}")


@dataclass(frozen=True, slots=True)
class Change:
    """Rows of one table: those that would go with the live database, and those that would come back."""

    going: int = 0
    coming: int = 0

    @property
    def rows(self) -> int:
        return self.going + self.coming


@dataclass(frozen=True, slots=True)
class Loss:
    """What replacing the live database would change, by table; only tables with a difference.

    A row that was changed since counts twice: its new version goes, its old one comes back.
    """

    tables: Mapping[str, Change] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return sum(change.rows for change in self.tables.values())

    def __str__(self) -> str:
        worst = sorted(self.tables.items(), key=lambda item: (-item[1].rows, item[0]))
        told = [f"{name} ({change.going} go, {change.coming} come back)" for name, change in worst[:SHOWN]]
        if len(worst) > SHOWN:
            told.append(f"and {len(worst) - SHOWN} more tables")
        return ", ".join(told) or "nothing"

    def as_json(self) -> dict[str, Any]:
        tables = {name: {"going": c.going, "coming": c.coming} for name, c in sorted(self.tables.items())}
        return {"rows": self.rows, "tables": tables}


def compare(live: Iterable[Any], restored: Iterable[Any]) -> Change:
    """Count what only one of two sorted streams has; equal items pair off one to one. Memory does not grow."""
    going = coming = 0
    ours, theirs = iter(live), iter(restored)
    mine, yours = next(ours, None), next(theirs, None)
    while mine is not None and yours is not None:
        if mine == yours:
            mine, yours = next(ours, None), next(theirs, None)
        elif mine < yours:
            going, mine = going + 1, next(ours, None)
        else:
            coming, yours = coming + 1, next(theirs, None)
    going += (mine is not None) + sum(1 for _ in ours)
    coming += (yours is not None) + sum(1 for _ in theirs)
    return Change(going, coming)


def differing(live: Content, restored: Content) -> tuple[str, ...]:
    """Tables whose rows are not surely the same in both, in order of their names. Our own canary row is left out."""
    names = sorted((live.tables.keys() | restored.tables.keys()) - {CANARY_TABLE})
    return tuple(name for name in names if live.tables.get(name) != restored.tables.get(name))


def least_rows(live: Content, restored: Content) -> Loss:
    """The least that a replacement would change, from numbers and checksums alone: nobody has compared rows yet."""
    tables = {}
    for name in differing(live, restored):
        have, want = live.tables.get(name, _NOTHING), restored.tables.get(name, _NOTHING)
        # Other checksums with as many rows: at least one row is another.
        changed = int(have.rows == want.rows and bool(have.checksum) and bool(want.checksum))
        change = Change(max(have.rows - want.rows, changed), max(want.rows - have.rows, changed))
        if change.rows:
            tables[name] = change
    return Loss(tables)


@dataclass(frozen=True, slots=True)
class Target:
    """The live database as it is asked: what the server says, and the backups of other environments that say that
    they were made of it (their environments' names)."""

    app: str
    environment: str
    facts: ServerFacts
    claimed_by: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why not, and what to do instead."""

    why: str
    hint: str


def refuse(backup: Backup, target: Target) -> Refusal | None:
    """Whether `backup` may take the place of the live database at all; None: it may.

    System identifier, database name, application and environment must agree, as far as they are known on both sides.
    """
    elsewhere = f"backstay backup restore {target.environment} {backup.id} --target URL restores it elsewhere"
    if why := _no_good(backup):
        return Refusal(why, f"backstay backup list {target.environment} shows which are good")
    if (backup.app, backup.environment) != (target.app, target.environment):
        return Refusal(f"it is a backup of {backup.app} {backup.environment}", elsewhere)
    if target.claimed_by:
        others = ", ".join(target.claimed_by)
        why = f"the database that {target.environment} is led to is the one of {others}, whose backups say so"
        return Refusal(why, f"mend the database URL of {target.environment}")
    if backup.database != target.facts.database:
        why = f"it is of the database {backup.database}, and the live one is {target.facts.database}"
        return Refusal(why, elsewhere)
    if backup.system_identifier != target.facts.system_identifier:
        here, there = _named(target.facts.system_identifier), _named(backup.system_identifier)
        return Refusal(f"it was made of {there}, and the database URL leads to {here}", elsewhere)
    if backup.server_major is not None and backup.server_major > target.facts.server_major:
        why = f"it is of PostgreSQL {backup.server_major}, the server is {target.facts.server_major}"
        return Refusal(why, elsewhere)
    if target.facts.in_recovery:
        return Refusal(
            "the database URL leads to a standby, which cannot be written", "use the primary's URL"
        )
    if not backup.content:
        why = "its manifest does not say what was in the database, so nobody could tell that the restore is whole"
        return Refusal(why, elsewhere)
    return None


def _no_good(backup: Backup) -> str | None:
    if backup.state in (BackupState.VERIFIED, BackupState.UNVERIFIED):
        return None
    return f"{backup.id} is {backup.state}: {backup.reason}"


def _named(identifier: str | None) -> str:
    return f"the server {identifier}" if identifier else "a server that does not tell its identifier"


def exceeds(loss: Loss, accepted: int | None) -> bool:
    """Whether more would go than somebody has named. Nothing is lost without being named."""
    return loss.rows > (accepted or 0)


def too_much(
    loss: Loss, accepted: int | None, environment: str, backup: str, transactions: int | None
) -> Refusal:
    """The refusal that names the number. `transactions`: how many the whole server has begun since at most."""
    at_most = "" if transactions is None else f", in at most {transactions} transactions of the whole server"
    said = f"--accept-loss {accepted} was given" if accepted is not None else "nobody accepted that"
    return Refusal(
        f"restoring {backup} would change {loss.rows} rows written since{at_most}: {loss}; {said}",
        f"backstay backup restore {environment} {backup} --accept-loss {loss.rows} accepts exactly that",
    )


def is_expired(mark: Mark, age_s: float, keep_s: float, *, is_under_way: bool) -> bool:
    """Whether a database beside the live one may go. `is_under_way`: its deployment has not ended.

    What was live, and what was taken back, stays for `keep_s` seconds: somebody may want to look, or go back. A
    restored one that its deployment left behind is the copy of a backup, and goes at once.
    """
    if is_under_way:
        return False
    return mark.role is Role.RESTORED or age_s > keep_s
