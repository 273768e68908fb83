"""Secrets files: `KEY=VALUE` lines that nobody else may read."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from backstay.domain.secret import Secret
from backstay.errors import SecretsError

LARGEST_FILE: Final = 1024 * 1024
_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class SecretsFile:
    """A file of secrets, read anew each time, because secrets are current values.

    Lines are `KEY=VALUE`, empty, or begin with `#`. Blanks around a value, then one pair of outer quotes, are
    taken off; nothing is expanded. No message ever carries a value, or a line that could be part of one.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def read(self) -> Mapping[str, Secret]:
        """All secrets. Raises SecretsError when the file is missing, readable by others, or malformed."""
        return self._parsed(self._text())

    def _text(self) -> str:
        try:
            # Non-blocking, so that a pipe in place of the file is refused instead of waited for.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise SecretsError(
                f"{self.path}: cannot be read: {error.strerror}", hint=_cure(self.path, error.errno)
            ) from None
        try:
            self._refuse_exposed(os.fstat(descriptor))
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                raw = file.read(LARGEST_FILE + 1)
        finally:
            os.close(descriptor)
        if len(raw) > LARGEST_FILE:
            raise SecretsError(f"{self.path}: larger than 1 MiB")
        try:
            return raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
        # Outside the handler: the decoding error holds the whole content and must not travel along.
        raise SecretsError(f"{self.path}:{line}: not UTF-8")

    def _refuse_exposed(self, status: os.stat_result) -> None:
        """Looks at the opened file, so that it cannot be exchanged between the look and the read."""
        if not stat.S_ISREG(status.st_mode):
            raise SecretsError(f"{self.path}: not a regular file")
        if status.st_mode & _OTHERS:
            mode = stat.S_IMODE(status.st_mode)
            raise SecretsError(
                f"{self.path}: mode {mode:04o} lets others at it; only 0600 is accepted",
                hint=f"chmod 600 {self.path}",
            )

    def _parsed(self, text: str) -> dict[str, Secret]:
        secrets: dict[str, Secret] = {}
        lines: dict[str, int] = {}
        faults: list[str] = []
        for number, line in enumerate(text.split("\n"), start=1):
            content = line.strip()
            if not content or content.startswith("#"):
                continue
            key, equals, value = content.partition("=")
            if not equals or _KEY.fullmatch(key) is None or "\0" in value:
                faults.append(f"{self.path}:{number}: {_fault(key, equals)}")
            elif key in lines:
                faults.append(f"{self.path}:{number}: {key} is there twice; first at line {lines[key]}")
            else:
                lines[key], secrets[key] = number, Secret(_unquoted(value.strip()))
        if faults:
            raise SecretsError("\n".join(faults))
        return secrets


def _cure(path: Path, number: int | None) -> str:
    if number == errno.ENOENT:
        return "create it with mode 0600, a KEY=VALUE line per secret"
    if number in (errno.EACCES, errno.EPERM):
        return f"run as the user it belongs to, or give it to the one who deploys: ls -l {path} shows whose it is"
    return f"ls -l {path} shows what it is; it must be a file with a KEY=VALUE line per secret"


def _fault(key: str, equals: str) -> str:
    if not equals:
        return "not a KEY=VALUE line; a value cannot go over several lines"
    if key.startswith("export "):
        return "leave out `export`: lines are KEY=VALUE"
    if key != key.strip():
        return "no blank may stand before ="
    if _KEY.fullmatch(key) is None:
        return "a key must be letters, digits and _, not beginning with a digit"
    return "a value cannot contain a NUL character"


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value


class NoSecrets:
    """The secrets of an environment that has no secrets file."""

    def read(self) -> Mapping[str, Secret]:
        """Nothing."""
        return {}
