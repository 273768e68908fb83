"""The container engine answers, writes and knows the time, and its registry lets us in."""

from __future__ import annotations

from typing import Final

from backstay.domain.check import Severity
from backstay.errors import CheckFailed
from backstay.pipeline.check import Check, Finding, NotChecked
from backstay.pipeline.checks.subject import Subject

SKEW_S: Final = 5.0
"""More than this, and times in logs, certificates and tokens begin to contradict each other."""


def engine(subject: Subject) -> Check:
    def look() -> Finding:
        info = subject.seen().info
        space = subject.host.space(info.root) if info.root else None
        if space is not None and space.read_only:
            raise CheckFailed(
                f"engine {info.version} keeps its images in {info.root}, which is read-only",
                hint="look for disk errors (dmesg), and mount it read-write again",
            )
        return Finding(f"engine {info.version} (API {info.api_version}, {info.platform}) answers")

    return Check("engine", look, hint="look at the engine's log and restart it")


def clock(subject: Subject) -> Check:
    def look() -> Finding:
        subject.answering()
        seen = subject.seen()
        if seen.info.time is None:
            raise NotChecked("the engine does not tell its time")
        early, late = seen.before - seen.info.time, seen.info.time - seen.after
        skew = max(0.0, early, late)
        if skew > SKEW_S:
            return Finding(
                f"the engine's clock is {skew:.1f} s {'behind' if early > late else 'ahead of'} ours",
                Severity.WARNING,
                "let both hosts take their time from the same server (timedatectl set-ntp true)",
            )
        return Finding(f"the engine's clock is within {max(skew, seen.after - seen.before):.1f} s of ours")

    return Check("clock", look)


def registry(subject: Subject) -> Check:
    def look() -> Finding:
        asked = subject.answering()
        login = subject.login
        if login is None:
            return Finding("no login is configured; the manifests show whether it answers", Severity.NOTICE)
        images = sorted({_home(c.image): c.image for c in subject.components.values()}.items())
        for _, image in images:
            asked.sign_in(image, login)
        return Finding(f"accepts {login.username}: {', '.join(home for home, _ in images)}")

    return Check("registry", look, hint="is the registry up, and reachable from the engine's host?")


def _home(image: str) -> str:
    """The registry an image names; images of one registry need one login."""
    first, slash, _ = image.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else "docker.io"
