"""Which backups may go. Pure: a catalog in, a list of what may be removed out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from backstay.domain.backup import WHOLE, Backup, BackupState, age
from backstay.domain.deployment import Deployment
from backstay.domain.slot import Slots


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
    backups: Iterable[Backup], keep: int, needed: Collection[str] = (), made: str | None = None
) -> tuple[Backup, ...]:
    """The backups of one environment that may go, oldest first. `needed` are ids of deployments, `keep` ≥ 1.

    `made` is the id of the backup that was just made: it stays although the clock may have jumped back.

    The newest `keep` whole ones stay, the newest `keep` verified ones too (so that unverified ones never push
    the last proven one out), and any that is pinned or belongs to a needed deployment. Failed entries are
    counted by themselves. A damaged one is never removed: its disk may only not be mounted, and it counts for
    nothing, so that it pushes no good one out either.
    """
    rows = sorted(backups, key=age, reverse=True)
    whole = [row for row in rows if row.state in WHOLE]
    verified = [row for row in whole if row.state is BackupState.VERIFIED]
    failed = [row for row in rows if row.state is BackupState.FAILED]
    stay = {row.id for row in _first(whole, keep) + _first(verified, keep) + _first(failed, keep)}
    stay |= {row.id for row in rows if row.pinned or row.deployment in needed or row.id == made}
    return tuple(row for row in reversed(rows) if row.id not in stay and row.state is not BackupState.DAMAGED)


def _first(rows: Sequence[Backup], keep: int) -> list[Backup]:
    return list(rows[: max(keep, 1)])
