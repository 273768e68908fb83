"""A websocket at /api/v1/echo/ that answers `VERSION:message`, so a client sees who answers."""

from asgiref.typing import ASGIReceiveCallable, ASGISendCallable, Scope

from shop.release import VERSION

PATH = "/api/v1/echo/"


async def application(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Echo until the client leaves. Any other path is refused before the handshake (HTTP 403)."""
    assert scope["type"] == "websocket"
    await receive()  # websocket.connect
    if scope["path"] != PATH:
        await send({"type": "websocket.close", "code": 1000, "reason": None})
        return
    await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
    while True:
        event = await receive()
        if event["type"] != "websocket.receive":
            return
        text = event.get("text")
        if text is not None:
            await send({"type": "websocket.send", "text": f"{VERSION}:{text}", "bytes": None})
        else:
            content = VERSION.encode() + b":" + (event.get("bytes") or b"")
            await send({"type": "websocket.send", "bytes": content, "text": None})
