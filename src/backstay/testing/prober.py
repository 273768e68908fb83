"""A prober whose answers a test decides."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from backstay.domain.smoke import Answer, Certificate


class FakeProber:
    """`answer(port, path)` decides each answer; `slot()` names the slot that answers on the public port."""

    def __init__(self) -> None:
        self.answer: Callable[[int, str], Answer] = lambda port, path: Answer(200, took_s=0.01)
        self.slot: Callable[[], str] = lambda: ""
        self.shown = Certificate(error="no TLS here")
        self.asked: list[tuple[int, str]] = []

    def ask(
        self,
        host: str,
        port: int,
        path: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        deadline_s: float = 2.0,
        tls: bool = False,
    ) -> Answer:
        self.asked.append((port, path))
        answer = _with_content(self.answer(port, path), path)
        if "X-Backstay-Probe" not in (headers or {}):
            return answer
        shown = {**answer.headers, "x-backstay-slot": self.slot()}
        return Answer(answer.status, shown, answer.body, answer.took_s, answer.error)

    def certificate(self, host: str, port: int, *, deadline_s: float = 5.0) -> Certificate:
        return self.shown

    def find_json(self, body: bytes, path: str) -> tuple[bool, Any]:
        """Only plain `$.key` paths."""
        value = json.loads(body or b"{}")
        key = path.removeprefix("$.")
        return (True, value[key]) if isinstance(value, dict) and key in value else (False, None)


def _with_content(answer: Answer, path: str) -> Answer:
    """A plain 200 is answered as a server does: with a page, and with JSON below a path that has `api` in it."""
    if answer.status != 200 or answer.body or answer.headers or answer.error:
        return answer
    if "api" in path.split("/"):
        return Answer(200, {"content-type": "application/json"}, b"{}", answer.took_s)
    return Answer(200, {"content-type": "text/html"}, b"<title>Shop</title>", answer.took_s)
