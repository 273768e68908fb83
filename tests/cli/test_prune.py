"""`backstay backup prune`, `pin` and `copy`, with backups that are files of a few bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from backstay.adapters.postgres.manifest import sealed
from backstay.domain.backup import Backup, BackupKind, BackupState
from tests.cli.conftest import Backstay
from tests.config.samples import GOOD, written
from tests.store.samples import store_at

VERIFIED, UNVERIFIED = BackupState.VERIFIED, BackupState.UNVERIFIED


@pytest.fixture
def catalog(home: Path) -> Callable[..., list[Backup]]:
    """Puts backups into the catalog, each with its files: a state per backup, the oldest first."""

    def fill(*states: BackupState) -> list[Backup]:
        folder = home / "backups" / "dev"
        folder.mkdir(parents=True)
        rows = []
        for number, state in enumerate(states):
            name = f"shop_dev_20260301_1200{number:02d}000"
            file = folder / f"{name}.dump.zst"
            file.write_bytes(b"dump")
            entry = {"name": file.name, "bytes": 4, "sha256": "ab"}
            manifest = {"format": 2, "name": name, "files": {"dump": entry}}
            (folder / f"{name}.manifest.json").write_bytes(sealed(manifest))
            at = f"2026-03-01T12:00:{number:02d}.000Z"
            rows.append(
                Backup(name, "shop", "dev", at, BackupKind.LOGICAL, state, 4, str(file), "ab", "on demand")
            )
        with store_at(home / "state.db") as store:
            for row in rows:
                store.record_backup(row)
        return rows

    return fill


def listed(backstay: Backstay) -> list[str]:
    return [row["id"] for row in backstay("backup", "list", "dev", "--json").document]


class TestPruning:
    def test_a_dry_run_says_what_would_go_and_removes_nothing(
        self, backstay: Backstay, catalog: Callable[..., list[Backup]], home: Path
    ) -> None:
        rows = catalog(*[VERIFIED] * 12)
        before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
        said = backstay("backup", "prune", "dev", "--dry-run")
        assert said.status == 0 and f"would go: {rows[0].id} (verified, 4 bytes)" in said.err
        assert "2 backups would go, 8 bytes" in said.err
        assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before

    def test_it_removes_them_with_their_files(
        self, backstay: Backstay, catalog: Callable[..., list[Backup]]
    ) -> None:
        rows = catalog(*[VERIFIED] * 12)
        gone = backstay("backup", "prune", "dev", "--json")
        assert [row["id"] for row in gone.document] == [rows[0].id, rows[1].id]
        assert len(listed(backstay)) == 10
        assert not Path(rows[0].path).exists() and Path(rows[2].path).exists()
        assert len(list(Path(rows[0].path).parent.iterdir())) == 20
        assert "nothing to remove" in backstay("backup", "prune", "dev").err

    def test_without_a_verified_one_nothing_goes_unless_a_person_says_so(
        self, backstay: Backstay, catalog: Callable[..., list[Backup]]
    ) -> None:
        catalog(*[UNVERIFIED] * 12)
        said = backstay("backup", "prune", "dev")
        assert "2 old backups stay until a newer one is verified: backstay backup verify dev" in said.err
        assert len(listed(backstay)) == 12
        assert "2 backups removed" in backstay("backup", "prune", "dev", "--unverified").err
        assert len(listed(backstay)) == 10


class TestPinning:
    def test_a_pinned_one_outlives_all_others_until_it_is_let_go(
        self, backstay: Backstay, catalog: Callable[..., list[Backup]]
    ) -> None:
        rows = catalog(*[VERIFIED] * 12)
        assert f"{rows[0].id} is pinned" in backstay("backup", "pin", "dev", rows[0].id).err
        backstay("backup", "prune", "dev")
        assert listed(backstay)[-1] == rows[0].id
        assert "pinned" in backstay("backup", "list", "dev").out
        assert backstay("backup", "pin", "dev", rows[0].id, "--off", "--json").document["pinned"] is False
        backstay("backup", "prune", "dev")
        assert rows[0].id not in listed(backstay)

    def test_one_that_is_not_there_is_a_usage_error(self, backstay: Backstay) -> None:
        refused = backstay("backup", "pin", "dev", "nothing")
        assert refused.status == 2 and "there is no backup 'nothing' of dev" in refused.err
        assert "backstay backup list dev" in refused.err


class TestCopying:
    @pytest.fixture
    def configured(self, folder: Path) -> Callable[[str], None]:
        def write(command: str) -> None:
            line = "database: {url_secret: DATABASE_URL, "
            assert line[:10] in GOOD
            database = next(each for each in GOOD.splitlines() if each.startswith("database:"))
            new = f"database: {{url_secret: DATABASE_URL, copy: {{command: {command}}}}}"
            written(folder, GOOD.replace(database, new))

        return write

    def test_it_copies_what_has_no_copy_and_the_list_shows_it(
        self,
        backstay: Backstay,
        catalog: Callable[..., list[Backup]],
        configured: Callable[[str], None],
        tmp_path: Path,
    ) -> None:
        rows = catalog(VERIFIED, UNVERIFIED)
        configured(f"[cp, -r, '{{path}}', '{tmp_path}/{{name}}']")
        said = backstay("backup", "copy", "dev")
        assert said.status == 0 and said.err.count("copied elsewhere") == 2
        assert {path.name for path in tmp_path.iterdir()} >= {row.id for row in rows}
        assert "copied 20" in backstay("backup", "list", "dev").out
        assert backstay("backup", "copy", "dev", "--json").document == []

    def test_a_failure_is_30_and_costs_the_backup_nothing(
        self,
        backstay: Backstay,
        catalog: Callable[..., list[Backup]],
        configured: Callable[[str], None],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("backstay.pipeline.copy.WAITS_S", ())
        [row] = catalog(VERIFIED)
        configured("[sh, -c, 'echo no route >&2; exit 3; : {path}']")
        failed = backstay("backup", "copy", "dev", "--json")
        assert failed.status == 30
        assert failed.document[0]["id"] == row.id and Path(row.path).exists()
        said = backstay("backup", "list", "dev").out
        assert "not copied: sh failed (exit status 3): no route" in said

    def test_without_a_command_there_is_nothing_to_copy_with(self, backstay: Backstay) -> None:
        refused = backstay("backup", "copy", "dev")
        assert refused.status == 2 and "database: {copy:" in refused.err

    def test_a_command_that_does_not_say_where_the_path_goes_is_refused(
        self, backstay: Backstay, configured: Callable[[str], None]
    ) -> None:
        configured("[rclone, copy]")
        refused = backstay("backup", "copy", "dev")
        assert refused.status == 2 and "must have {path} in it" in refused.err


def test_what_somebody_should_look_at_is_marked(
    backstay: Backstay, catalog: Callable[..., list[Backup]], home: Path
) -> None:
    [row] = catalog(VERIFIED)
    with store_at(home / "state.db") as store:
        store.change_backup(row.id, alarm="it holds 0 rows, the one before it 9", encrypted=True)
        assert store.backups("shop", "dev") == [
            replace(row, alarm="it holds 0 rows, the one before it 9", encrypted=True)
        ]
    said = backstay("backup", "list", "dev").out
    assert "encrypted" in said and "LOOK: it holds 0 rows, the one before it 9" in said


class TestOnAnotherControlHost:
    """The files lie where the environment lives; who looked for them elsewhere would take them for lost."""

    @pytest.fixture
    def away(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("backstay.pipeline.home.elsewhere", lambda *_: "one")

    @pytest.mark.parametrize("words", [("prune",), ("verify",), ("create",), ("copy",)])
    def test_nothing_is_done_with_them(
        self,
        backstay: Backstay,
        catalog: Callable[..., list[Backup]],
        away: None,
        folder: Path,
        words: tuple[str],
    ) -> None:
        rows = catalog(*[VERIFIED] * 12)
        was, now = (
            "{url_secret: DATABASE_URL}",
            "{url_secret: DATABASE_URL, copy: {command: [cp, '{path}', away]}}",
        )
        assert was in GOOD
        written(folder, GOOD.replace(was, now))
        said = backstay("backup", *words, "dev")
        assert said.status == 2 and "dev of shop lives on control host one" in said.err
        assert all(Path(row.path).exists() for row in rows) and len(listed(backstay)) == 12

    def test_they_are_listed_as_they_are_on_record(
        self, backstay: Backstay, catalog: Callable[..., list[Backup]], away: None
    ) -> None:
        [row] = catalog(VERIFIED)
        Path(row.path).unlink()
        [shown] = backstay("backup", "list", "dev", "--json").document
        assert shown["state"] == "verified"
