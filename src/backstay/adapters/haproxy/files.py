"""Writing the router's files: what the disk refuses is an error of the router, with the cure."""

from __future__ import annotations

import errno
from pathlib import Path

from backstay.adapters import files
from backstay.errors import RouterError


def write_durably(path: Path, text: str) -> None:
    """As the function of that name in `adapters.files`; RouterError when it cannot."""
    try:
        files.write_durably(path, text)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = f"free some space where {path.parent} lies, then try again"
            raise RouterError(f"{path} cannot be written: the disk is full", hint=hint) from error
        hint = f"look at the disk and the owner of {path.parent}"
        raise RouterError(f"{path} cannot be written: {error.strerror}", hint=hint) from error
