"""Commands of ours as processes of their own: a crash of one hurts nobody else, and one may outlive us."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from backstay.domain.lease import Owner


class Child(Protocol):
    """A running command."""

    @property
    def owner(self) -> Owner:
        """The process, named so that it is recognised later."""

    def ended(self) -> int | None:
        """Its exit status; None while it runs."""

    def said(self) -> str:
        """What it told as its error, one line; else its last line. Empty when it said nothing."""

    def ask_to_end(self) -> None:
        """Let it stop safely (SIGTERM); nothing happens when it has ended."""

    def kill(self) -> None: ...


class Children(Protocol):
    def start(self, name: str, words: Sequence[str]) -> Child:
        """Run `backstay WORDS`, known by `name`; raises BackstayError when that cannot be started."""
