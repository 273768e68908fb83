"""Where secret values come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from backstay.domain.secret import Secret


class SecretSource(Protocol):
    def read(self) -> Mapping[str, Secret]:
        """All secrets of the environment as they are now. Raises SecretsError."""
