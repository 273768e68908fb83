"""Asking over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from backstay.domain.smoke import Answer, Certificate


class Prober(Protocol):
    """Sends one request and tells what came back; never raises for a bad or missing answer."""

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
        """One request, no retry, no redirect followed, whole answer within `deadline_s`.

        With `tls` over TLS, whoever answers: whether the certificate is good is `certificate`'s question.
        """

    def certificate(self, host: str, port: int, *, deadline_s: float = 5.0) -> Certificate:
        """The certificate that `host` shows, judged as a browser would; never raises."""

    def find_json(self, body: bytes, path: str) -> tuple[bool, Any]:
        """Whether JSON `body` has something at JSONPath `path`, and the first value there."""
