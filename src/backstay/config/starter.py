"""The first backstay.yml of an application."""

from __future__ import annotations

import re
from typing import Final

from backstay.errors import UsageError

LONGEST: Final = 40
FALLBACK: Final = "app"


def guess_app(folder: str) -> str:
    """A name for the application from that of its folder: `My Shop!` becomes `my-shop`."""
    name = re.sub(r"[^a-z0-9]+", "-", folder.lower()).strip("-")
    name = re.sub(r"^[^a-z]+", "", name)[:LONGEST].rstrip("-")
    return name or FALLBACK


def starter(template: str, app: str) -> str:
    """The starter file for `app`. Raises UsageError for a name that the configuration would refuse."""
    from backstay.config.values import NAME

    if re.fullmatch(NAME, app) is None:
        raise UsageError(
            f"--app {app!r} must be lower-case letters, digits and -, begin with a letter, at most {LONGEST} long",
            hint=f"for example --app {guess_app(app)}",
            state="nothing was written",
        )
    return template.replace("@APP@", app)
