"""A database taken out of a physical backup, over doubles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from backstay.domain.backup import Backup, BackupKind, BackupLimits, BackupState
from backstay.domain.secret import Secret
from backstay.errors import BackupFailed
from backstay.pipeline.backup import BackupOrder, back_up
from backstay.pipeline.extract import ExtractOrder, as_logical
from backstay.pipeline.verify import VerifyOrder
from tests.pipeline.conftest import Town


def quiet(kind: str, message: str, **data: object) -> None:
    return None


@pytest.fixture
def order(town: Town) -> BackupOrder:
    return BackupOrder(
        "shop",
        "dev",
        Secret("postgresql://db/shop"),
        town.folder,
        "nightly",
        10,
        BackupLimits(),
        kind=BackupKind.PHYSICAL,
    )


@pytest.fixture
def physical(town: Town, order: BackupOrder) -> Backup:
    return back_up(town.world, order, town.store.record_backup, quiet)


def extract(order: BackupOrder) -> ExtractOrder:
    return ExtractOrder(VerifyOrder("auto", BackupLimits()), order)


def test_it_is_a_logical_one_of_the_same_moment_and_enters_the_catalog(
    town: Town, physical: Backup, order: BackupOrder
) -> None:
    made = as_logical(town.world, physical, extract(order), quiet)
    assert made.kind is BackupKind.LOGICAL and made.id != physical.id
    assert made.created_at[:19] == physical.created_at[:19] and made.reason == f"out of {physical.id}"
    assert Path(made.path) in town.database.files
    rows = {row.id: row for row in town.store.backups("shop", "dev")}
    assert rows[made.id] == made
    assert rows[physical.id].state is BackupState.VERIFIED, "taking it out is a restore, which verifies it"
    assert town.database.orders[-1].url == town.scratches.servers[0].url("shop")
    assert town.scratches.left == {} and town.scratches.servers[0].closed


def test_a_logical_one_needs_nothing(town: Town, order: BackupOrder) -> None:
    made = back_up(town.world, replace(order, kind=BackupKind.LOGICAL), town.store.record_backup, quiet)
    assert as_logical(town.world, made, extract(order), quiet) is made
    assert town.scratches.servers == []


def test_a_damaged_one_gives_nothing(town: Town, physical: Backup, order: BackupOrder) -> None:
    town.database.damaged[Path(physical.path)] = "its SHA-256 is another"
    with pytest.raises(BackupFailed, match="its SHA-256 is another"):
        as_logical(town.world, physical, extract(order), quiet)
    assert [row.id for row in town.store.backups("shop", "dev")] == [physical.id]
    assert town.scratches.left == {}


def test_when_the_copy_cannot_be_dumped_nothing_is_left(
    town: Town, physical: Backup, order: BackupOrder
) -> None:
    town.database.fault = "pg_dump failed: no"
    with pytest.raises(BackupFailed, match=f"could not be taken out of {physical.id}: pg_dump failed"):
        as_logical(town.world, physical, extract(order), quiet)
    assert [row.id for row in town.store.backups("shop", "dev")] == [physical.id]
    assert town.scratches.left == {} and town.scratches.servers[0].closed
