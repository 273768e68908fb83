"""The ASGI application: Django for HTTP, the echo for websockets, then faults, then the version header."""

import os

from asgiref.typing import (
    ASGI3Application,
    ASGIReceiveCallable,
    ASGISendCallable,
    ASGISendEvent,
    Scope,
)
from django.core.asgi import get_asgi_application

from shop import echo, faults, release

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")


def _route(http: ASGI3Application, websocket: ASGI3Application) -> ASGI3Application:
    async def application(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        chosen = websocket if scope["type"] == "websocket" else http
        await chosen(scope, receive, send)

    return application


def _stamp_version(inner: ASGI3Application, version: str) -> ASGI3Application:
    """Put `X-Shop-Version` on every answer, also on those of faults and of Django's error handling."""
    header = (b"x-shop-version", version.encode("ascii"))

    async def application(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        async def stamped(event: ASGISendEvent) -> None:
            if event["type"] in ("http.response.start", "websocket.accept"):
                event["headers"] = [*event.get("headers", ()), header]
            await send(event)

        await inner(scope, receive, stamped)

    return application


def build_application() -> ASGI3Application:
    """Django must be ready before its handler is wrapped, so this runs once, on import."""
    django: ASGI3Application = get_asgi_application()  # type: ignore[assignment]  # same protocol, other spelling
    routed = _route(django, echo.application)
    return _stamp_version(faults.inject(routed, release.VERSION), release.VERSION)


application = build_application()
