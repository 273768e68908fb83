"""The file log: one JSON object per line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from backstay.domain.notification import Delivery, Notification, log_line

NAME: Final = "notifications.jsonl"


def append(path: Path, notification: Notification) -> Delivery:
    """Append a line in one write, which the kernel does not mix with another process's; the file gets mode 0600.

    A line that was cut off (disk full) is taken back, so that every line of the file stays whole.
    """
    line = log_line(notification).encode()
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            written = os.write(handle, line)
            if written < len(line):
                os.ftruncate(handle, os.fstat(handle).st_size - written)
                return Delivery(f"{path}: the disk is full")
        finally:
            os.close(handle)
    except OSError as error:
        return Delivery(f"{path}: {error.strerror}")
    return Delivery()
