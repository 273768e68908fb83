"""A service manager that remembers what it heard."""

from __future__ import annotations


class FakeManager:
    def __init__(self) -> None:
        self.heard: list[str] = []

    def ready(self, status: str) -> None:
        self.heard.append("ready")

    def alive(self, status: str) -> None:
        self.heard.append("alive")

    def stopping(self) -> None:
        self.heard.append("stopping")
