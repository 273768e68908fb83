"""A rehearsal: what a release did to a copy of the database, and what that says about doing it in earnest.

Facts come from the pipeline; the verdict is decided here, from the facts alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from backstay.domain.duration import format_duration
from backstay.domain.smoke import CheckResult, failures
from backstay.domain.tables import NONE, Changes, names

SHOWN_SQL: Final = 120
"""So many characters of a statement stand in a sentence."""


class Outlook(StrEnum):
    """`COMPATIBLE`: the old release lives with the migrated database, so the application can go back.
    `BREAKING`: it does not, or visitors would wait too long; that takes a maintenance window.
    `FAILED`: the migration or the new release itself does not work."""

    COMPATIBLE = "compatible"
    BREAKING = "breaking"
    FAILED = "failed"


class Blocked(StrEnum):
    """Whom a lock on a table keeps waiting."""

    ALL = "readers and writers"
    WRITERS = "writers"


STRONG: Final = {
    "AccessExclusiveLock": Blocked.ALL,
    "ExclusiveLock": Blocked.WRITERS,
    "ShareRowExclusiveLock": Blocked.WRITERS,
    "ShareLock": Blocked.WRITERS,
}
"""The table locks that readers (ACCESS SHARE) or writers (ROW EXCLUSIVE) wait for, and who does."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement that a migration sent, as the server saw it. `took_s` is None when it was too short to be
    measured, `error` what the server answered when it refused it."""

    sql: str
    took_s: float | None = None
    error: str | None = None

    @property
    def shown(self) -> str:
        """On one line, cut to a length that fits into a sentence."""
        line = " ".join(self.sql.split())
        return line if len(line) <= SHOWN_SQL else line[: SHOWN_SQL - 1] + "…"


@dataclass(frozen=True, slots=True)
class Lock:
    """The longest time that one session held `mode` on an existing table, in seconds, and what it was doing when the
    lock was first seen. `rows` as the server estimates them. `waited_s`: how long our own reader or writer, who came
    by meanwhile, had to wait at worst."""

    table: str
    mode: str
    held_s: float
    statement: str
    rows: int | None = None
    waited_s: float = 0.0

    @property
    def blocks(self) -> Blocked:
        return STRONG[self.mode]

    def __str__(self) -> str:
        size = "" if self.rows is None else f" ({self.rows} rows)"
        held = format_duration(self.held_s)
        return f"{self.blocks} of {self.table}{size} wait {held} for: {Statement(self.statement).shown}"


@dataclass(frozen=True, slots=True)
class Trace:
    """What a migration did, seen from the server: its statements in order, and the strong locks on tables."""

    statements: tuple[Statement, ...] = ()
    locks: tuple[Lock, ...] = ()


@dataclass(frozen=True, slots=True)
class Lint:
    """What the linter says of a statement."""

    rule: str
    message: str
    sql: str = ""

    def __str__(self) -> str:
        return f"{self.rule}: {self.message}" + (f" ({Statement(self.sql).shown})" if self.sql else "")


@dataclass(frozen=True, slots=True)
class MigrationRun:
    """A component's migration, run once. `exit_code` is None when it did not end in time and was stopped."""

    component: str
    exit_code: int | None
    took_s: float
    last_words: str = ""
    trace: Trace = Trace()

    @property
    def fault(self) -> str | None:
        if self.exit_code is None:
            return f"the migration of {self.component} did not end within {format_duration(self.took_s)}"
        if self.exit_code == 0:
            return None
        return f"the migration of {self.component} ended with {self.exit_code}: {self._why}"

    @property
    def _why(self) -> str:
        """What the database refused, which tells more than the last line that happened to be printed."""
        refused = [each for each in self.trace.statements if each.error is not None]
        if refused:
            return f"{refused[-1].error} ({refused[-1].shown})"
        return self.last_words or "no output"

    @property
    def changes(self) -> tuple[Statement, ...]:
        """The statements of it that change the schema."""
        return tuple(s for s in self.trace.statements if is_schema_change(s.sql) and s.error is None)


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """All that was found out. None where it did not come to that, or there was nothing to try.

    `old` are the smoke tests of the old release on the migrated copy, `old_before` those on an unmigrated one: what
    fails there too (for want of a service outside) says nothing about the migration. `changes` are those of the
    tables that the old release knows, `unused` what people vouch for that it does not use.
    """

    migrated: tuple[MigrationRun, ...] = ()
    again: tuple[MigrationRun, ...] = ()
    new: tuple[CheckResult, ...] | None = None
    old: tuple[CheckResult, ...] | None = None
    old_before: tuple[CheckResult, ...] | None = None
    lints: tuple[Lint, ...] = ()
    changes: Changes = NONE
    unused: tuple[str, ...] = ()

    @property
    def taken(self) -> Changes:
        """The changes that nobody vouches for."""
        return Changes(self._unvouched(self.changes.gone), self._unvouched(self.changes.demanded))

    def _unvouched(self, changed: Iterable[str]) -> tuple[str, ...]:
        return tuple(each for each in changed if not any(names(unused, each) for unused in self.unused))


@dataclass(frozen=True, slots=True)
class LockLimits:
    """Seconds that visitors may wait for one table: longer than `long_s` is told, longer than `longest_s` breaks."""

    long_s: float = 1.0
    longest_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict, why, and what people should know although it changes nothing."""

    outlook: Outlook
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def rollback_is_safe(self) -> bool:
        return self.outlook is Outlook.COMPATIBLE


def judge(found: Rehearsed, limits: LockLimits) -> Judgement:
    """What the facts say. What fails outright comes before what breaks, and every reason of that rank is told."""
    warnings = tuple(_warnings(found, limits))
    if reasons := tuple(_faults(found)):
        return Judgement(Outlook.FAILED, reasons, warnings)
    if reasons := tuple(_breaks(found, limits)):
        return Judgement(Outlook.BREAKING, reasons, warnings)
    return Judgement(Outlook.COMPATIBLE, (), warnings)


def _faults(found: Rehearsed) -> Iterator[str]:
    yield from (run.fault for run in found.migrated if run.fault)
    for run in found.again:
        if run.fault:
            yield f"run a second time, {run.fault}"
    for check in failures(found.new or ()):
        yield f"the new release fails on the migrated copy: {check.id}: {check.detail}"


def _breaks(found: Rehearsed, limits: LockLimits) -> Iterator[str]:
    for check in _due_to_the_migration(found):
        yield f"the old release fails on the migrated copy: {check.id}: {check.detail}"
    for name in found.taken.gone:
        yield f"{name} is gone after the migration, and nothing proves that the old release does not use it"
    for name in found.taken.demanded:
        yield f"every new row must give {name} after the migration, and nothing proves that the old release makes none"
    for lock in locks_of(found):
        if lock.held_s > limits.longest_s:
            yield f"{lock} (longer than {format_duration(limits.longest_s)})"


def _warnings(found: Rehearsed, limits: LockLimits) -> Iterator[str]:
    for lock in locks_of(found):
        if limits.long_s < lock.held_s <= limits.longest_s:
            yield str(lock)
    for run in found.again:
        if run.changes:
            yield f"run a second time, the migration of {run.component} changes again: {run.changes[0].shown}"
    due = {check.id for check in _due_to_the_migration(found)}
    for check in failures(found.old or ()):
        if check.id not in due:
            yield f"the old release fails here before the migration too, which says nothing: {check.id}"
    for unused in found.unused:
        if not any(names(unused, each) for each in found.changes.all):
            yield f"{unused} was said to be unused, but the migration does not take it"
    yield from map(str, found.lints)


def _due_to_the_migration(found: Rehearsed) -> list[CheckResult]:
    """The old release's failures that the unmigrated copy does not show."""
    anyway = {check.id for check in failures(found.old_before or ())}
    return [check for check in failures(found.old or ()) if check.id not in anyway]


def locks_of(found: Rehearsed) -> list[Lock]:
    """The strong locks of all migrations, the longest first."""
    return sorted((lock for run in found.migrated for lock in run.trace.locks), key=lambda lock: -lock.held_s)


def statements_of(found: Rehearsed) -> list[Statement]:
    """What the migrations sent in their first run, in order."""
    return [statement for run in found.migrated for statement in run.trace.statements]


_CHANGES: Final = frozenset(
    {"create", "alter", "drop", "truncate", "rename", "comment", "reindex", "cluster"}
)


def is_schema_change(sql: str) -> bool:
    """Whether a statement changes the schema, told from its first word."""
    return first_word(sql) in _CHANGES


def first_word(sql: str) -> str:
    """The first word of a statement, lower case, after comments."""
    rest = sql.lstrip()
    while rest.startswith(("--", "/*")):
        rest = rest.partition("\n" if rest.startswith("--") else "*/")[2].lstrip()
    return rest.partition(" ")[0].partition("\n")[0].rstrip(";(").lower()


def as_document(found: Rehearsed, judged: Judgement) -> dict[str, Any]:
    """Verdict and facts as JSON: what the step journals, and `rehearse --json` prints."""
    return {
        "verdict": judged.outlook.value,
        "reasons": list(judged.reasons),
        "warnings": list(judged.warnings),
        "rollback_safe": judged.rollback_is_safe,
        "migrations": [_run(run) for run in found.migrated],
        "again": [_run(run) for run in found.again],
        "statements": [
            {"sql": each.shown, "took_s": each.took_s, "error": each.error} for each in statements_of(found)
        ],
        "locks": [_lock(lock) for lock in locks_of(found)],
        "gone": list(found.changes.gone),
        "demanded": list(found.changes.demanded),
        "unused": list(found.unused),
        "lint": [{"rule": each.rule, "message": each.message} for each in found.lints],
        "new": _checks(found.new),
        "old": _checks(found.old),
        "old_before": _checks(found.old_before),
    }


def _run(run: MigrationRun) -> dict[str, Any]:
    return {"component": run.component, "exit_code": run.exit_code, "took_s": round(run.took_s, 3)}


def _lock(lock: Lock) -> dict[str, Any]:
    return {
        "table": lock.table,
        "mode": lock.mode,
        "held_s": round(lock.held_s, 3),
        "waited_s": round(lock.waited_s, 3),
        "blocks": lock.blocks.value,
        "rows": lock.rows,
        "sql": Statement(lock.statement).shown,
    }


def _checks(results: Sequence[CheckResult] | None) -> list[dict[str, Any]] | None:
    if results is None:
        return None
    return [{"id": each.id, "ok": each.ok, "detail": each.detail} for each in results]


def longest(locks: Iterable[Lock]) -> tuple[Lock, ...]:
    """Of several looks at the same lock on the same table the longest one."""
    best: dict[tuple[str, str], Lock] = {}
    for lock in locks:
        known = best.get((lock.table, lock.mode))
        if known is None or lock.held_s > known.held_s:
            best[lock.table, lock.mode] = lock
    return tuple(best.values())
