"""Notifications: what is told about a deployment, to which channel, when it is tried again, and how it reads."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from backstay.domain.deployment import Deployment, DeploymentKind, DeploymentState
from backstay.domain.policy import Level
from backstay.domain.secret import MASK


class Status(StrEnum):
    """The statuses with a meaning of their own; any other word is allowed and shown as it is."""

    STARTED = "started"
    SUCCESS = "success"
    FAILED = "failed"
    ROLLBACK = "rollback"


class SendState(StrEnum):
    """`FAILED`: given up, kept and listed; `notifications retry` begins anew."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Channel:
    """Where notifications go. A receiver's URL is a secret: only its scheme and a fingerprint are recorded."""

    scheme: str
    target: str

    @property
    def label(self) -> str:
        """As shown to people: `log`, or `slack://[redacted]`."""
        return f"{self.scheme}://{MASK}" if self.target else self.scheme


LOG: Final = Channel("log", "")
"""The file log, which every notification goes to."""


@dataclass(frozen=True, slots=True)
class Notification:
    """One row of the outbox: one message for one channel. `next_attempt_at` is seconds since the epoch.

    `created_at` is RFC 3339 UTC; `target` the fingerprint of the receiver's URL, empty for the file log.
    """

    id: int
    app: str
    environment: str
    deployment: str | None
    status: str
    component: str
    message: str
    channel: str
    target: str
    created_at: str
    state: SendState = SendState.PENDING
    attempts: int = 0
    next_attempt_at: float | None = None
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """How one attempt ended. `error` is None when the receiver took it; `is_final` when no retry can help."""

    error: str | None = None
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """What is said about a deployment at one moment of it."""

    status: Status
    component: str
    message: str


ATTEMPT_DEADLINE_S: Final = 10.0
CLAIM_S: Final = 60.0
"""How long a sender owns a row it claimed; six times what an attempt may take."""

RETRY_AFTER_S: Final = (10.0, 30.0, 120.0, 600.0, 3600.0, 21600.0, 61200.0)
"""Waits between the eight attempts: about a day in all, quick at first because most failures are short."""

LATE_S: Final = 60.0

_ENDS: Final = {
    DeploymentState.SUCCEEDED: Status.SUCCESS,
    DeploymentState.ROLLED_BACK: Status.ROLLBACK,
    DeploymentState.FAILED: Status.FAILED,
    DeploymentState.ABORTED: Status.FAILED,
    DeploymentState.NEEDS_ATTENTION: Status.FAILED,
}

CHAT_SCHEMES: Final = frozenset(
    {
        "discord", "flock", "gchat", "guilded", "lark", "line", "matrix", "matrixs", "mmost", "mmosts",
        "rocket", "rockets", "ryver", "signal", "signals", "slack", "tgram", "twist", "webex", "wxteams",
        "workflow", "workflows", "zulip", "json", "jsons", "xml", "xmls", "form", "forms",
    }
)  # fmt: skip
"""Apprise's chat services, and its plain webhooks, behind which a chat's own bot may stand."""


def status_of(kind: DeploymentKind, state: DeploymentState) -> Status | None:
    """The status that a deployment's state is told as; None for one that is not told.

    A `rollback` that succeeded is told as `rollback`: what serves is older than before.
    """
    if state is DeploymentState.PENDING:
        return Status.STARTED
    if kind is DeploymentKind.ROLLBACK and state is DeploymentState.SUCCEEDED:
        return Status.ROLLBACK
    return _ENDS.get(state)


def told_of(deployment: Deployment, components: Iterable[str] = ()) -> Told | None:
    """What to tell about a deployment as it stands, or None. `components` are those it makes anew, if not all."""
    status = status_of(deployment.kind, deployment.state)
    if status is None:
        return None
    component = ", ".join(sorted(components)) or "all"
    return Told(status, component, f"{_sentence(deployment)} [{deployment.id}]")


def _sentence(deployment: Deployment) -> str:
    version, before = deployment.version, deployment.previous_version
    if deployment.state is DeploymentState.PENDING:
        came_from = f" (now {before})" if before else ""
        return f"{deployment.kind} of {version}{came_from} by {deployment.requested_by}"
    took = f" after {deployment.total_s:.1f} s" if deployment.total_s is not None else ""
    if deployment.state is DeploymentState.SUCCEEDED:
        return f"{version} is live{took}" + (f", before it {before}" if before else "")
    said = {
        DeploymentState.ROLLED_BACK: f"{version} was reversed{took}"
        + (f", {before} serves" if before else ""),
        DeploymentState.ABORTED: f"{version} was aborted{took}",
        DeploymentState.NEEDS_ATTENTION: f"{version} needs a human{took}",
    }.get(deployment.state, f"{version} failed{took}")
    return f"{said}: {deployment.reason}" if deployment.reason else said


def retry_after_s(attempts: int) -> float | None:
    """Seconds to wait after the failed attempt number `attempts` (from 1); None when it was the last."""
    return RETRY_AFTER_S[attempts - 1] if attempts <= len(RETRY_AFTER_S) else None


def missing_channels(level: Level, schemes: Iterable[str]) -> str | None:
    """What the policy expects of `notify:` and does not find, as one sentence; None when it is content.

    `schemes` are those of the configured URLs, without `://`. The file log and GitHub need no URL.
    """
    have = {scheme.lower() for scheme in schemes}
    if level is Level.STANDARD and not have & CHAT_SCHEMES:
        return "the standard policy expects a chat channel in notify:, such as slack://… or workflows://…"
    if level is Level.STRICT and not have:
        return "the strict policy expects at least one channel in notify:, such as slack://… or mailto://…"
    return None


def title_of(app: str, environment: str, status: str, component: str) -> str:
    """`shop prod: success (backend)`; nothing is said of the component when it is all of them."""
    part = "" if component == "all" else f" ({component})"
    return f"{app} {environment}: {status}{part}"


def text_of(notification: Notification, now: datetime) -> str:
    """The message; one that comes late, after newer ones perhaps, says of when it is."""
    if (now - datetime.fromisoformat(notification.created_at)).total_seconds() < LATE_S:
        return notification.message
    return f"{notification.message} (late: from {notification.created_at})"


def annotation(status: str, title: str, message: str) -> str:
    """A GitHub workflow command. Line ends and percent signs are escaped, so a message cannot start a second one."""
    level = {Status.FAILED: "error", Status.ROLLBACK: "warning"}.get(_known(status), "notice")
    return f"::{level} title={_escaped(title, ',:')}::{_escaped(message)}"


def kind_of(status: str) -> str:
    """Apprise's word for how grave a status is: info, success, warning or failure."""
    kinds = {Status.SUCCESS: "success", Status.FAILED: "failure", Status.ROLLBACK: "warning"}
    return kinds.get(_known(status), "info")


def as_document(notification: Notification) -> dict[str, Any]:
    """What the file log has of a notification, one JSON object per line."""
    return {
        "at": notification.created_at,
        "id": notification.id,
        "app": notification.app,
        "environment": notification.environment,
        "status": notification.status,
        "component": notification.component,
        "message": notification.message,
        "deployment": notification.deployment,
    }


def log_line(notification: Notification) -> str:
    """A line of the file log, with its line end."""
    return json.dumps(as_document(notification), ensure_ascii=False) + "\n"


def _known(status: str) -> Status:
    return Status(status) if status in tuple(Status) else Status.STARTED


def _escaped(text: str, more: str = "") -> str:
    for character in "%\r\n" + more:
        text = text.replace(character, f"%{ord(character):02X}")
    return text
