"""People are told in the ways that the policy expects."""

from __future__ import annotations

from backstay.domain.check import Severity
from backstay.domain.notification import missing_channels
from backstay.pipeline.check import Check, Finding
from backstay.pipeline.checks.subject import Subject


def notify(subject: Subject) -> Check:
    def look() -> Finding:
        schemes = sorted(channel.scheme for channel in subject.environment.channels)
        missing = missing_channels(subject.environment.policy.level, schemes)
        if missing is not None:
            return Finding(missing, Severity.NOTICE, "add URLs to notify: of this environment")
        told = ", ".join(schemes)
        return Finding(f"the log, GitHub{', ' + told if told else ''}")

    return Check("notify", look)
