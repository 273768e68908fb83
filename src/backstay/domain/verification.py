"""What a restore of a backup proved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from backstay.domain.backup import BackupKind, BackupState
from backstay.domain.content import Content, differences, notes


@dataclass(frozen=True, slots=True)
class Verification:
    """`state` is what the catalog says from now on. `rows`, `tables` and `checksums` count what was compared and found
    equal or not; `differences` what was not; `reason` says why it is not verified. `took_s` from the first byte read.
    """

    backup: str
    state: BackupState
    kind: BackupKind = BackupKind.LOGICAL
    tables: int = 0
    rows: int = 0
    checksums: int = 0
    differences: tuple[str, ...] = ()
    reason: str | None = None
    took_s: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return self.state is BackupState.VERIFIED

    def as_document(self) -> dict[str, Any]:
        return {
            "id": self.backup,
            "ok": self.ok,
            "state": self.state.value,
            "kind": self.kind.value,
            "tables": self.tables,
            "rows": self.rows,
            "checksums": self.checksums,
            "differences": list(self.differences),
            "reason": self.reason,
            "took_s": round(self.took_s, 3),
            "notes": list(self.notes),
        }


def compared(
    backup: str, expected: Content | None, found: Content, *, with_owners: bool, took_s: float
) -> Verification:
    """What comparing says. Without a content in the manifest a restore that went well proves little: the backup stays
    unverified. `with_owners` False leaves out what a server without the source's roles cannot have."""
    if expected is None:
        return Verification(
            backup,
            BackupState.UNVERIFIED,
            tables=len(found.tables),
            rows=found.rows,
            reason="it was restored, but its manifest does not say what must be in it",
            took_s=took_s,
        )
    told = differences(expected, found, () if with_owners else OF_ROLES)
    sums = expected.exact and found.exact
    return Verification(
        backup,
        BackupState.DAMAGED if told else BackupState.VERIFIED,
        tables=len(expected.tables),
        rows=found.rows,
        checksums=sum(1 for t in expected.tables.values() if t.checksum) if sums else 0,
        differences=told,
        reason=f"what was restored is not what was dumped: {told[0]}" if told else None,
        took_s=took_s,
        notes=notes(expected, found),
    )


OF_ROLES = ("owners", "privileges")
"""Kinds of objects that speak of roles."""
