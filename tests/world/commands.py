"""Runs the tools that the world is made with, always those of the operating system.

A developer's PATH may hold another ``docker``, or one that leads to a foreign engine; therefore only the
system folders are searched, and every variable that could point elsewhere is removed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.world.errors import WorldError

SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
FOREIGN = ("DOCKER_", "BUILDKIT_", "BUILDX_", "CONTAINERD_", "PG", "COMPOSE_")


def tool(name: str) -> str:
    """The full path of a tool of the operating system; WorldError when it is not installed."""
    found = shutil.which(name, path=SYSTEM_PATH)
    if found is None:
        raise WorldError(
            f"{name} is not installed: run './dev world up' as root, which installs what is needed"
        )
    return found


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment without what could lead a tool to another engine or database."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
    return {**kept, "PATH": SYSTEM_PATH, "LC_ALL": "C.UTF-8", **(extra or {})}


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    seconds: float = 60,
    user: str | None = None,
) -> str:
    """Run to the end and return stdout; WorldError, with its last words, when it fails or takes too long."""
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            env=clean_environment(env),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=seconds,
            cwd="/",
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
    except subprocess.TimeoutExpired as late:
        raise WorldError(f"'{_short(words)}' was not done after {seconds:.0f} s") from late
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-25:])
        raise WorldError(f"'{_short(words)}' ended with {done.returncode}:\n{said}")
    return done.stdout


def succeeds(
    argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None, seconds: float = 15
) -> bool:
    """Whether a question asked of a tool is answered with yes (status 0) in time."""
    try:
        run(argv, env=env, seconds=seconds)
    except WorldError:
        return False
    return True


def _short(words: Sequence[str]) -> str:
    text = " ".join(words)
    return text if len(text) <= 160 else text[:157] + "..."
