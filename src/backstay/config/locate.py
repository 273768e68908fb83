"""Where backstay.yml and the state folder are."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from backstay.domain.secret import MASK
from backstay.errors import ConfigError

FILE_NAME: Final = "backstay.yml"


def find(start: Path) -> Path:
    """The nearest backstay.yml in `start` or a folder above it, absolute. ConfigError when none."""
    start = start.absolute()
    for folder in (start, *start.parents):
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
    other = start / "backstay.yaml"
    hint = (
        f"rename {other} to {FILE_NAME}"
        if other.is_file()
        else "backstay init writes a first one to fill in; one of another name is given by --config FILE"
    )
    raise ConfigError(f"no {FILE_NAME} in {start} or any folder above it", hint=hint)


def state_home(environ: Mapping[str, str]) -> Path:
    """The state folder, absolute: `$BACKSTAY_HOME`, else /var/lib/backstay for root, else below home."""
    chosen = environ.get("BACKSTAY_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/backstay")
    home = environ.get("HOME")
    return (Path(home) if home else Path.home()) / ".local" / "state" / "backstay"


def store_place(given: str, folder: Path) -> str:
    """Where `store:` points: a path is meant from the file's `folder`; URLs and ~ say where they are."""
    return given if "://" in given or given.startswith("~") else str(folder / given)


def shown_store(place: str) -> str:
    """A store as it may be shown: of a URL no password, wherever in it that stands."""
    scheme, is_url, rest = place.partition("://")
    if not is_url:
        return place
    login, at, where = rest.rpartition("@")
    user, colon, _ = login.partition(":")
    where = re.sub(r"(password=)[^&]*", rf"\1{MASK}", where, flags=re.IGNORECASE)
    return f"{scheme}://{user}{colon and f':{MASK}'}{at}{where}"


def shown_name(path: Path) -> str:
    """The name of a file for messages: relative when it lies in the working folder."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
