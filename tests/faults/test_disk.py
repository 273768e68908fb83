"""The disk of the state folder fills up or fails, before a deploy and in the middle of one."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.aftermath import answer, assert_whole
from tests.faults.matrix import seen
from tests.faults.scene import ended, fill, pair, switched, told, wait
from tests.page import Page
from tests.shop import workers_of
from tests.world import World

pytestmark = pytest.mark.world


class SmallDisk:
    """The disk on which a page keeps its state: a tmpfs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> SmallDisk:
        self.folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(self.folder)], check=True)
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "-l", str(self.folder)], check=True)
        shutil.rmtree(self.folder.parent)

    def fill(self) -> None:
        fill(self.folder)

    def clear(self) -> None:
        (self.folder / "filler").unlink()


class FailingDisk:
    """A disk of its own with ext4, which does what it does on most hosts when a write fails: it turns read-only, with
    all files open."""

    def __init__(self, folder: Path, image: Path) -> None:
        self.folder = folder
        self._image = image

    def __enter__(self) -> FailingDisk:
        self.folder.mkdir()
        self._mount(self._image)
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "-l", str(self.folder)], check=True)
        shutil.rmtree(self.folder.parent)

    def _mount(self, image: Path) -> None:
        with image.open("wb") as file:
            file.truncate(64 << 20)
        subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
        options = "loop,errors=remount-ro"
        subprocess.run(["mount", "-o", options, str(image), str(self.folder)], check=True)

    def fail(self) -> None:
        """The kernel is told to take the disk for faulty (ext4, `trigger_fs_error`)."""
        device = subprocess.check_output(
            ["findmnt", "-n", "-o", "SOURCE", str(self.folder)], text=True
        ).strip()
        Path(f"/sys/fs/ext4/{Path(device).name}/trigger_fs_error").write_text("1")
        with pytest.raises(OSError, match="Read-only file system"):
            (self.folder / "probe").touch()

    def replace(self) -> None:
        """By a sound one with the same files. Who has files of the old one open keeps them, and the sockets that lay
        there have no way in any more."""
        kept = self._image.with_name("kept")
        shutil.copytree(self.folder, kept, ignore=_sockets)
        subprocess.run(["umount", "-l", str(self.folder)], check=True)
        self._image.unlink()
        self._mount(self._image)
        shutil.copytree(kept, self.folder, dirs_exist_ok=True)
        shutil.rmtree(kept)


def _sockets(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if Path(folder, name).is_socket()]


@pytest.fixture
def failing(page_images: World) -> Iterator[tuple[Page, FailingDisk]]:
    page = Page(page_images, f"ro{os.getpid()}")
    with FailingDisk(page.folder / "h", page.folder / "disk.img") as disk, page:
        for version in ("v1", "v2"):
            assert page.deploy(version).status == 0
        yield page, disk


@pytest.fixture(scope="module")
def cramped(page_images: World) -> Iterator[tuple[Page, SmallDisk]]:
    """A page whose state folder is a disk of its own; of v1 and v2 one serves and the other is warm."""
    page = Page(page_images, f"disk{os.getpid()}")
    with SmallDisk(page.folder / "h") as disk, page:
        for version in ("v1", "v2"):
            assert page.deploy(version).status == 0
        yield page, disk


@pytest.mark.long
def test_a_full_disk_refuses_a_deploy_and_harms_nobody(cramped: tuple[Page, SmallDisk]) -> None:
    page, disk = cramped
    live, other = pair(page)
    with page.load() as load:
        load.until(lambda so_far: so_far.requests > 20)
        disk.fill()
        began = time.monotonic()
        refused = page.deploy(other)
        took = time.monotonic() - began
        looked = page.run("status", "dev")
        disk.clear()
        again = page.deploy(other)
        report = load.stop()
    seen("state disk full before a deploy", report, whole_s=took, status=refused.status, said=told(refused))
    assert refused.status in (10, 20) and "Traceback" not in refused.err
    assert "disk is full" in told(refused) or "No space left" in told(refused), told(refused)
    assert looked.status == 0 and live in looked.out, looked.err
    assert ended(again) == (0, "succeeded"), told(again)
    assert report.failed == 0, report.table()
    assert assert_whole(page) == other


def test_a_disk_that_fills_up_in_the_bake_leaves_one_version_serving(cramped: tuple[Page, SmallDisk]) -> None:
    page, disk = cramped
    live, other = pair(page)
    page.configure(bake="3s")
    with page.load() as load:
        load.until(lambda so_far: so_far.requests > 20)
        switched(page, other)
        began = time.monotonic()
        disk.fill()
        wait(lambda: not list(workers_of(page.folder / "h")), "the worker's end", seconds=60)
        took = time.monotonic() - began
        refused = page.deploy(live)
        looked = page.run("status", "dev")
        disk.clear()
        began = time.monotonic()
        healed = page.run("recover", "dev", "--json")
        healed_s = time.monotonic() - began
        report = load.stop()
    page.configure(**page.usual)
    seen(
        "state disk full in the bake, then room again and `recover`",
        report,
        whole_s=healed_s,
        status=healed.status,
        said=f"the worker gives up after {took:.1f} s, {other} serves meanwhile; a deploy says: {told(refused)}",
    )
    assert refused.status in (10, 20) and "Traceback" not in refused.err
    assert looked.status == 0 and "Traceback" not in looked.err, looked.err
    assert healed.status in (0, 20), healed.err
    assert report.failed == 0, (healed, report.table())
    assert_whole(page)


def test_a_disk_that_turns_read_only_in_the_bake_leaves_one_version_serving(
    failing: tuple[Page, FailingDisk],
) -> None:
    page, disk = failing
    live, other = pair(page)
    page.configure(bake="3s")
    with page.load() as load:
        load.until(lambda so_far: so_far.requests > 20)
        switched(page, other)
        began = time.monotonic()
        disk.fail()
        wait(lambda: not list(workers_of(page.folder / "h")), "the worker's end", seconds=60)
        took = time.monotonic() - began
        refused = page.deploy(live)
        looked = page.run("status", "dev")
        serves = answer(page.port)
        disk.replace()
        began = time.monotonic()
        healed = page.run("recover", "dev", "--json")
        healed_s = time.monotonic() - began
        report = load.stop()
    page.configure(**page.usual)
    seen(
        "state disk turned read-only in the bake, then replaced and `recover`",
        report,
        whole_s=healed_s,
        status=healed.status,
        said=f"the worker gives up after {took:.1f} s, {other} serves meanwhile; a deploy says: {told(refused)}",
    )
    assert serves == other
    assert refused.status in (10, 20) and "Traceback" not in refused.err
    assert "read-only" in told(refused), told(refused)
    assert looked.status == 0 and "Traceback" not in looked.err, looked.err
    assert healed.status in (0, 20), healed.err
    assert report.failed == 0, (healed, report.table())
    assert_whole(page)
