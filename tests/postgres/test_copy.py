"""Copies elsewhere: whatever the command does, the backup stays whole, and the outcome is the truth."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from backstay.adapters.host import start_time
from backstay.adapters.postgres import PostgresTools
from backstay.adapters.postgres.files import Written
from backstay.adapters.postgres.manifest import sealed
from backstay.domain.secret import Secret
from backstay.errors import DatabaseError
from backstay.ports.database import CopyOrder, NameTaken
from tests.postgres.conftest import tool
from tests.world.processes import wait_until

TOOLS = PostgresTools()


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    """A backup as far as files go."""
    folder = tmp_path / "b"
    (folder / "x.base").mkdir(parents=True)
    files = {}
    for role, name in {"base": "x.base/base.tar.zst", "globals": "x.globals.sql"}.items():
        (folder / name).write_bytes(role.encode())
        files[role] = Written(folder / name, len(role), "")
    entries = {
        r: {"name": str(f.path.relative_to(folder)), "bytes": f.bytes, "sha256": ""} for r, f in files.items()
    }
    (folder / "x.manifest.json").write_bytes(sealed({"format": 2, "name": "x", "files": entries}))
    return folder / "x.base"


def copy(dump: Path, *command: str, **more: Any) -> None:
    TOOLS.copy(CopyOrder(dump, command, **more))


def left(dump: Path) -> list[str]:
    return sorted(path.name for path in dump.parent.iterdir())


WHOLE = ["x.base", "x.globals.sql", "x.manifest.json"]


def test_the_command_finds_all_files_in_one_folder_under_their_names(dump: Path, tmp_path: Path) -> None:
    copy(dump, "cp", "-r", "{path}", f"{tmp_path}/{{name}}")
    found = sorted(
        str(path.relative_to(tmp_path / "x")) for path in (tmp_path / "x").rglob("*") if path.is_file()
    )
    assert found == ["x.base/base.tar.zst", "x.globals.sql", "x.manifest.json"]
    assert left(dump) == WHOLE


def test_secrets_are_in_its_environment_and_nothing_of_ours_is(
    dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "hidden-one")
    monkeypatch.setenv("BACKSTAY_DATABASE_URL", "postgresql://u:hidden-one@db/d")
    copy(dump, "sh", "-c", f"env >{tmp_path}/env; : {{path}}", env={"RESTIC_PASSWORD": Secret("given-one")})
    seen = (tmp_path / "env").read_text()
    assert "RESTIC_PASSWORD=given-one" in seen and "hidden-one" not in seen


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'no route to remote' >&2; exit 3", r"^away failed \(exit status 3\): no route to remote$"),
        ("exit 1", r"away failed \(exit status 1\): it said nothing"),
        ("kill -9 $$", r"away failed \(was killed by signal 9\)"),
        ("echo login with given-one refused; exit 1", r"login with \[redacted\] refused"),
        ("rm -rf $1; exit 1", "exit status 1"),
    ],
)
def test_its_failure_is_told_and_costs_nothing(dump: Path, tmp_path: Path, script: str, message: str) -> None:
    program = tool(tmp_path / "bin", script, "away")
    with pytest.raises(DatabaseError, match=message):
        copy(dump, str(program), "{path}", env={"TOKEN": Secret("given-one")})
    assert left(dump) == WHOLE and (dump / "base.tar.zst").read_bytes() == b"base"


def test_one_that_hangs_ends_at_its_deadline_with_all_its_children(dump: Path, tmp_path: Path) -> None:
    program = tool(tmp_path / "bin", f"sleep 60 & echo $! >{tmp_path}/child; wait", "away")
    began = time.monotonic()
    with pytest.raises(DatabaseError, match=r"not done after 2 s"):
        copy(dump, str(program), "{path}", deadline_s=2)
    assert time.monotonic() - began < 20 and left(dump) == WHOLE
    child = int((tmp_path / "child").read_text())
    assert wait_until(lambda: start_time(child) is None, 10)


def test_one_that_is_not_there(dump: Path) -> None:
    with pytest.raises(DatabaseError, match="/no/such/rclone cannot be run: No such file") as told:
        copy(dump, "/no/such/rclone", "{path}")
    assert "database.copy" in (told.value.hint or "") and left(dump) == WHOLE


def test_two_at_once_copy_it_once(dump: Path) -> None:
    with pytest.raises(DatabaseError, match="stopped on request"):
        copy(dump, "sleep", "60", stopped=lambda: _refused(dump))
    assert left(dump) == WHOLE


def _refused(dump: Path) -> bool:
    with pytest.raises(NameTaken):
        copy(dump, "true")
    return True


def test_what_a_killed_one_left_is_swept_and_the_backup_is_not(dump: Path) -> None:
    from backstay.adapters.postgres.files import sweep

    staged = dump.with_name("x.copy.partial")
    staged.mkdir()
    os.link(dump / "base.tar.zst", staged / "base.tar.zst")
    sweep(dump.parent)
    assert left(dump) == WHOLE and (dump / "base.tar.zst").read_bytes() == b"base"
