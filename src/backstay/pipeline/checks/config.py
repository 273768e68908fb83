"""The configuration, beyond what reading it refuses already."""

from __future__ import annotations

from backstay.domain.check import Severity
from backstay.domain.policy import Level
from backstay.pipeline.check import Check, Finding
from backstay.pipeline.checks.subject import Subject


def config(subject: Subject) -> Check:
    def look() -> Finding:
        environment = subject.environment
        level, bind = environment.policy.level, environment.bind
        if level is Level.STRICT and not bind.is_loopback:
            return Finding(
                f"valid, but the router would listen on {bind} without TLS, which policy strict wants",
                Severity.WARNING,
                "bind loopback behind something that ends TLS, or accept it with policy.accept: [config]",
            )
        return Finding(f"valid, policy {level}, router on {bind}")

    return Check("config", look)
