"""A prober whose answers a test decides."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from backstay.domain.smoke import Answer


class FakeProber:
    """`answer(port, path)` decides each answer; `slot()` names the slot that answers on the public port."""

    def __init__(self) -> None:
        self.answer: Callable[[int, str], Answer] = lambda port, path: Answer(200, took_s=0.01)
        self.slot: Callable[[], str] = lambda: ""
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
    ) -> Answer:
        self.asked.append((port, path))
        answer = self.answer(port, path)
        if "X-Backstay-Probe" not in (headers or {}):
            return answer
        shown = {**answer.headers, "x-backstay-slot": self.slot()}
        return Answer(answer.status, shown, answer.body, answer.took_s, answer.error)

    def find_json(self, body: bytes, path: str) -> tuple[bool, Any]:
        """Only plain `$.key` paths."""
        value = json.loads(body or b"{}")
        key = path.removeprefix("$.")
        return (True, value[key]) if isinstance(value, dict) and key in value else (False, None)
