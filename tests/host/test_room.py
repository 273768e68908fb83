"""Room on this machine, compared with what other programs say of it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from backstay.adapters import host as host_module
from backstay.adapters.host import LinuxHost
from backstay.errors import BackstayError


def test_free_space_is_what_df_says(tmp_path: Path) -> None:
    space = LinuxHost().space(str(tmp_path))
    assert space is not None
    assert abs(space.free_bytes - shutil.disk_usage(tmp_path).free) < 512 * 2**20
    assert space.device == tmp_path.stat().st_dev
    assert not space.read_only


def test_what_is_not_there_yet_is_looked_for_above(tmp_path: Path) -> None:
    space = LinuxHost().space(str(tmp_path / "not" / "there" / "yet"))
    assert space is not None and space.path == str(tmp_path)


def test_a_path_through_a_file_or_without_rights_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert LinuxHost().space(str(tmp_path / "file" / "below")) is None


def test_a_read_only_filesystem_is_seen(tmp_path: Path) -> None:
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", tmp_path]).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        space = LinuxHost().space(str(tmp_path))
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)
    assert space is not None and space.read_only


def test_memory_is_what_the_kernel_says() -> None:
    memory = LinuxHost().memory()
    assert memory.total == pytest.approx(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), rel=0.01)
    assert 0 < memory.available <= memory.total


def test_a_kernel_that_does_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_module, "PROC", tmp_path)
    with pytest.raises(BackstayError, match="does not tell the memory"):
        LinuxHost().memory()
