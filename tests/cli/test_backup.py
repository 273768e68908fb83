"""`backstay backup` without a database that answers: targets, exit statuses, lists; and that no secret is shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from backstay.domain.backup import Backup, BackupKind, BackupState
from tests.cli.conftest import Backstay
from tests.config.samples import GOOD, written
from tests.store.samples import store_at

PASSWORD = "hunter2secret"
URL = f"postgresql://shop:{PASSWORD}@127.0.0.1:1/shop"


def row(number: int, home: Path, state: BackupState = BackupState.UNVERIFIED, size: int = 4) -> Backup:
    path = home / "backups" / "dev" / f"shop_dev_2026030{number}_120000000.dump.zst"
    at = f"2026-03-0{number}T12:00:00.000Z"
    return Backup(
        path.name.partition(".")[0],
        "shop",
        "dev",
        at,
        BackupKind.LOGICAL,
        state,
        size,
        str(path),
        "ab" * 32,
        "on demand",
    )


@pytest.fixture
def bare(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same folder without a backstay.yml."""
    (folder / "backstay.yml").unlink()
    return folder


class TestCreating:
    def test_a_database_that_is_down_is_30_and_in_the_list(self, backstay: Backstay) -> None:
        failed = backstay("backup", "create", "dev")
        assert failed.status == 30
        assert "error: the backup failed: psql failed: " in failed.err and "Connection refused" in failed.err
        assert "state: nothing was changed; no file is left" in failed.err and "next:" in failed.err
        [entry] = backstay("backup", "list", "dev", "--json").document
        assert (entry["state"], entry["path"], entry["bytes"]) == ("failed", None, 0)
        assert entry["reason"].startswith("on demand: psql failed: ")

    def test_with_json_only_json_is_on_standard_output(self, backstay: Backstay) -> None:
        failed = backstay("backup", "create", "dev", "--json")
        assert (failed.status, failed.document["exit_status"], failed.document["ok"]) == (30, 30, False)

    def test_no_secret_is_shown_or_kept(self, backstay: Backstay, home: Path) -> None:
        said = [backstay("backup", *words) for words in (("create", "dev"), ("list", "dev", "--json"))]
        assert PASSWORD not in "".join(one.out + one.err for one in said)
        kept = [path.read_bytes() for path in home.rglob("*") if path.is_file()]
        assert kept and not [data for data in kept if PASSWORD.encode() in data]

    def test_the_secret_is_missing(self, backstay: Backstay, folder: Path, home: Path) -> None:
        (folder / "dev.env").write_text("OTHER=1\n")
        failed = backstay("backup", "create", "dev")
        assert (
            failed.status == 2
            and "the secret DATABASE_URL, which is the database URL, is missing" in failed.err
        )
        assert str(folder / "dev.env") in failed.err and not home.exists()

    def test_the_url_is_none(self, backstay: Backstay, folder: Path) -> None:
        (folder / "dev.env").write_text(f"DATABASE_URL=mysql://u:{PASSWORD}@db/x\n")
        failed = backstay("backup", "create", "dev")
        assert (
            failed.status == 2
            and "not of the form postgresql://" in failed.err
            and PASSWORD not in failed.err
        )
        assert backstay("backup", "list", "dev", "--json").document == []

    def test_there_is_no_database(self, backstay: Backstay, folder: Path) -> None:
        kept = [line for line in GOOD.splitlines() if not line.startswith("database:")]
        written(folder, "\n".join(kept))
        failed = backstay("backup", "create", "dev")
        assert failed.status == 2 and "shop has no database" in failed.err

    def test_an_unknown_environment(self, backstay: Backstay) -> None:
        assert backstay("backup", "create", "nowhere").status == 2

    def test_the_url_of_the_environment_goes_first_and_that_is_told(
        self, backstay: Backstay, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BACKSTAY_DATABASE_URL", URL.replace("127.0.0.1:1", "127.0.0.1:2"))
        failed = backstay("backup", "create", "dev")
        assert "the database URL is taken from BACKSTAY_DATABASE_URL, not from" in failed.err
        assert "port 2" in failed.err


class TestWithoutAConfiguration:
    def test_application_and_url_come_from_the_environment(
        self, backstay: Backstay, bare: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BACKSTAY_DATABASE_URL", URL)
        monkeypatch.setenv("BACKSTAY_APP", "crm")
        assert backstay("backup", "create", "uat").status == 30
        [entry] = backstay("backup", "list", "uat", "--json").document
        assert (entry["app"], entry["environment"]) == ("crm", "uat") and entry["id"].startswith("crm_uat_")

    def test_the_application_is_called_app_when_nothing_is_said(
        self, backstay: Backstay, bare: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BACKSTAY_DATABASE_URL", URL)
        backstay("backup", "create", "uat")
        assert backstay("backup", "list", "uat", "--json").document[0]["app"] == "app"

    def test_without_a_url_it_says_which_variable(
        self, backstay: Backstay, bare: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BACKSTAY_APP", "crm")
        failed = backstay("backup", "create", "uat")
        assert failed.status == 2 and "set BACKSTAY_DATABASE_URL to postgresql://" in failed.err

    def test_with_nothing_at_all_the_configuration_is_missed(self, backstay: Backstay, bare: Path) -> None:
        assert backstay("backup", "list", "uat").status == 2

    @pytest.mark.parametrize("name", ["../../etc", "a/b", "Prod", "", "x" * 41, "-a"])
    def test_a_name_that_could_lead_elsewhere_is_refused(
        self, backstay: Backstay, bare: Path, home: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.setenv("BACKSTAY_DATABASE_URL", URL)
        assert backstay("backup", "create", "--", name).status == 2
        monkeypatch.setenv("BACKSTAY_APP", name or "/")
        assert backstay("backup", "create", "uat").status == 2
        assert not home.exists()


class TestListing:
    def test_nothing_yet(self, backstay: Backstay, home: Path) -> None:
        empty = backstay("backup", "list", "dev")
        assert (empty.status, empty.out) == (0, "") and "backstay backup create dev makes one" in empty.err
        assert backstay("backup", "list", "dev", "--json").document == []
        assert not home.exists(), "a list writes nothing"

    def test_newest_first_and_damage_is_seen(self, backstay: Backstay, home: Path) -> None:
        (home / "backups" / "dev").mkdir(parents=True)
        rows = [row(1, home), row(2, home), row(3, home), row(4, home, BackupState.FAILED, 0)]
        store = store_at(home / "state.db")
        for each in rows:
            store.record_backup(each)
        store.record_backup(replace(rows[0], id="other", environment="prod"))
        store.close()
        Path(rows[0].path).write_bytes(b"1234")
        Path(rows[1].path).write_bytes(b"123")
        before = (home / "state.db").read_bytes()
        listed = backstay("backup", "list", "dev", "--json").document
        assert [(b["id"][9:17], b["state"]) for b in listed] == [
            ("20260304", "failed"), ("20260303", "damaged"), ("20260302", "damaged"), ("20260301", "unverified"),
        ]  # fmt: skip
        assert set(listed[0]) >= {
            "id",
            "environment",
            "created_at",
            "kind",
            "bytes",
            "state",
            "pinned",
            "path",
            "reason",
        }
        assert listed[1]["reason"] == "its file is missing (on demand)"
        lines = backstay("backup", "list", "dev").out.splitlines()
        assert len(lines) == 4 and "its file has 3 bytes instead of 4" in lines[2]
        assert (home / "state.db").read_bytes() == before

    def test_it_works_with_a_file_that_is_broken_elsewhere(self, backstay: Backstay, folder: Path) -> None:
        written(folder, GOOD + "unknown_key: 1\n")
        assert backstay("backup", "list", "dev").status == 0
        assert backstay("backup", "create", "dev").status == 2


class TestRestoringElsewhere:
    """With a URL that is none, or a server that does not answer, nothing is begun, and that is said."""

    @pytest.fixture
    def backup(self, home: Path) -> str:
        made = row(1, home)
        path = Path(made.path)
        path.parent.mkdir(parents=True)
        path.write_bytes(b"1234")
        store = store_at(home / "state.db")
        store.record_backup(made)
        store.close()
        return made.id

    @pytest.mark.parametrize(
        "target", ["nonsense", "", "mysql://u:p@h/x", "postgresql://h", "postgresql://[h/x"]
    )
    def test_what_is_no_url_is_named_by_its_option(
        self, backstay: Backstay, backup: str, target: str
    ) -> None:
        refused = backstay("backup", "restore", "dev", backup, "--target", target)
        assert refused.status == 2 and "error: --target is no URL of a database" in refused.err
        assert "state: nothing was changed" in refused.err and "in --target" in refused.err

    def test_of_a_secret_its_own_name_is_told(self, backstay: Backstay, folder: Path, backup: str) -> None:
        secrets = folder / "dev.env"
        secrets.write_text(secrets.read_text() + f"SPARE={PASSWORD}\nODD={URL}?service={PASSWORD}\n")
        refused = backstay("backup", "restore", "dev", backup, "--target", "secret:SPARE")
        assert refused.status == 2 and "error: the secret SPARE is no URL of a database" in refused.err
        assert "in the secret SPARE" in refused.err and PASSWORD not in refused.err
        odd = backstay("backup", "restore", "dev", backup, "--target", "secret:ODD")
        assert odd.status == 2 and "the secret ODD: the database URL says 'service'" in odd.err
        assert "state: nothing was changed" in odd.err and "next:  mend the secret ODD" in odd.err
        assert PASSWORD not in odd.err

    def test_a_server_that_does_not_answer_leaves_nothing_to_drop(
        self, backstay: Backstay, backup: str
    ) -> None:
        failed = backstay("backup", "restore", "dev", backup, "--target", URL)
        assert failed.status == 30 and "state: nothing was changed" in failed.err and "drop" not in failed.err


@pytest.mark.parametrize(("words", "said", "following"), [
    (("verify", "dev", "b1", "--all"), "it is one or the other", "backstay backup verify dev b1"),
    (("restore", "dev", "b1", "--at", "2026-03-01T12:00:00Z"), "it is one or the other", "restore dev b1 is that"),
    (("restore", "dev", "b1", "--target", URL, "--dry-run"), "--target goes with none of", "leave them out"),
    (("restore", "dev"), "name a backup, or a moment by --at", "backstay backup list dev"),
])  # fmt: skip
def test_what_does_not_go_together_is_told_with_what_does(
    backstay: Backstay, words: tuple[str, ...], said: str, following: str
) -> None:
    refused = backstay("backup", *words)
    assert refused.status == 2 and said in refused.err
    assert following in refused.err.partition("next:  ")[2]
