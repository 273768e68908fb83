"""The folder of a release: what its digest tells apart, and what is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from backstay.adapters.process import ProcessEngine
from backstay.adapters.process.launch import words
from backstay.adapters.process.release import Release, look_up
from backstay.errors import EngineError, RegistryError


@pytest.fixture
def workdir(tmp_path: Path) -> str:
    """A release v1 with a program, a module and a link."""
    folder = tmp_path / "v1"
    (folder / "lib").mkdir(parents=True)
    (folder / "serve").write_text("#!/bin/sh\n")
    (folder / "serve").chmod(0o755)
    (folder / "lib" / "shop.py").write_text("x = 1\n")
    (folder / "current").symlink_to("lib")
    return str(tmp_path / "{version}")


def _relink(folder: Path) -> None:
    (folder / "current").unlink()
    (folder / "current").symlink_to("serve")


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda folder: (folder / "lib" / "shop.py").write_text("x = 2\n"),
    "name": lambda folder: (folder / "lib" / "shop.py").rename(folder / "lib" / "store.py"),
    "place": lambda folder: (folder / "lib" / "shop.py").rename(folder / "shop.py"),
    "another file": lambda folder: (folder / "empty").touch(),
    "another folder": lambda folder: (folder / "empty").mkdir(),
    "who may execute": lambda folder: (folder / "serve").chmod(0o644),
    "where a link leads": _relink,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_changes_the_digest(change: str, workdir: str, tmp_path: Path) -> None:
    before = look_up(workdir, "v1")
    assert look_up(workdir, "v1") == before
    CHANGES[change](tmp_path / "v1")
    assert look_up(workdir, "v1").digest != before.digest


def test_running_and_touching_a_release_does_not_change_it(workdir: str, tmp_path: Path) -> None:
    before = look_up(workdir, "v1")
    (tmp_path / "v1" / "lib" / "__pycache__").mkdir()
    (tmp_path / "v1" / "lib" / "__pycache__" / "shop.pyc").write_bytes(b"compiled")
    os.utime(tmp_path / "v1" / "serve", (0, 0))
    assert look_up(workdir, "v1") == before


def test_the_same_content_elsewhere_has_the_same_digest(workdir: str, tmp_path: Path) -> None:
    (tmp_path / "v1").rename(tmp_path / "v2")
    moved = look_up(workdir, "v2").digest
    (tmp_path / "v2").rename(tmp_path / "v1")
    assert look_up(workdir, "v1").digest == moved


def test_a_reference_holds_the_whole() -> None:
    release = Release(Path("/srv/a:b@c/v1"), "v1", "sha256:12")
    assert Release.parse(release.reference) == release
    with pytest.raises(EngineError, match="is not a release folder"):
        Release.parse("registry.example/shop:v1")


@pytest.mark.parametrize("version", ["", ".", "..", "../v1", "a/b", "-x", "v 1", "v1\n", "x" * 129])
def test_a_version_that_is_no_folder_name_is_refused(version: str, workdir: str) -> None:
    with pytest.raises(RegistryError, match="cannot be part of a folder's name"):
        look_up(workdir, version)


def test_a_missing_version_is_named_with_its_folder(workdir: str, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=f"there is no release folder {tmp_path}/v9") as caught:
        look_up(workdir, "v9")
    assert caught.value.hint == "put version v9 there, or mend workdir in backstay.yml"


def test_what_cannot_be_hashed_is_named(workdir: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "v1" / "queue")
    with pytest.raises(RegistryError, match=r"v1/queue: is neither file, folder nor link"):
        look_up(workdir, "v1")


def test_a_release_that_changed_since_it_was_pinned_is_refused(workdir: str, tmp_path: Path) -> None:
    engine = ProcessEngine(tmp_path / "state")
    pinned = engine.digest(workdir, "v1", None)
    engine.pull(workdir, "v1", pinned, None)
    (tmp_path / "v1" / "serve").write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(RegistryError, match="has changed") as caught:
        engine.pull(workdir, "v1", pinned, None)
    assert "make a new version" in str(caught.value.hint)
    assert not (tmp_path / "state").exists()  # looking writes nothing


def test_version_and_port_are_filled_in() -> None:
    command = ("serve", "--release={version}", "-b", "127.0.0.1:{port}", "$PORT", "{other}")
    filled = ["serve", "--release=v1", "-b", "127.0.0.1:20007", "20007", "{other}"]
    assert words(command, "v1", 20007) == filled
    assert words(("migrate", "{port}"), "v1", None) == ["migrate", "{port}"]
