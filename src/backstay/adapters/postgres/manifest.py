"""The manifest beside each backup: what it is of, and the size and SHA-256 of every file of it.

The last key is a seal over the text itself, so that a manifest that was changed, by whatever, is not taken for whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from backstay.domain.content import Content, content_from
from backstay.errors import DatabaseError
from backstay.ports.database import Damaged

FORMAT: Final = 2
"""1: without seal. 2: sealed, with the content of the database."""

COMPRESSED, PLAIN, BASE, ENCRYPTED = ".dump.zst", ".dump", ".base", ".age"
GLOBALS, MANIFEST = ".globals.sql", ".manifest.json"
SUFFIXES: Final = tuple(one + two for one in (COMPRESSED, PLAIN, BASE) for two in (ENCRYPTED, ""))
NO_SEAL: Final = "0" * 64
_MARK: Final = b'"seal": "'
GONE: Final = "if its disk is not mounted, mount it; else use another backup (backstay backup list)"
CHANGED: Final = (
    "use another backup (backstay backup list); look at the kernel log (dmesg) for a failing disk"
)


def bare_name(dump: Path) -> str:
    """The name of a backup: that of its dump without what says which kind it is."""
    return next((dump.name.removesuffix(s) for s in SUFFIXES if dump.name.endswith(s)), dump.name)


def manifest_path(dump: Path) -> Path:
    return dump.with_name(bare_name(dump) + MANIFEST)


def sealed(document: Mapping[str, Any]) -> bytes:
    """The text of a manifest."""
    text = json.dumps({**document, "seal": NO_SEAL}, indent=2, ensure_ascii=False).encode() + b"\n"
    return _with_seal(text, hashlib.sha256(text).hexdigest())


def read_manifest(dump: Path) -> dict[str, Any]:
    """The manifest of a dump, whole and of this dump; raises Damaged."""
    path = manifest_path(dump)
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise Damaged(f"{path} is missing", hint=GONE) from None
    except OSError as error:
        raise Damaged(f"{path} cannot be read: {error.strerror}", hint=CHANGED) from error
    try:
        document = json.loads(text)
        version, name = document["format"], document["name"]
        files = {str(role): _entry(file) for role, file in document["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Damaged(f"{path} is not what was written: it is no manifest", hint=CHANGED) from None
    if version != 1 and not _seal_fits(text):
        raise Damaged(f"{path} is not what was written: its seal does not fit", hint=CHANGED)
    if version not in (1, FORMAT):
        raise Damaged(f"{path} has the unknown format {version}", hint="was it written by a newer Backstay?")
    if name != bare_name(dump):
        raise Damaged(f"{path} is the manifest of another backup, {name}", hint=CHANGED)
    return {**document, "files": files}


def content_in(manifest: Mapping[str, Any], dump: Path) -> Content | None:
    """The content that a manifest holds; raises Damaged."""
    if not manifest.get("content"):
        return None
    try:
        return content_from(manifest["content"])
    except (KeyError, TypeError, ValueError):
        raise Damaged(f"{manifest_path(dump)} holds no content that can be read", hint=CHANGED) from None


def examine(dump: Path, expected: str | None = None) -> dict[str, Any]:
    """Compare every byte of every file with the manifest, which is returned; raises Damaged."""
    manifest = read_manifest(dump)
    files = manifest["files"]
    if expected is not None and expected != digest_of(manifest):
        raise Damaged(
            f"{manifest_path(dump)} is not the one that the catalog knows",
            hint="was a file put in place of another?",
        )
    if files and dump.name != next(iter(files.values()))["name"].partition("/")[0]:
        raise Damaged(f"{manifest_path(dump)} does not speak of {dump.name}", hint=CHANGED)
    for file in files.values():
        _compare(dump.parent / file["name"], file["bytes"], file["sha256"])
    return manifest


def digest_of(manifest: Mapping[str, Any]) -> str:
    """What the catalog keeps as the SHA-256 of a backup."""
    files: Mapping[str, Mapping[str, Any]] = manifest["files"]
    if "dump" in files:
        return str(files["dump"]["sha256"])
    lines = sorted(f"{file['sha256']}  {file['name']}\n" for file in files.values())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@contextlib.contextmanager
def reading(dump: Path) -> Iterator[None]:
    """Nobody removes the dump while the block runs. Raises Damaged when it is gone."""
    with _locked(dump, fcntl.LOCK_SH) as found:
        if not found:
            raise Damaged(f"{manifest_path(dump)} is missing", hint=GONE)
        yield


@contextlib.contextmanager
def removing(dump: Path) -> Iterator[None]:
    """Nobody reads the dump while the block runs. Raises BlockingIOError while somebody does."""
    with _locked(dump, fcntl.LOCK_EX | fcntl.LOCK_NB):
        yield


@contextlib.contextmanager
def _locked(dump: Path, how: int) -> Iterator[bool]:
    """Whether there is a manifest, which then is locked: the lock ends with us, however we end."""
    try:
        handle = os.open(manifest_path(dump), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    except OSError as error:
        raise DatabaseError(f"cannot open {manifest_path(dump)}: {error.strerror}") from error
    try:
        fcntl.flock(handle, how)
        yield os.fstat(handle).st_nlink > 0  # or it was removed between the opening and the locking
    finally:
        os.close(handle)


def _entry(file: Mapping[str, Any]) -> dict[str, Any]:
    name = file["name"]
    if not isinstance(name, str) or name.startswith("/") or ".." in name.split("/"):
        raise ValueError(name)
    return {"name": name, "bytes": int(file["bytes"]), "sha256": str(file["sha256"])}


def _compare(path: Path, size: int, sha256: str) -> None:
    try:
        with path.open("rb", buffering=0) as file:
            have = os.fstat(file.fileno()).st_size
            if have != size:
                raise Damaged(f"{path} has {have} bytes instead of {size}", hint=CHANGED)
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise Damaged(f"{path} is not what was written: its SHA-256 is another", hint=CHANGED)
    except FileNotFoundError:
        raise Damaged(f"{path} is missing", hint=GONE) from None
    except OSError as error:
        raise Damaged(f"{path} cannot be read: {error.strerror or error}", hint=CHANGED) from error


def _seal_fits(text: bytes) -> bool:
    at = text.rfind(_MARK)
    if at < 0:
        return False
    start = at + len(_MARK)
    seal = text[start : start + len(NO_SEAL)]
    return hashlib.sha256(_with_seal(text, NO_SEAL)).hexdigest().encode() == seal


def _with_seal(text: bytes, seal: str) -> bytes:
    start = text.rfind(_MARK) + len(_MARK)
    return text[:start] + seal.encode() + text[start + len(NO_SEAL) :]
