"""Which backups may go. Pure: a catalog in, a list of what may be removed out.

What holds whatever the catalog (tests/domain/test_retention.py tries to break each):

- a whole backup goes only when a newer verified one stays that raised no alarm;
- the newest verified one stays, and the newest `keep` verified ones, and the newest `keep` whole ones;
- of each of the last days with a verified one, the newest stays, so that many in an hour do not push all history out;
- what is pinned, in use, needed by a deployment that a way back leads to, or the parent of one that stays, stays;
- damaged ones stay: their disk may only not be mounted. They count for nothing, so they push no good one out either;
- while the server's own files are known to be damaged, nothing whole goes;
- the order is that of the entries, never that of a clock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from backstay.domain.backup import WHOLE, Backup, BackupKind, BackupState, age
from backstay.domain.deployment import Deployment
from backstay.domain.slot import Slots

KEEP_DAYS: Final = 7


@dataclass(frozen=True, slots=True)
class Protected:
    """What must stay whatever its age: the backups of `deployments` (ids), and `backups` (ids) that are being read or
    that a window of recovery needs."""

    deployments: Collection[str] = ()
    backups: Collection[str] = ()


def needed(slots: Slots, history: Iterable[Deployment]) -> frozenset[str]:
    """Deployments whose backups must stay, as a way back may lead to them.

    Those are the ones under way, those that filled a slot, and for the release in each slot the newest deployment
    that made a backup: a rollback, or a deploy of the same release, may have filled the slot since.
    """
    rows = list(history)
    found = {row.id for row in rows if not row.state.is_final}
    for mapping in slots.mappings.values():
        found.add(mapping.deployment)
        made = [row.id for row in rows if row.release == mapping.release and row.backup]
        found.update(made[-1:])
    return frozenset(found)


def to_prune(
    backups: Iterable[Backup], keep: int, protected: Protected = Protected(), *, unverified: bool = False
) -> tuple[Backup, ...]:
    """The backups of one environment that may go, oldest first. `keep` ≥ 1.

    `unverified`: a person allows that backups go though no newer one was ever verified; all else holds.
    """
    rows = sorted(backups, key=age, reverse=True)
    stay = _kept(rows, max(keep, 1), protected)
    proof = next((row for row in rows if _is_proof(row)), None)
    frozen = is_frozen(rows)

    def may_go(row: Backup) -> bool:
        if row.id in stay or row.state is BackupState.DAMAGED:
            return False
        if row.state not in WHOLE:
            return True
        return not frozen and (unverified or (proof is not None and age(proof) > age(row)))

    return _without_parents(rows, [row for row in reversed(rows) if may_go(row)])


def is_frozen(backups: Iterable[Backup]) -> bool:
    """Whether the server's own files were found damaged, and no physical backup has been verified since."""
    rows = list(backups)
    found = [age(row) for row in rows if row.state is BackupState.FAILED and row.alarm]
    mended = [age(row) for row in rows if row.kind is BackupKind.PHYSICAL and _is_proof(row)]
    return bool(found) and max(found) > max(mended, default=(-1, "", ""))


def waiting(backups: Iterable[Backup], keep: int, protected: Protected = Protected()) -> int:
    """How many would go if only a newer one were verified."""
    rows = list(backups)
    return len(to_prune(rows, keep, protected, unverified=True)) - len(to_prune(rows, keep, protected))


def _kept(rows: Sequence[Backup], keep: int, protected: Protected) -> set[str]:
    whole = [row for row in rows if row.state in WHOLE]
    verified = [row for row in whole if row.state is BackupState.VERIFIED]
    failed = [row for row in rows if row.state is BackupState.FAILED]
    # One with an alarm may be of a wrong or emptied database: it must not push out those that are not.
    sound = [row for row in whole if not row.alarm]
    chosen = [
        *whole[:keep],
        *sound[:keep],
        *verified[:keep],
        *[row for row in verified if not row.alarm][:keep],
    ]
    chosen += [*_of_each_day(verified), *failed[:keep]]
    stay = {row.id for row in chosen}
    stay |= {row.id for row in rows if row.pinned or row.deployment in protected.deployments}
    if is_frozen(rows):
        stay |= {row.id for row in failed if row.alarm}
    return stay | set(protected.backups)


def _of_each_day(verified: Sequence[Backup]) -> list[Backup]:
    """The newest of each of the last days on which there is one."""
    days: dict[str, Backup] = {}
    for row in verified:
        days.setdefault(row.created_at[:10], row)
    return [days[day] for day in sorted(days, reverse=True)[:KEEP_DAYS]]


def _without_parents(rows: Sequence[Backup], gone: Sequence[Backup]) -> tuple[Backup, ...]:
    """`gone` but for those that another one which stays is worth nothing without."""
    leaving = {row.id for row in gone}
    wanted = {row.id: row.parent for row in rows if row.id not in leaving}
    while held := {parent for parent in wanted.values() if parent in leaving}:
        leaving -= held
        wanted |= {row.id: row.parent for row in rows if row.id in held}
    return tuple(row for row in gone if row.id in leaving)


def _is_proof(row: Backup) -> bool:
    return row.state is BackupState.VERIFIED and not row.alarm
