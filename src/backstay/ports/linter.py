"""The linter of migrations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from backstay.domain.rehearsal import Lint


class Linter(Protocol):
    def lint(self, statements: Sequence[str], major: int) -> tuple[Lint, ...]:
        """What is known to be dangerous in schema changes, for PostgreSQL `major`. Never raises: that nothing could
        be looked at is a finding too."""
