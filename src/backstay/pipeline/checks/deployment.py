"""Nobody else is at work in the environment."""

from __future__ import annotations

from backstay.domain.check import Severity
from backstay.domain.lease import Claim, claim
from backstay.pipeline.begin import locked
from backstay.pipeline.check import Check, Finding
from backstay.pipeline.checks.subject import Subject
from backstay.pipeline.home import refuse_elsewhere
from backstay.pipeline.left import unfinished


def deployment(subject: Subject) -> Check:
    def look() -> Finding:
        app, name = subject.environment.app, subject.environment.name
        refuse_elsewhere(subject.store, subject.host, app, name)
        held = subject.store.lease(app, name)
        if held is not None and held.token == subject.token:
            return Finding(f"this deployment holds the lock (token {held.token})")
        if held is not None:
            presence = subject.host.presence(held.owner)
            if claim(held, presence, subject.store.now()) is Claim.REFUSE:
                raise locked(held, subject.store)
        left = unfinished(subject.store, app, name)
        if left is not None:
            return Finding(
                f"deployment {left.id} ({left.version}) was left {left.state} by a worker that is gone",
                Severity.WARNING,
                f"the next deploy recovers it first; backstay show {left.id} tells how far it came",
            )
        return Finding("no deployment is under way, the environment is not locked")

    return Check("deployment", look)
