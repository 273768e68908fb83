"""The store's file is damaged, emptied, or gone, before a deploy and in the middle of one."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash.aftermath import answer, assert_whole
from tests.faults.matrix import seen
from tests.faults.scene import ended, kill, pair, switched, told
from tests.load.control import Load
from tests.page import Page
from tests.page.looks import worker

pytestmark = pytest.mark.world


def files(page: Page) -> list[Path]:
    return list((page.folder / "h").glob("state.db*"))


def keep(page: Page) -> Callable[[], None]:
    """Copies the store as it is; the function that is returned puts the copy back."""
    kept = page.folder / "kept"
    kept.mkdir()
    for file in files(page):
        shutil.copy2(file, kept / file.name)

    def put_back() -> None:
        for file in files(page):
            file.unlink()
        for file in kept.iterdir():
            shutil.copy2(file, page.folder / "h" / file.name)
        shutil.rmtree(kept)

    return put_back


def scribble(page: Page) -> None:
    """Damage every page of the database but the first."""
    file = page.folder / "h" / "state.db"
    size = file.stat().st_size
    with file.open("r+b") as stream:
        stream.seek(4096)
        stream.write(b"\xa5" * (size - 4096))


def scribble_head(page: Page) -> None:
    with (page.folder / "h" / "state.db").open("r+b") as stream:
        stream.write(b"\xa5" * 4096)


def empty(page: Page) -> None:
    (page.folder / "h" / "state.db").write_bytes(b"")


def remove(page: Page) -> None:
    for file in files(page):
        file.unlink()


DAMAGES = {"damaged": scribble, "damaged in its head": scribble_head, "emptied": empty, "removed": remove}


@pytest.mark.parametrize(
    "how",
    [
        "damaged",
        "removed",
        *(pytest.param(how, marks=pytest.mark.long) for how in ("damaged in its head", "emptied")),
    ],
)
def test_without_a_sound_store_nothing_is_touched(page: Page, how: str) -> None:
    live, other = pair(page)
    before = set(page.containers())
    with page.load() as load:
        load.until(lambda so_far: so_far.requests > 20)
        put_back = keep(page)
        DAMAGES[how](page)
        began = time.monotonic()
        refused = page.deploy(other)
        took = time.monotonic() - began
        if how in ("emptied", "removed"):  # its successor's token would have passed the router's in the end
            refused = page.deploy(other)
            assert "knows of nothing that is live" in told(refused), told(refused)
        looked = page.run("status", "dev")
        assert answer(page.port) == live
        assert set(page.containers()) >= before, "what serves and what is warm was not removed"
        put_back()
        healed = page.run("recover", "dev", "--json")
        again = page.deploy(other)
        report = load.stop()
    seen(f"state store {how}", report, whole_s=took, status=refused.status, said=told(refused))
    assert refused.status not in (0, 1), refused
    assert "Traceback" not in refused.err + looked.err
    assert healed.status == 0, healed.err
    assert ended(again) == (0, "succeeded"), told(again)
    assert report.failed == 0, report.table()
    assert assert_whole(page) == other


def test_a_store_damaged_in_the_bake_leaves_one_version_serving(page: Page) -> None:
    live, other = pair(page)
    page.configure(bake="20s")
    with page.load() as load:
        load.until(lambda so_far: so_far.requests > 20)
        switched(page, other)
        pid = worker(page)
        put_back = keep(page)
        scribble(page)
        gave_up = _ends(pid, load)
        refused = page.deploy(live)
        put_back()
        began = time.monotonic()
        healed = page.run("recover", "dev", "--json")
        took = time.monotonic() - began
        report = load.stop()
    page.configure(**page.usual)
    seen(
        "state store damaged in the bake, then put back and `recover`",
        report,
        whole_s=took,
        status=healed.status,
        said=f"{gave_up}; a deploy says: {told(refused)}",
    )
    assert refused.status not in (0, 1) and "Traceback" not in refused.err
    assert healed.status in (0, 20), healed.err
    assert report.failed == 0, report.table()
    assert_whole(page)


def _ends(pid: int, load: Load, seconds: float = 10) -> str:
    """How long the worker goes on; one that does not notice by itself is killed."""
    began = time.monotonic()
    while Path(f"/proc/{pid}").exists():
        if time.monotonic() - began > seconds:
            kill(pid)
            return f"the worker had not noticed after {seconds:g} s"
        time.sleep(0.1)
    return f"the worker gives up after {time.monotonic() - began:.1f} s"
