"""Copies that share their blocks with the original until one of both is changed (XFS, btrfs, bcachefs)."""

from __future__ import annotations

import fcntl
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from backstay.errors import DatabaseError

FICLONE: Final = 0x40049409
_DEADLINE_S: Final = 120.0


def can_refer(folder: Path) -> bool:
    """Whether the filesystem of `folder` can do so; tried out with a file of one block."""
    with tempfile.TemporaryFile(dir=folder) as source, tempfile.TemporaryFile(dir=folder) as target:
        source.write(bytes(4096))
        source.flush()
        try:
            fcntl.ioctl(target, FICLONE, source.fileno())
        except OSError:
            return False
    return True


def copy_by_reference(source: Path, target: Path) -> None:
    """Copy a folder with owners and modes. DatabaseError when it cannot be done by reference."""
    words = ["cp", "-a", "--reflink=always", str(source), str(target)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_DEADLINE_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DatabaseError(f"cp did not copy {source}: {type(error).__name__}") from error
    if done.returncode != 0:
        raise DatabaseError(f"{source} cannot be copied by reference: {done.stderr.strip().splitlines()[-1]}")
