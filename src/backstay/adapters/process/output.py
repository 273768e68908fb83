"""The output of a process: two files of bounded size, and their last lines."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

LARGEST: Final = 10 * 1024 * 1024
_CHUNK: Final = 64 * 1024


class Output:
    """Appends to a file; when that is full it becomes FILE.1 and a new one is begun."""

    def __init__(self, path: Path, largest: int = LARGEST) -> None:
        self._path = path
        self._largest = largest
        self._open()

    def write(self, data: bytes) -> None:
        """Append. A full disk loses the output, never the process that wrote it."""
        try:
            if self._size + len(data) > self._largest and self._size:
                os.close(self._fd)
                self._path.replace(older(self._path))
                self._open()
            self._size += os.write(self._fd, data)
        except OSError:
            return

    def _open(self) -> None:
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._size = os.fstat(self._fd).st_size


def older(path: Path) -> Path:
    """Where the output goes that was written before what is in `path`."""
    return path.with_name(f"{path.name}.1")


def last_lines(path: Path, lines: int) -> list[str]:
    """The last `lines` lines of the output; bytes that are no UTF-8 become U+FFFD."""
    if lines < 1:
        return []
    found = b""
    for chunk in _backwards(path):
        found = chunk + found
        if found.count(b"\n") > lines:
            break
    text = found.decode("utf-8", errors="replace").removesuffix("\n")
    return [line.rstrip("\r") for line in text.split("\n")][-lines:] if found else []


def _backwards(path: Path) -> Iterator[bytes]:
    """Pieces of both files, the newest first."""
    for file in (path, older(path)):
        try:
            with file.open("rb") as opened:
                end = opened.seek(0, os.SEEK_END)
                while end > 0:
                    begin = max(0, end - _CHUNK)
                    opened.seek(begin)
                    yield opened.read(end - begin)
                    end = begin
        except FileNotFoundError:
            continue
