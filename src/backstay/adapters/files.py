"""Writing a file so that a crash leaves the old or the new content, never half of it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def write_durably(path: Path, text: str) -> None:
    """Temporary file, fsync, rename, fsync of the folder; mode 0600. While it is written, the temporary file is locked:
    one that nobody has locked was left by a writer that died."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w") as file:
        fcntl.flock(fd, fcntl.LOCK_EX)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
