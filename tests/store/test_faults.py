"""Whatever is wrong with the file: one StoreError that says what, why and what to do."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from backstay.adapters.store import open_reader
from backstay.adapters.store.location import file_system_of, located, refuse_network_file_system
from backstay.errors import StoreError, UsageError
from tests.store.samples import APP, ENV, begun, store_at


def refused(act: Callable[[], object], why: str) -> StoreError:
    with pytest.raises(StoreError, match=why) as caught:
        act()
    assert caught.value.hint
    assert "sqlalche" not in caught.value.message
    return caught.value


def filled(path: Path) -> None:
    with store_at(path) as store:
        token = begun(store).token
        for _ in range(20):
            store.tell(token, "d1", "told", "x" * 2000)


def test_a_file_that_is_something_else(path: Path) -> None:
    path.write_bytes(b"not a database at all\n" * 500)
    before = path.read_bytes()
    for act in (lambda: store_at(path), lambda: open_reader(path).history(APP, ENV)):
        error = refused(act, "is damaged or is not a state store")
        assert str(path) in error.message
        assert "put back a copy" in (error.hint or "")
    assert path.read_bytes() == before


def test_a_file_with_overwritten_pages(path: Path) -> None:
    filled(path)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))
    refused(lambda: open_reader(path).events("d1"), "the file is damaged")
    refused(lambda: store_at(path), "the file is damaged")


def test_a_file_cut_short(path: Path) -> None:
    filled(path)
    os.truncate(path, path.stat().st_size // 2)
    refused(lambda: open_reader(path).events("d1"), "the file is damaged")


@pytest.mark.parametrize("content", ["{", "[]", '{"live": "purple"}'])
def test_a_row_changed_by_hand(path: Path, content: str) -> None:
    with store_at(path) as store:
        begun(store)
    with closing(sqlite3.connect(path)) as database:
        database.execute(
            "UPDATE deployments SET extra = ?, settings = ?, state = 'asleep'", (content, content)
        )
        database.commit()
    reader = open_reader(path)
    refused(lambda: reader.environment_of("d1"), "holds a Environment that cannot be read")
    refused(lambda: reader.deployment("d1"), "holds a Deployment that cannot be read: .*asleep")
    if content != '{"live": "purple"}':
        refused(lambda: reader.snapshot("d1"), "cannot be read")


def test_a_store_somebody_keeps_locked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backstay.adapters.store.sqlite.BUSY_S", 0.2)
    with store_at(path) as holder, store_at(path) as other:
        token = begun(holder).token
        with holder.transaction():
            error = refused(lambda: other.tell(token, "d1", "told", "hello"), "locked for more than 10 s")
            assert "fuser" in (error.hint or "")
            assert len(other.events("d1")) == 1, "reading goes on"
        other.tell(token, "d1", "told", "hello")
        assert len(other.events("d1")) == 2


def test_a_folder_where_the_file_should_be(path: Path) -> None:
    path.mkdir()
    refused(lambda: store_at(path), "cannot be opened")
    refused(lambda: open_reader(path).history(APP, ENV), "cannot be opened")


def test_a_file_where_the_folder_should_be(folder: Path) -> None:
    (folder / "file").touch()
    refused(lambda: store_at(folder / "file" / "deep" / "state.db"), "the folder of the state store")


PREPARED = """
import sys
from pathlib import Path
from backstay.errors import StoreError, UsageError
from tests.store.samples import begun, store_at
path = Path(sys.argv[1])
def attempt(act):
    try:
        act()
        print("done")
    except StoreError as error:
        print(error.message, "|", error.hint)
"""


def in_own_mounts(setup: str, folder: Path, program: str) -> list[str]:
    """What `program` prints about a store in `folder`, where `setup` mounted something only it sees."""
    command = f'set -e; {setup}; exec "$2" -c "$3" "$1/state.db"'
    said = subprocess.run(
        ["unshare", "-m", "sh", "-c", command, "sh", str(folder), sys.executable, PREPARED + program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (said.returncode, said.stderr) == (0, "")
    return said.stdout.splitlines()


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")


@as_root
def test_a_full_disk_loses_nothing_and_works_again_once_there_is_space(folder: Path) -> None:
    lines = in_own_mounts(
        'mount -t tmpfs -o size=600k none "$1"',
        folder,
        """
store = store_at(path)
token = begun(store).token
written = 0
def fill():
    global written
    while True:
        store.tell(token, "d1", "told", "x" * 20000)
        written += 1
attempt(fill)
print([e.seq for e in store.events("d1")] == list(range(1, written + 2)))
import subprocess
subprocess.run(["mount", "-o", "remount,size=4m", str(path.parent)], check=True)
attempt(lambda: store.tell(token, "d1", "told", "again"))
""",
    )
    assert "cannot be written: the disk is full" in lines[0]
    assert "free some space" in lines[0]
    assert lines[1:] == ["True", "done"]


@as_root
def test_a_full_disk_before_the_store_is_made_leaves_no_half_store(folder: Path) -> None:
    lines = in_own_mounts(
        'mount -t tmpfs -o size=40k none "$1"',
        folder,
        """
attempt(lambda: store_at(path))
print(path.exists())
""",
    )
    assert "the disk is full" in lines[0]
    assert lines[1] == "False"


@as_root
def test_a_disk_without_room_for_the_files_beside_it_is_full_and_not_broken(folder: Path) -> None:
    """SQLite itself says "disk I/O error" then."""
    lines = in_own_mounts(
        'mount -t tmpfs -o size=4m none "$1"',
        folder,
        """
import os
with store_at(path) as store:
    begun(store)
for beside in path.parent.glob("state.db-*"):
    beside.unlink()
room = os.statvfs(path.parent)
(path.parent / "filler").write_bytes(b"x" * (room.f_bavail * room.f_frsize))
attempt(lambda: store_at(path))
""",
    )
    assert "the disk is full" in lines[0]
    assert "free some space" in lines[0]


@as_root
@pytest.mark.parametrize("exists", [True, False])
def test_a_disk_that_may_only_be_read(path: Path, exists: bool) -> None:
    if exists:
        filled(path)
    lines = in_own_mounts(
        'mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"',
        path.parent,
        "attempt(lambda: begun(store_at(path)))",
    )
    assert str(path) in lines[0]
    assert "mounted read-only" in lines[0]


MOUNTS = r"""
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:40 / /home rw - nfs4 server:/home rw,vers=4.2
31 30 0:41 / /home/with\040space rw shared:5 master:2 - xfs /dev/vdb rw
32 22 0:42 / /mnt rw - ext4 /dev/vdc rw
33 22 0:43 / /mnt rw - fuse.sshfs me@host: rw
""".strip()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/state.db", "ext4"),
        ("/home/anna/state.db", "nfs4"),
        ("/home/with space/state.db", "xfs"),
        ("/homely/state.db", "ext4"),
        ("/mnt/state.db", "fuse.sshfs"),
    ],
)
def test_the_file_system_is_that_of_the_deepest_and_latest_mount(path: str, kind: str) -> None:
    assert file_system_of(Path(path), MOUNTS) == kind


def test_a_network_file_system_is_refused(folder: Path) -> None:
    table = folder / "mountinfo"
    table.write_text(
        f"1 0 0:1 / / rw - ext4 /dev/vda rw\n2 1 0:2 / {folder.resolve()} rw - cifs //server/x rw\n"
    )
    error = refused(
        lambda: refuse_network_file_system(folder / "state.db", table), r"network file system \(cifs\)"
    )
    assert "BACKSTAY_STORE" in (error.hint or "")
    (folder / "link").symlink_to("/")
    refuse_network_file_system(folder / "link" / "state.db", table)
    refuse_network_file_system(folder / "state.db", folder / "missing")


def test_how_a_store_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    here = Path.cwd()
    assert located("sqlite:////srv/my%20state.db") == Path("/srv/my state.db")
    assert located("state.db") == here / "state.db"
    assert located(Path("/srv/a?b#c.db")) == Path("/srv/a?b#c.db")
    for wrong, why in (
        ("mysql://me:pw@host/db", "cannot be kept at a mysql:// URL"),
        ("", "does not name a file"),
    ):
        with pytest.raises(UsageError, match=why) as refused:
            located(wrong)
        assert "pw" not in str(refused.value) + str(refused.value.hint)


def test_odd_characters_in_the_path(folder: Path) -> None:
    path = folder / "a?mode=memory#%41 ü" / "state.db"
    with store_at(path) as store:
        begun(store)
    assert path.stat().st_size > 0
    assert len(open_reader(path).history(APP, ENV)) == 1
