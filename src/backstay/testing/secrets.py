"""Secrets given in a test."""

from __future__ import annotations

from collections.abc import Mapping

from backstay.domain.secret import Secret


class FakeSecrets:
    def __init__(self, **values: str) -> None:
        self.values = {name: Secret(value) for name, value in values.items()}

    def read(self) -> Mapping[str, Secret]:
        return self.values
