"""A reader leaves no trace, whatever state it finds the store in."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from itertools import count
from pathlib import Path

import pytest

from backstay.adapters.store import SqlReader, SqlStore, open_reader
from backstay.domain.deployment import Wish
from tests.store import racing, samples
from tests.store.samples import APP, ENV, begun, store_at


def trace(folder: Path) -> dict[str, tuple[int, str]]:
    """Time of change and content of the folder and every file in it, shared memory left out."""
    found = {".": (folder.stat().st_mtime_ns, "")}
    for file in folder.iterdir():
        if file.is_file() and not file.name.endswith("-shm"):
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            found[file.name] = (file.stat().st_mtime_ns, content)
    return found


def ask_everything(reader: SqlReader) -> None:
    assert [d.id for d in reader.history(APP, ENV)] == ["d1"]
    assert reader.deployment("d1") is not None
    assert reader.environment_of("d1") == samples.environment()
    assert reader.release(samples.release().id) == samples.release()
    assert reader.lease(APP, ENV) is not None
    assert len(reader.events("d1")) == 1
    assert reader.wish("d1") is None
    reader.steps("d1")
    reader.slots(APP, ENV)
    reader.backups(APP, ENV)
    reader.snapshot("d1")


def test_of_a_closed_store(path: Path) -> None:
    store = store_at(path)
    begun(store)
    store.close()
    before = trace(path.parent)
    assert "state.db-wal" not in before
    ask_everything(open_reader(path))
    assert trace(path.parent) == before


def test_of_a_store_in_use(file_store: SqlStore, path: Path) -> None:
    begun(file_store)
    before = trace(path.parent)
    assert "state.db-wal" in before
    ask_everything(open_reader(path))
    assert trace(path.parent) == before


def crash_while_writing(path: Path) -> None:
    process = racing.CONTEXT.Process(target=racing.begin_and_die, args=(path,))
    process.start()
    process.join(60)
    assert process.exitcode == 9
    assert path.with_name("state.db-wal").stat().st_size > 0


def test_of_a_store_whose_writer_was_killed(path: Path) -> None:
    crash_while_writing(path)
    before = trace(path.parent)
    ask_everything(open_reader(path))
    assert trace(path.parent) == before


def test_of_a_store_whose_host_was_cut_off(path: Path) -> None:
    """The log is there, the shared memory is not: SQLite would make it, the reader works on a copy."""
    crash_while_writing(path)
    path.with_name("state.db-shm").unlink()
    before = trace(path.parent)
    ask_everything(open_reader(path))
    assert trace(path.parent) == before
    assert not path.with_name("state.db-shm").exists()


def test_of_a_store_that_does_not_exist(folder: Path) -> None:
    before = trace(folder)
    missing = open_reader(folder / "deep" / "state.db")
    assert missing.history(APP, ENV) == []
    (folder / "file").touch()
    assert open_reader(folder / "file" / "state.db").history(APP, ENV) == []
    assert open_reader(folder / "file").lease(APP, ENV) is None, "an empty file is an empty store"
    (folder / "file").unlink()
    assert trace(folder).keys() == before.keys()


READ_ONLY_MOUNT = """
set -e
mount --bind "$1" "$1"
mount -o remount,bind,ro "$1"
! touch "$1/probe" 2>/dev/null
exec "$2" -c '
import sys
from backstay.adapters.store import open_reader
print([d.id for d in open_reader(sys.argv[1]).history("shop", "prod")])
' "$1/state.db"
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
@pytest.mark.parametrize("left", ["nothing", "log and memory", "log only"])
def test_in_a_folder_nobody_can_write(path: Path, left: str) -> None:
    if left == "nothing":
        store = store_at(path)
        begun(store)
        store.close()
    else:
        crash_while_writing(path)
        if left == "log only":
            path.with_name("state.db-shm").unlink()
    said = subprocess.run(
        ["unshare", "-m", "sh", "-c", READ_ONLY_MOUNT, "sh", str(path.parent), sys.executable],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (said.returncode, said.stdout, said.stderr) == (0, "['d1']\n", "")


def test_a_reader_sees_what_was_written_after_it_opened(path: Path) -> None:
    reader = open_reader(path)
    assert reader.deployment("d1") is None
    store = store_at(path)
    begun(store)
    assert reader.deployment("d1") is not None
    store.ask("d1", Wish.ABORT)
    store.close()
    assert reader.wish("d1") is Wish.ABORT
    store = store_at(path)
    store.ask("d1", Wish.ROLLBACK)
    assert reader.wish("d1") is Wish.ROLLBACK
    store.close()


def test_a_reader_never_stumbles_over_writers_that_come_and_go(path: Path) -> None:
    """Each opening and closing makes and removes the log, and moves its pages into the file."""
    store = store_at(path)
    token = begun(store).token
    store.close()
    stop = threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            with store_at(path) as writer:
                for _ in range(3):
                    writer.tell(token, "d1", "told", "x" * 3000)

    busy = threading.Thread(target=come_and_go)
    busy.start()
    try:
        reader = open_reader(path)
        seen = 0
        end = time.monotonic() + 60
        for look in count():
            events = reader.events("d1")
            assert [e.seq for e in events] == list(range(1, len(events) + 1))
            assert len(events) >= seen, "what was once read does not vanish"
            seen = len(events)
            if seen > 400 or (look >= 300 and seen > 10) or time.monotonic() > end:
                break
    finally:
        stop.set()
        busy.join()
    assert seen > 10
