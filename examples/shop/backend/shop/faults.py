"""Misbehaviour on purpose: what makes v3 to v6 bad releases.

A deployment tool is tested by releases that fail. Each of these fails in its own way, and only here:

v3  never healthy: the health path answers 503 for ever; the process stays up
v4  good until the public reaches it: every fifth API answer is 500 for requests that came through a router
    (they carry X-Forwarded-For), counted per process; health stays good
v5  healthy, then the whole server exits with a non-zero status after five seconds
v6  API answers take three seconds; health stays quick

Every other version, also an unknown one, behaves well.
"""

import asyncio
import os
import sys
import threading
from itertools import count

from asgiref.typing import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

HEALTH_PATH = "/api/v1/health/"
FAIL_EVERY = 5
EXIT_AFTER_S = 5.0
EXIT_STATUS = 3
DELAY_S = 3.0


def inject(inner: ASGI3Application, version: str) -> ASGI3Application:
    """The application as this version behaves: wrapped in its fault, or as it is."""
    wrappers = {"v3": _never_healthy, "v4": _every_fifth_fails, "v6": _slow}
    wrapper = wrappers.get(version)
    return wrapper(inner) if wrapper else inner


def start_clock(version: str) -> None:
    """Let v5's process end itself after `EXIT_AFTER_S` seconds. Called in each serving process."""
    if version != "v5":
        return
    timer = threading.Timer(EXIT_AFTER_S, _die)
    timer.daemon = True
    timer.start()


def _die() -> None:
    print("shop: v5 ends here on purpose", file=sys.stderr, flush=True)
    os._exit(EXIT_STATUS)


def _never_healthy(inner: ASGI3Application) -> ASGI3Application:
    async def application(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "http" and scope["path"] == HEALTH_PATH:
            await _answer(send, 503, b'{"status": "failing", "version": "v3", "database": "unknown"}')
        else:
            await inner(scope, receive, send)

    return application


def _every_fifth_fails(inner: ASGI3Application) -> ASGI3Application:
    public_requests = count(1)

    async def application(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        public = scope["type"] == "http" and _is_api(scope) and _came_through_router(scope)
        if public and next(public_requests) % FAIL_EVERY == 0:
            await _answer(send, 500, b'{"error": "v4 fails every fifth public request on purpose"}')
        else:
            await inner(scope, receive, send)

    return application


def _slow(inner: ASGI3Application) -> ASGI3Application:
    async def application(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "http" and _is_api(scope):
            await asyncio.sleep(DELAY_S)
        await inner(scope, receive, send)

    return application


def _is_api(scope: HTTPScope) -> bool:
    return scope["path"].startswith("/api/") and scope["path"] != HEALTH_PATH


def _came_through_router(scope: HTTPScope) -> bool:
    return any(name == b"x-forwarded-for" for name, _ in scope["headers"])


async def _answer(send: ASGISendCallable, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers, "trailers": False})
    await send({"type": "http.response.body", "body": body, "more_body": False})
