"""Whether a scratch server can be had, where a deployment will restore its backup into one."""

from __future__ import annotations

from backstay.errors import BackstayError
from backstay.pipeline.check import Check, Finding, NotChecked
from backstay.pipeline.checks.subject import Subject


def is_wanted(subject: Subject) -> bool:
    """Whether the policy wants the backup restored, by a rehearsal or alone."""
    policy = subject.environment.policy
    migrating = any(component.migrate for component in subject.components.values())
    return policy.rehearsal.wanted(migrating) or policy.verify.wanted(migrating)


def scratch(subject: Subject) -> Check:
    def look() -> Finding:
        assert subject.environment.database is not None
        where = subject.environment.database.scratch
        try:
            version = subject.reached().version
        except NotChecked:
            raise
        except BackstayError:
            raise NotChecked("the database is not reached from here, so its version is not known") from None
        told = subject.scratches.available(where, int(version.partition(".")[0]))
        return Finding(f"scratch servers come from {told}")

    return Check("scratch", look)
