"""Files appear whole or not at all, and what a dead writer left is told from what a living one writes."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from backstay.adapters.postgres import files
from backstay.adapters.postgres.files import draft, make_folder, settle, sweep
from backstay.errors import DatabaseError
from backstay.ports.database import NameTaken

DIES_WRITING = """
import os, signal, sys
from pathlib import Path
from backstay.adapters.postgres.files import draft
with draft(Path(sys.argv[1])) as made:
    made.write(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_nothing_has_its_name_before_it_is_settled(tmp_path: Path) -> None:
    with draft(tmp_path / "a") as one:
        one.write(b"who")
        one.write(b"le")
        sealed = one.seal()
        assert [path.name for path in tmp_path.iterdir()] == ["a.partial"]
        settle([one])
    assert (tmp_path / "a").read_bytes() == b"whole"
    assert (sealed.bytes, sealed.sha256) == (5, hashlib.sha256(b"whole").hexdigest())
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_one_that_is_not_settled_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), draft(tmp_path / "a") as one:
        one.write(b"half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_what_the_disk_changed_is_noticed(tmp_path: Path) -> None:
    with draft(tmp_path / "a") as one:
        one.write(b"whole")
        with one.partial.open("wb") as disk:
            disk.write(b"whale")
        one._file.flush = lambda: None  # type: ignore[method-assign]
        with pytest.raises(DatabaseError, match="is not what was written"):
            one.seal()


def test_one_name_has_one_writer(tmp_path: Path) -> None:
    with draft(tmp_path / "a") as one:
        with pytest.raises(NameTaken, match="being written"), draft(tmp_path / "a"):
            pass
        one.write(b"x")
        settle([one])
    with pytest.raises(NameTaken, match="is there already"), draft(tmp_path / "a"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_sweep_takes_what_a_killed_writer_left_and_no_more(tmp_path: Path) -> None:
    died = subprocess.run([sys.executable, "-c", DIES_WRITING, str(tmp_path / "dead")], check=False)
    assert died.returncode == -signal.SIGKILL and (tmp_path / "dead.partial").exists()
    (tmp_path / "whole").touch()
    with draft(tmp_path / "alive") as alive:
        sweep(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["alive.partial", "whole"]
        alive.write(b"x")
        settle([alive])
    assert (tmp_path / "alive").read_bytes() == b"x"


def test_when_one_of_several_cannot_be_named_none_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(folder: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(files, "_sync_folder", fails)
    with pytest.raises(OSError), draft(tmp_path / "a") as one, draft(tmp_path / "b") as two:
        settle([one, two])
    assert list(tmp_path.iterdir()) == []


def test_new_folders_are_for_the_owner_alone_and_old_ones_keep_their_mode(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir(mode=0o755)
    make_folder(tmp_path / "old" / "new" / "newer")
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in (tmp_path / "old").rglob("*")}
    assert modes == {"new": "0o700", "newer": "0o700"}
    assert (tmp_path / "old").stat().st_mode & 0o777 == 0o755


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError):
            make_folder(folder)
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
