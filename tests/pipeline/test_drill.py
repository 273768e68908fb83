"""Restore drills over doubles: what is chosen, what each part proves, and that evidence comes out of every failure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from backstay.domain.backup import Backup, BackupKind, BackupState
from backstay.domain.content import Content, TableContent
from backstay.domain.drill import Drill
from backstay.domain.environment import Environment
from backstay.domain.secret import Secret
from backstay.domain.smoke import Answer
from backstay.domain.wal import DEFAULT_SEGMENT_BYTES, PARTIAL, Base, Continuous, Mark, segment_name
from backstay.errors import UsageError
from backstay.pipeline.drill import RestoreDrill, as_document, drill_restore
from backstay.pipeline.rehearse import images_of
from backstay.pipeline.times import rfc3339
from backstay.testing import FakeWalFolder, FakeWalServer
from tests.pipeline.conftest import Town

FOLDER = Path("/wal/dev")


@dataclass
class Yard:
    """A deployed town and what a drill needs besides."""

    town: Town
    rpo_s: float = 900.0
    continuous: bool = False

    def __post_init__(self) -> None:
        town = self.town
        self.store, self.database, self.scratches = town.store, town.database, town.scratches
        self.engine, self.prober, self.linter, self.clock = town.engine, town.prober, town.linter, town.clock
        self.archive, self.server = FakeWalFolder(), FakeWalServer(town.clock)
        self.told: list[tuple[str, Any]] = []

    @property
    def environment(self) -> Environment:
        policy = replace(self.town.policy, rpo_s=self.rpo_s)
        continuous = Continuous("R") if self.continuous else None
        return replace(self.town.environment, policy=policy, continuous=continuous)

    def back_up(self, age_s: float = 0.0, kind: BackupKind = BackupKind.LOGICAL) -> Backup:
        at = self.clock.now() - timedelta(seconds=age_s)
        name = f"b{len(self.store.backups('shop', 'dev'))}"
        path = Path(f"/backups/{name}.dump")
        self.database.files[path] = 4
        content = Content({"public.t": TableContent(3, "7")}) if kind is BackupKind.LOGICAL else None
        self.database.contents[path] = content
        backup = Backup(
            name, "shop", "dev", rfc3339(at), kind, BackupState.UNVERIFIED, 4, str(path), "ab", "why",
            took_s=1.0, server_major=15,
        )  # fmt: skip
        self.store.record_backup(backup)
        return backup

    def drill(self, backup: str | None = None) -> Drill:
        serving = self.store.slots("shop", "dev").serving
        release = self.store.release(serving.release) if serving else None
        order = RestoreDrill(
            environment=self.environment,
            release=release,
            images=images_of(self.engine, release, None) if release else {},
            secrets={
                "DATABASE_URL": Secret("postgresql://u:hunter2secret@db/shop"), "KEY": Secret("k-123456"),
            },
            requested_by="ann@here",
            folder=FOLDER if self.continuous else None,
            backup=backup,
        )  # fmt: skip
        return drill_restore(self, order, lambda kind, message, **data: self.told.append((message, data)))


@pytest.fixture
def yard(town: Town) -> Yard:
    town.deploy("v1")
    for backup in town.store.backups("shop", "dev"):
        town.store.remove_backup(backup.id)
    return Yard(town)


def parts(drill: Drill) -> dict[str, bool | None]:
    return {proof.part: proof.ok for proof in drill.proofs}


def test_a_good_one_proves_every_part_and_leaves_nothing(yard: Yard) -> None:
    backup = yard.back_up(age_s=60)
    before = {container.id for container in yard.engine.find({})}
    drill = yard.drill()
    assert drill.ok, drill.summary
    assert [p for p, ok in parts(drill).items() if ok] == [
        "fresh",
        "restored",
        "verified",
        "booted",
        "smoked",
        "targets",
    ]
    assert (drill.subject, drill.release, drill.rpo_s) == (backup.id, "v1", 60)
    assert drill.rto_s is not None and drill.rto_target_s == yard.town.policy.rto_s
    assert {container.id for container in yard.engine.find({})} == before
    assert yard.scratches.left == {}


def test_the_newest_whole_backup_is_taken_never_a_failed_or_missing_one(yard: Yard) -> None:
    good = yard.back_up(age_s=300)
    gone = yard.back_up(age_s=100)
    del yard.database.files[Path(gone.path)]
    yard.store.record_backup(
        replace(good, id="b9", state=BackupState.FAILED, path="", created_at=rfc3339(yard.clock.now()))
    )
    assert yard.drill().subject == good.id


def test_an_old_backup_fails_however_well_it_is_restored(yard: Yard) -> None:
    yard.back_up(age_s=3600)
    drill = yard.drill()
    assert not drill.ok
    assert [part for part, ok in parts(drill).items() if ok is False] == ["fresh", "targets"]
    assert drill.rpo_s == 3600 and "1 h" in drill.summary


def test_a_named_backup_is_taken_though_newer_ones_are_there(yard: Yard) -> None:
    old = yard.back_up(age_s=3600)
    yard.back_up(age_s=60)
    assert yard.drill(old.id).subject == old.id
    with pytest.raises(UsageError, match="there is no backup 'b77' of dev"):
        yard.drill("b77")


def test_without_any_backup_there_is_nothing_to_drill(yard: Yard) -> None:
    with pytest.raises(UsageError, match="no backup to restore"):
        yard.drill()


def test_a_damaged_backup_is_evidence_of_a_failure(yard: Yard) -> None:
    backup = yard.back_up()
    yard.database.damaged[Path(backup.path)] = "base.tar.zst has 3 of 7 bytes"
    drill = yard.drill()
    assert not drill.ok and "base.tar.zst has 3 of 7 bytes" in drill.summary
    assert drill.rto_s is None and parts(drill)["restored"] is False
    assert yard.scratches.left == {}


def test_a_release_that_does_not_become_healthy_on_the_data_fails(yard: Yard) -> None:
    yard.back_up()
    yard.prober.answer = lambda port, path: Answer(503, took_s=0.01)
    drill = yard.drill()
    assert parts(drill)["booted"] is False and not drill.ok


def test_where_nothing_serves_the_data_alone_is_drilled(town: Town) -> None:
    yard = Yard(town)
    yard.back_up(age_s=10)
    drill = yard.drill()
    assert drill.ok and parts(drill)["booted"] is None and drill.rto_s is not None


class TestContinuous:
    @pytest.fixture
    def yard(self, yard: Yard) -> Yard:
        """A base of an hour ago, and WAL until ten seconds ago."""
        yard.continuous = True
        base = yard.back_up(age_s=3600, kind=BackupKind.PHYSICAL)
        at = yard.clock.now() - timedelta(seconds=3600)
        size = DEFAULT_SEGMENT_BYTES
        yard.archive.bases[base.id] = Base(base.id, 1, 2 * size, 2 * size + 40, at, at)
        yard.archive.files[FOLDER] = {
            segment_name(1, 2, size): size,
            segment_name(1, 3, size) + PARTIAL: size,
        }
        seen = yard.clock.now() - timedelta(seconds=10)
        yard.archive.marks[FOLDER] = [Mark(1, 3 * size + 900, seen)]
        yard.archive.stops_at = 3 * size + 1000
        yard.server.beats.append(yard.clock.now() - timedelta(seconds=50))
        return yard

    def test_the_data_is_as_new_as_the_wal(self, yard: Yard) -> None:
        drill = yard.drill()
        assert drill.ok, drill.summary
        assert drill.rpo_s == 10 and parts(drill)["canary"] is True
        [order] = [o for o in yard.scratches.orders if o.recovery]
        assert (
            order.recovery["recovery_target_timeline"] == "1" and "recovery_target_time" not in order.recovery
        )

    def test_a_newer_backup_than_the_wal_goes_before_it(self, yard: Yard) -> None:
        newer = yard.back_up(age_s=1)
        yard.server.beats[:] = [yard.clock.now()]
        assert yard.drill().subject == newer.id

    def test_a_canary_that_is_older_than_the_data_claims_to_be_fails(self, yard: Yard) -> None:
        """Somebody backs a copy up that nobody writes to any more: all is whole, equal, and useless."""
        yard.server.beats[:] = [yard.clock.now() - timedelta(hours=7)]
        drill = yard.drill()
        assert parts(drill)["canary"] is False and not drill.ok
        assert "older than the data claims" in drill.summary

    def test_a_canary_that_is_missing_fails(self, yard: Yard) -> None:
        yard.server.beats.clear()
        assert "no canary row was restored" in yard.drill().summary

    def test_wal_that_does_not_reach_as_far_as_it_should_fails(self, yard: Yard) -> None:
        yard.archive.stops_at = 2 * DEFAULT_SEGMENT_BYTES + 100
        drill = yard.drill()
        assert not drill.ok and "the WAL is damaged" in drill.summary


def test_the_document_has_the_trend(yard: Yard) -> None:
    yard.back_up()
    history: list[Drill] = []
    for _ in range(3):
        history.insert(0, yard.store.record_drill(yard.drill()))
    document = as_document(history[0], history)
    assert document["ok"] and len(document["trend"]["rto_s"]) == 3
    assert document["proofs"][0]["part"] == "fresh"


def test_no_secret_is_in_the_evidence(yard: Yard) -> None:
    yard.back_up()
    assert "hunter2secret" not in str(as_document(yard.drill(), [])) + str(yard.told)
