"""A backup is verified by a real restore and nothing less; what was found out is in the catalog."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from backstay.domain.backup import Backup, BackupKind, BackupLimits, BackupState
from backstay.domain.content import Content, TableContent
from backstay.domain.secret import Secret
from backstay.errors import BackupFailed
from backstay.pipeline.backup import BackupOrder, back_up
from backstay.pipeline.verify import NotVerified, VerifyOrder, restored, scratch_order, verify
from backstay.ports.database import RestoreOrder
from tests.pipeline.conftest import Town

ORDER = VerifyOrder("auto", BackupLimits())


@pytest.fixture
def backup(town: Town) -> Backup:
    order = BackupOrder(
        "shop",
        "dev",
        Secret("postgresql://u:hunter2secret@db/shop"),
        town.folder,
        "for a test",
        10,
        BackupLimits(),
    )
    return back_up(town.world, order, town.store.record_backup, lambda kind, message, **data: None)


def state(town: Town, backup: Backup) -> Backup:
    [found] = [each for each in town.store.backups("shop", "dev") if each.id == backup.id]
    return found


def test_a_backup_is_verified_when_its_copy_is_the_same(town: Town, backup: Backup) -> None:
    assert state(town, backup).state is BackupState.UNVERIFIED
    found = verify(town.world, backup, ORDER)
    assert (found.ok, found.tables, found.rows, found.checksums) == (True, 1, 3, 1)
    entry = state(town, backup)
    assert entry.state is BackupState.VERIFIED
    assert entry.verified_at
    [restore] = town.database.restores
    assert (restore.roles, restore.owners, restore.sha256) == (
        False,
        False,
        backup.sha256,
    )  # it has no globals
    assert town.scratches.left == {}
    assert town.scratches.servers[0].closed


def test_a_copy_that_differs_makes_it_damaged_and_says_in_what(town: Town, backup: Backup) -> None:
    town.database.contents[Path(backup.path)] = Content({"public.t": TableContent(4, "7")})

    def restore(order: RestoreOrder) -> tuple[str, ...]:
        town.database.holds[order.into.reveal()] = Content({"public.t": TableContent(3, "7")})
        return ()

    town.database.restore = restore  # type: ignore[method-assign]
    found = verify(town.world, backup, ORDER)
    assert not found.ok
    assert found.differences == ("public.t has 3 rows instead of 4",)
    entry = state(town, backup)
    assert entry.state is BackupState.DAMAGED
    assert "public.t has 3 rows instead of 4" in entry.reason
    assert "for a test" in entry.reason


def test_damage_on_the_disk_is_damage_in_the_catalog(town: Town, backup: Backup) -> None:
    town.database.damaged[Path(backup.path)] = "a.dump is not what was written"
    found = verify(town.world, backup, ORDER)
    assert (found.state, found.reason) == (BackupState.DAMAGED, "a.dump is not what was written")
    assert state(town, backup).state is BackupState.DAMAGED
    assert town.scratches.left == {}


def test_what_cannot_be_tried_says_nothing_about_the_backup(town: Town, backup: Backup) -> None:
    town.scratches.fault = "a scratch server of PostgreSQL 15 is needed, but none is installed here"
    with pytest.raises(BackupFailed, match="none is installed") as told:
        verify(town.world, backup, ORDER)
    assert told.value.state
    assert state(town, backup) == backup


def test_a_content_that_nobody_took_cannot_be_compared(town: Town, backup: Backup) -> None:
    town.database.contents[Path(backup.path)] = None
    found = verify(town.world, backup, ORDER)
    assert (found.state, found.reason) == (
        BackupState.UNVERIFIED, "it was restored, but its manifest does not say what must be in it",
    )  # fmt: skip
    assert state(town, backup).state is BackupState.UNVERIFIED


def test_nobody_removes_it_meanwhile(town: Town, backup: Backup) -> None:
    with restored(town.world, backup, scratch_order(backup, "auto"), ORDER) as copy:
        assert town.database.is_read(Path(backup.path))
        assert copy.verification.ok
        assert list(town.scratches.left)
    assert not town.database.is_read(Path(backup.path))


def test_a_fault_of_whoever_uses_the_copy_is_theirs_and_leaves_nothing(town: Town, backup: Backup) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        restored(town.world, backup, scratch_order(backup, "auto"), ORDER),
    ):
        raise ZeroDivisionError
    assert town.scratches.left == {}
    assert state(town, backup).state is BackupState.VERIFIED


def test_a_physical_backup_becomes_a_server_of_its_own(town: Town, backup: Backup) -> None:
    physical = replace(backup, kind=BackupKind.PHYSICAL)
    assert verify(town.world, physical, VerifyOrder("url:SCRATCH", BackupLimits())).ok
    [(dump, into)] = town.database.unpacked
    [order] = town.scratches.orders
    assert (dump, into) == (Path(backup.path), order.data)
    assert order.where == "auto"
    assert town.database.restores == []


def test_what_is_stopped_is_neither_verified_nor_damaged(town: Town, backup: Backup) -> None:
    with pytest.raises(BackupFailed, match="stopped on request"):
        verify(town.world, backup, replace(ORDER, stopped=lambda: True))
    assert state(town, backup).state is BackupState.UNVERIFIED
    assert town.scratches.left == {}


def test_a_failed_backup_has_nothing_to_verify(town: Town, backup: Backup) -> None:
    with pytest.raises(BackupFailed, match="has no file"):
        verify(town.world, replace(backup, path="", state=BackupState.FAILED), ORDER)


def test_every_verification_sweeps_first(town: Town, backup: Backup) -> None:
    town.scratches.left["shop-dev-dead"] = scratch_order(backup, "auto")
    town.scratches.left["shop-dev-dead"] = replace(town.scratches.left["shop-dev-dead"], name="shop-dev-dead")
    town.scratches.dead.add("shop-dev-dead")
    verify(town.world, backup, ORDER)
    assert town.scratches.left == {}


def test_not_verified_names_the_backup_and_what_next(town: Town, backup: Backup) -> None:
    town.database.damaged[Path(backup.path)] = "cut short"
    with (
        pytest.raises(NotVerified, match=f"{backup.id} is damaged: cut short") as told,
        restored(town.world, backup, scratch_order(backup, "auto"), ORDER),
    ):
        pass
    assert told.value.hint and told.value.state
