"""A look into an image without starting anything: is a command there?

A container is made, its files are asked for, and it is removed. It never runs. It belongs to no environment, so one
that a killed process left is removed by the next look.
"""

from __future__ import annotations

import contextlib
import posixpath
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from docker import APIClient
from docker.errors import APIError, NotFound

from backstay.errors import EngineError

ROLE: Final = {"backstay.role": "look"}
LASTS_S: Final = 300.0
"""No look takes nearly as long; a container of one that is older was left behind."""
_USUAL_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_EXECUTABLE: Final = 0o111
_FOLDER: Final = 1 << 31
"""The bit of a folder in Go's file mode, which the engine writes."""


def finds(client: APIClient, reference: str, command: str) -> bool | None:
    """Whether the local image `reference` has `command`; None when it has an entry point, which gets the words."""
    try:
        image = client.inspect_image(reference)  # type: ignore[no-untyped-call]
    except NotFound:
        raise EngineError(f"the engine has no image {reference}") from None
    config = image.get("Config") or {}
    if config.get("Entrypoint"):
        return None
    _sweep(client)
    made = client.create_container(
        reference, command=[command], labels=ROLE, network_disabled=True, use_config_proxy=False
    )["Id"]
    try:
        return any(_is_executable(client, made, path) for path in _places(config, command))
    finally:
        client.remove_container(made, v=True, force=True)


def _sweep(client: APIClient) -> None:
    """What earlier looks left, whose process was killed."""
    label = "=".join(*ROLE.items())
    for left in client.containers(all=True, filters={"label": label, "status": "created"}):
        if time.time() - left["Created"] > LASTS_S:
            with contextlib.suppress(APIError):  # somebody else was faster
                client.remove_container(left["Id"], v=True)


def _places(config: Mapping[str, Any], command: str) -> Iterator[str]:
    """Where the engine would look for `command`, in its order."""
    folder = config.get("WorkingDir") or "/"
    if "/" in command:
        yield posixpath.join(folder, command)
        return
    env = dict(each.partition("=")[::2] for each in config.get("Env") or ())
    for place in (env.get("PATH") or _USUAL_PATH).split(":"):
        yield posixpath.join(folder, place, command)


def _is_executable(client: APIClient, container: str, path: str) -> bool:
    try:
        _, stat = client.get_archive(container, path)
    except NotFound:
        return False
    mode = int(stat["mode"])
    # A link is taken at its word: its target was there when the image was built.
    return not mode & _FOLDER and bool(mode & _EXECUTABLE or stat.get("linkTarget"))
