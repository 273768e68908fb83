"""Back to a moment on a real server: a dropped table, a lost server, and WAL with a hole in it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pyrage
import pytest

from backstay.domain.backup import BackupKind, BackupLimits
from backstay.domain.wal import PARTIAL
from backstay.errors import BackupFailed
from backstay.pipeline.pitr import PitrOrder, backup_as_of
from backstay.ports.scratch import ScratchOrder
from tests.postgres.continuous import APP, ENV, Protected, asked
from tests.postgres.writers import Writers
from tests.world import World

pytestmark = pytest.mark.world


@pytest.fixture(scope="module")
def protected(world: World) -> Iterator[Protected]:
    """Receiving, with a base backup; the stories share it, the last one ends it."""
    with Protected(world) as made:
        made.keep_watching(every_s=0.2)
        made.base_backup()
        yield made


def test_a_dropped_table_comes_back_as_it_was_and_nothing_newer(protected: Protected) -> None:
    primary = protected.primary
    primary.query("CREATE TABLE orders (n int); INSERT INTO orders SELECT generate_series(1, 999)")
    primary.query("INSERT INTO orders VALUES (1000)")
    good = protected.now()
    time.sleep(0.05)
    primary.query("DROP TABLE orders; CREATE TABLE later (n int)")
    protected.has_arrived()

    recovered = protected.recovered(good)
    with recovered.server as server:
        assert asked(server.url("postgres"), "SELECT count(*) FROM orders") == "1000"
        assert asked(server.url("postgres"), "SELECT to_regclass('later') IS NULL") == "t"
        assert good - timedelta(seconds=30) <= recovered.moment <= good
    assert primary.query("SELECT count(*) FROM later") == "0", "the live server is as it was"

    for wrong in (good - timedelta(hours=1), good + timedelta(hours=1)):
        with pytest.raises(BackupFailed, match=r"is out of reach: what can be brought back is \S+ to \S+"):
            protected.recovered(wrong)


def test_a_moment_at_which_nothing_happened_any_more_comes_back_too(protected: Protected) -> None:
    """The server that replays never sees a commit after it, so cannot tell by itself that it has passed."""
    protected.primary.query("CREATE TABLE quiet (n int)")
    at = protected.now()
    protected.has_arrived()
    with protected.recovered(at, protected.copied()).server as server:
        assert asked(server.url("postgres"), "SELECT to_regclass('quiet') IS NOT NULL") == "t"


def test_a_backup_made_of_a_moment_is_encrypted_where_backups_are(protected: Protected) -> None:
    identity = pyrage.x25519.Identity.generate()
    scratch = ScratchOrder(APP, ENV, "pitr-encrypted", 15)
    order = PitrOrder(APP, ENV, None, protected.folder, scratch, recipients=(str(identity.to_public()),))
    backup = backup_as_of(protected.ports, order, protected.home / "encrypted", BackupLimits())
    assert backup.encrypted
    lying = [file for file in Path(backup.path).parent.iterdir() if ".manifest." not in file.name]
    assert lying and all(file.read_bytes().startswith(b"age-encryption.org/") for file in lying)


def test_a_base_backup_that_is_not_the_one_recorded_is_refused(protected: Protected) -> None:
    [base] = [b for b in protected.ports.store.backups(APP, ENV) if b.kind is BackupKind.PHYSICAL]
    protected.ports.store.change_backup(base.id, sha256="0" * 64)
    try:
        with pytest.raises(BackupFailed, match="could not be brought forward"):
            protected.recovered()
    finally:
        protected.ports.store.change_backup(base.id, sha256=base.sha256)


def committed_in_own_segment(protected: Protected, number: int) -> datetime:
    """A row in a segment of its own; the moment after it was committed, once all of it is here."""
    protected.primary.query(f"INSERT INTO rows VALUES ({number})")
    at = protected.now()
    protected.primary.query("SELECT pg_switch_wal()")
    protected.has_arrived()
    return at


def test_a_gap_is_told_truthfully_and_what_lies_before_it_comes_back(
    protected: Protected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backstay.adapters.postgres.wal_archive.MARK_EVERY", timedelta(0))
    protected.primary.query("CREATE TABLE rows (n int)")
    moments = [committed_in_own_segment(protected, n) for n in range(3)]
    [before] = protected.chains()
    assert before.until >= moments[2] and before.gap is None
    whole = [name for name in before.files if not name.endswith(PARTIAL)]
    for which, hole in (("in the middle", whole[-2]), ("the newest", whole[-1]), ("cut short", whole[-2])):
        folder = protected.copied()
        if which == "cut short":
            os.truncate(folder / hole, 8192)
        else:
            (folder / hole).unlink()
        [after] = protected.chains(folder)
        assert after.gap is not None and hole in after.gap, which
        assert after.until < moments[2] <= before.until
        with pytest.raises(BackupFailed, match="out of reach") as refused:
            protected.recovered(moments[2], folder)
        assert hole in (refused.value.hint or "")
        if which != "cut short":
            with protected.recovered(after.until, folder).server as server:
                rows = [
                    int(n) for n in asked(server.url("postgres"), "SELECT n FROM rows ORDER BY n").split()
                ]
            kept = [n for n, at in enumerate(moments) if at <= after.until]
            assert rows[: len(kept)] == kept and kept, which


def test_wal_that_was_changed_is_never_taken_for_what_it_was(
    protected: Protected, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All names and sizes are right: only the server that replays it finds out, and we that it came not far enough."""
    protected.primary.query("CREATE TABLE IF NOT EXISTS rows (n int)")
    committed_in_own_segment(protected, 7)
    folder = protected.copied()
    [found] = protected.chains(folder)
    with (folder / found.files[1]).open("r+b") as file:
        file.write(bytes(16 << 20))
    monkeypatch.setattr("backstay.pipeline.pitr.SLACK", timedelta(0))
    with pytest.raises(BackupFailed, match="the WAL is damaged"):
        protected.recovered(None, folder)


def test_a_server_that_is_lost_under_writes_loses_less_than_a_second_of_commits(protected: Protected) -> None:
    primary = protected.primary
    primary.query("CREATE TABLE work (n int)")
    writers = Writers(primary.url, 4)
    time.sleep(3)
    primary.kill()
    died = time.monotonic()
    writers.end()
    protected.stop_watching()

    began = time.monotonic()
    with protected.recovered().server as server:
        took_s = time.monotonic() - began
        there = {int(line) for line in asked(server.url("postgres"), "SELECT n FROM work").split()}
    lost = [at for at, value in writers.acknowledged if value not in there]
    lost_s = died - min(lost) if lost else 0.0
    print(
        f"{len(lost)} of {len(writers.acknowledged)} commits lost, {lost_s * 1000:.0f} ms; back in {took_s:.1f} s"
    )
    assert len(writers.acknowledged) > 500
    assert lost_s < 1
