"""Starting the supervisor of a process, and its orders."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from backstay.adapters.detach import LEFT_BEHIND
from backstay.adapters.process.kin import MARKER
from backstay.adapters.process.records import Record
from backstay.adapters.process.release import VERSION, Release
from backstay.errors import EngineError
from backstay.ports.engine import ContainerSpec

SUPERVISOR: Final = "backstay.adapters.process.supervisor"
SUPERVISOR_LOG: Final = "supervisor.log"
INHERITED: Final = ("PATH", "HOME", "LANG")
_PORT_WORDS: Final = ("{port}", "$PORT")


def order(spec: ContainerSpec, record: Record, folder: Path, lock: int) -> dict[str, Any]:
    """What the supervisor must do for `spec`, secrets included; it is handed over through a pipe."""
    release = Release.parse(spec.image)
    identity = _identity(release.folder)
    given = {**spec.env, **{name: secret.reveal() for name, secret in spec.secrets.items()}}
    env = {name: os.environ[name] for name in INHERITED if name in os.environ}
    if identity is not None:
        env["HOME"] = identity["home"]
    env |= {"VERSION": release.version, **given, MARKER: record.id}
    if record.port is not None:
        env["PORT"] = str(record.port)
    return {
        "id": record.id,
        "folder": str(folder),
        "argv": words((*spec.entrypoint, *spec.command), release.version, record.port),
        "env": env,
        "cwd": str(release.folder),
        "identity": identity,
        "lock": lock,
    }


def words(command: tuple[str, ...], version: str, port: int | None) -> list[str]:
    """The command with {version} and, where there is one, {port} or $PORT filled in."""
    filled = [word.replace(VERSION, version) for word in command]
    if port is None:
        return filled
    for name in _PORT_WORDS:
        filled = [word.replace(name, str(port)) for word in filled]
    return filled


def launch(given: Mapping[str, Any], deadline_s: float) -> None:
    """Start the supervisor and return once the program runs. EngineError when it does not, with the reason."""
    env = {key: value for key, value in os.environ.items() if key not in LEFT_BEHIND}
    with (
        (Path(given["folder"]) / SUPERVISOR_LOG).open("ab") as log,
        subprocess.Popen(
            # The name is for people who look at a list of processes.
            [sys.executable, "-m", SUPERVISOR, Path(given["folder"]).name],
            env=env,
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            pass_fds=(given["lock"],),
            start_new_session=True,
        ) as starter,
    ):
        assert starter.stdin is not None
        assert starter.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            starter.stdin.write(json.dumps(given).encode())
            starter.stdin.close()
        answer = _read_line(starter.stdout.fileno(), time.monotonic() + deadline_s)
    if "error" in answer:
        raise _not_started(given, answer)


def _read_line(fd: int, until: float) -> dict[str, Any]:
    said = b""
    while not said.endswith(b"\n"):
        ready = select.select([fd], (), (), max(0.0, until - time.monotonic()))[0]
        if not ready:
            return {"error": "its supervisor did not answer in time"}
        data = os.read(fd, 4096)
        if not data:
            return {"error": "its supervisor ended without a word"}
        said += data
    answer: dict[str, Any] = json.loads(said)
    return answer


def _not_started(given: Mapping[str, Any], answer: Mapping[str, Any]) -> EngineError:
    program, folder = given["argv"][0], given["cwd"]
    what = answer.get("what") or program
    return EngineError(
        f"{program!r} cannot be started in {folder}: {what}: {answer['error']}",
        hint="command must name a program on PATH, or one in the release's folder such as ./bin/serve, that the"
        " folder's owner may execute",
    )


def _identity(folder: Path) -> dict[str, Any] | None:
    """As root, whose rights the process gets: those of the owner of its folder. None changes nothing."""
    if os.geteuid() != 0:
        return None
    owner = folder.stat().st_uid
    if owner == 0:
        return None
    try:
        known = pwd.getpwuid(owner)
    except KeyError:
        return {"uid": owner, "gid": folder.stat().st_gid, "groups": [], "home": "/"}
    groups = os.getgrouplist(known.pw_name, known.pw_gid)
    return {"uid": owner, "gid": known.pw_gid, "groups": groups, "home": known.pw_dir}
