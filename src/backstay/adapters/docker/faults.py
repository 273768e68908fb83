"""What can go wrong between us and the engine, as one EngineError that says what, why and what next."""

from __future__ import annotations

from collections.abc import Iterator
from http.client import HTTPException
from typing import Final

import requests
import urllib3
from docker.errors import APIError, DockerException, StreamParseError

from backstay.errors import EngineError

FOREIGN: Final = (
    DockerException,
    StreamParseError,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    HTTPException,
    OSError,
)

_HINTS: Final = (
    ("no space left on device", "free space where the engine keeps its data: docker system df"),
    ("no such image", "pull it again; somebody removed it from the engine"),
    ("bind source path does not exist", "make the folder on the host, or use a named volume"),
    ("executable file not found", "look at the command in backstay.yml and at the image's entry point"),
    ("has active endpoints", "remove the containers on the network first"),
    ("address already in use", "see who listens on the port: ss -ltnp"),
    ("port is already allocated", "see which container publishes the port: docker ps"),
    ("network not found", "create the network, or leave its name out so that Backstay makes one"),
)


def translate(error: BaseException, doing: str, socket: str, seconds: float) -> EngineError:
    """The EngineError for `error`, met while `doing` (as in "cannot <doing>") with `seconds` to do it in."""
    if isinstance(error, APIError):
        return _refused(error, doing)
    causes = list(_causes(error))
    if timed_out(error):
        return EngineError(
            f"cannot {doing}: the Docker engine at {socket} did not answer within {seconds:g} s",
            hint="see whether 'docker ps' answers; if not, look at the engine's log and restart it",
        )
    if any(isinstance(cause, PermissionError) for cause in causes):
        return EngineError(
            f"cannot {doing}: not allowed to open the Docker engine's socket {socket}",
            hint="add this user to the group 'docker' and sign in again, or run as root",
        )
    if any(
        isinstance(cause, (FileNotFoundError, ConnectionRefusedError, NotADirectoryError)) for cause in causes
    ):
        return EngineError(
            f"cannot {doing}: no Docker engine answers at {socket}",
            hint="start it (systemctl start docker), or point DOCKER_HOST at the right socket",
        )
    return EngineError(
        f"cannot {doing}: the connection to the Docker engine at {socket} broke: {_shortest(causes)}",
        hint="the engine may have been restarted; run the command again",
    )


def timed_out(error: BaseException) -> bool:
    """Whether the deadline passed, however deep the libraries have wrapped it."""
    kinds = (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError)
    return any(isinstance(cause, kinds) for cause in _causes(error))


def explanation(error: BaseException) -> str:
    """What the engine itself said, without the SDK's wrapping."""
    said = error.explanation if isinstance(error, APIError) else None
    return " ".join(str(said or error).split())


def _refused(error: APIError, doing: str) -> EngineError:
    said = explanation(error)
    hint = next((hint for fragment, hint in _HINTS if fragment in said.lower()), None)
    return EngineError(f"cannot {doing}: the Docker engine says: {said}", hint=hint)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """`error` and what it wraps: by cause, by context, or, as requests and urllib3 do, as an argument."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        current = waiting.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        inner = (current.__cause__, current.__context__, getattr(current, "reason", None), *current.args)
        waiting.extend(each for each in inner if isinstance(each, BaseException))


def _shortest(causes: list[BaseException]) -> str:
    """The innermost words: wrappers quote what they wrap and are longer."""
    return min((str(cause) for cause in causes if str(cause)), key=len, default="no reason given")
